package stanza

import "time"

// Result is what a result of a query of an archive tells of a message
// (XEP-0313, section 5.2).
type Result struct {
	QueryID string // as the client gave it; may be empty
	ID      string // in the archive
	At      time.Time
}

// AppendResult appends a message to a client, with the header outer, that
// holds an archived message: its header h, and inner, which is canonical XML
// (XEP-0297).
func AppendResult(dst []byte, outer Header, r Result, h Header, inner []byte) []byte {
	dst = appendOpen(dst, "message", outer)
	dst = append(dst, "><result xmlns='"+NSMAM+"'"...)
	dst = AppendAttr(dst, "queryid", r.QueryID)
	dst = AppendAttr(dst, "id", r.ID)
	dst = append(dst, "><forwarded xmlns='"+NSForward+"'>"...)
	dst = AppendDelay(dst, "", r.At)
	dst = appendForwarded(dst, h, inner, nil)
	return append(dst, "</forwarded></result></message>"...)
}

// appendForwarded appends a message that stands inside <forwarded/>.
func appendForwarded(dst []byte, h Header, inner, extra []byte) []byte {
	dst = append(dst, "<message xmlns='"+NSClient+"'"...)
	dst = appendHeader(dst, h)
	if len(inner)+len(extra) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = append(append(dst, inner...), extra...)
	return append(dst, "</message>"...)
}
