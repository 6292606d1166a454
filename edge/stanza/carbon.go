package stanza

// AppendCarbon appends a copy of a message (XEP-0280, sections 7 and 8; XEP-0297),
// one that was sent or else received: inner and then extra, both canonical XML.
func AppendCarbon(dst []byte, sent bool, h Header, inner, extra []byte) []byte {
	name := "received"
	if sent {
		name = "sent"
	}
	dst = append(append(dst, '<'), name...)
	dst = append(dst, " xmlns='"+NSCarbons+"'><forwarded xmlns='"+NSForward+"'>"...)
	dst = appendForwarded(dst, h, inner, extra)
	return appendClose(append(dst, "</forwarded>"...), name)
}
