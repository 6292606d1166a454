package stanza

import "io"

// NSComponent is the content namespace of a component's stream (XEP-0114).
const NSComponent = "jabber:component:accept"

// NewComponentDecoder reads the stream of a component. Its content namespace
// is read as jabber:client, so that what is inside a stanza means the same as
// in a client's stream; StreamHeader.Content is as the component said it.
func NewComponentDecoder(src io.Reader, l Limits) *Decoder {
	d := NewDecoder(src, l)
	d.alias = NSComponent
	return d
}

// AppendComponentHeader appends the XML declaration and a stream header whose
// content namespace is a component's.
func AppendComponentHeader(dst []byte, from, id string) []byte {
	dst = append(dst, "<?xml version='1.0'?><stream:stream"...)
	dst = AppendAttr(dst, "from", from)
	dst = AppendAttr(dst, "id", id)
	return append(dst, " xmlns='"+NSComponent+"' xmlns:stream='"+NSStreams+"'>"...)
}

// AppendStanza appends a stanza of the kind, with what is inside as canonical
// XML.
func AppendStanza(dst []byte, k Kind, h Header, inner []byte) []byte {
	dst = appendOpen(dst, k.String(), h)
	if len(inner) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	dst = append(dst, inner...)
	return appendClose(dst, k.String())
}
