package stanza

import (
	"strconv"
	"time"
)

func appendOpen(dst []byte, name string, h Header) []byte {
	dst = append(dst, '<')
	return appendHeader(append(dst, name...), h)
}

func appendHeader(dst []byte, h Header) []byte {
	dst = AppendAttr(dst, "type", h.Type)
	dst = AppendAttr(dst, "id", h.ID)
	dst = AppendAttr(dst, "from", h.From)
	dst = AppendAttr(dst, "to", h.To)
	return AppendAttr(dst, "xml:lang", h.Lang)
}

func appendClose(dst []byte, name string) []byte {
	dst = append(dst, "</"...)
	dst = append(dst, name...)
	return append(dst, '>')
}

// AppendPresence appends a presence.
func AppendPresence(dst []byte, h Header, p PresenceData) []byte {
	return appendPresenceBody(appendOpen(dst, "presence", h), p)
}

func appendPresenceBody(dst []byte, p PresenceData) []byte {
	if p.Show == "" && p.Status == "" && p.Priority == 0 && len(p.Payload) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	if p.Show != "" {
		dst = append(dst, "<show>"...)
		dst = AppendText(dst, p.Show)
		dst = append(dst, "</show>"...)
	}
	if p.Status != "" {
		dst = append(dst, "<status>"...)
		dst = AppendText(dst, p.Status)
		dst = append(dst, "</status>"...)
	}
	if p.Priority != 0 {
		dst = append(dst, "<priority>"...)
		dst = strconv.AppendInt(dst, int64(p.Priority), 10)
		dst = append(dst, "</priority>"...)
	}
	dst = append(dst, p.Payload...)
	return append(dst, "</presence>"...)
}

// Prepared is a stanza that was encoded once for many receivers.
type Prepared struct {
	Head []byte // up to where the to attribute stands
	Tail []byte // from there on
}

// PreparePresence encodes all of a presence but its to; h.To is not used.
func PreparePresence(h Header, p PresenceData) Prepared {
	h.To = ""
	all := appendOpen(make([]byte, 0, 128+len(p.Status)+len(p.Payload)), "presence", h)
	n := len(all)
	all = appendPresenceBody(all, p)
	return Prepared{Head: all[:n:n], Tail: all[n:]}
}

// AppendTo appends the stanza for one receiver; an empty to leaves it out.
func (p Prepared) AppendTo(dst []byte, to string) []byte {
	dst = append(dst, p.Head...)
	dst = AppendAttr(dst, "to", to)
	return append(dst, p.Tail...)
}

// Len gives the size without a to.
func (p Prepared) Len() int { return len(p.Head) + len(p.Tail) }

// AppendMessage appends a message: inner and then extra, both canonical XML.
func AppendMessage(dst []byte, h Header, inner, extra []byte) []byte {
	dst = appendOpen(dst, "message", h)
	if len(inner)+len(extra) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = append(dst, inner...)
	dst = append(dst, extra...)
	return append(dst, "</message>"...)
}

// PrepareMessage encodes all of a message but its to; h.To is not used.
func PrepareMessage(h Header, inner, extra []byte) Prepared {
	h.To = ""
	all := appendOpen(make([]byte, 0, 160+len(inner)+len(extra)), "message", h)
	n := len(all)
	if len(inner)+len(extra) == 0 {
		return Prepared{Head: all[:n:n], Tail: append(all, "/>"...)[n:]}
	}
	all = append(all, '>')
	all = append(all, inner...)
	all = append(all, extra...)
	all = append(all, "</message>"...)
	return Prepared{Head: all[:n:n], Tail: all[n:]}
}

// AppendIQ appends an iq with a payload of canonical XML, which may be nil.
func AppendIQ(dst []byte, h Header, payload []byte) []byte {
	dst = appendOpen(dst, "iq", h)
	if len(payload) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = append(dst, payload...)
	return append(dst, "</iq>"...)
}

// AppendStanzaID appends <stanza-id/> (XEP-0359): the id that by gave.
func AppendStanzaID(dst []byte, by, id string) []byte {
	dst = append(dst, "<stanza-id xmlns='"+NSStanzaID+"'"...)
	dst = AppendAttr(dst, "by", by)
	dst = AppendAttr(dst, "id", id)
	return append(dst, "/>"...)
}

// AppendDelay appends <delay/> (XEP-0203): from held the stanza since stamp.
func AppendDelay(dst []byte, from string, stamp time.Time) []byte {
	dst = append(dst, "<delay xmlns='"+NSDelay+"'"...)
	dst = AppendAttr(dst, "from", from)
	dst = append(dst, " stamp='"...)
	dst = AppendTime(dst, stamp)
	return append(dst, "'/>"...)
}

// AppendTime appends a time as XEP-0082 asks: UTC, milliseconds.
func AppendTime(dst []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}
