package stanza

import (
	"bytes"
	"strconv"
	"strings"
)

// PresenceData is what a client says of itself (RFC 6121, section 4.7).
type PresenceData struct {
	Show     string // "", "away", "chat", "dnd" or "xa"
	Status   string // the one in the stanza's own language
	Priority int8
	Payload  []byte // all other elements, as canonical XML
}

// Presence reads the inside of a presence. Its error is a *Error: a second
// show or priority, one that is not allowed, elements inside of them or of a
// status, or an unknown type.
func (s *Stanza) Presence() (PresenceData, error) {
	var p PresenceData
	switch s.Type {
	case "", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error":
	default:
		return p, NewError(BadRequest, "unknown type of presence")
	}
	var show, status, priority int
	size := 0
	for c := range Children(s.Inner) {
		part := s.presencePart(c)
		if part != "" && c.Mixed() {
			return p, NewError(BadRequest, part+" has elements inside")
		}
		switch part {
		case "show":
			show++
			// An empty one should not be, and is what clients say that have
			// nothing to say.
			if p.Show = c.Text(); !ValidShow(p.Show) {
				return p, NewError(BadRequest, "show is none of away, chat, dnd, xa")
			}
		case "status":
			if status++; status == 1 {
				p.Status = c.Text()
			}
		case "priority":
			priority++
			n, err := strconv.ParseInt(strings.TrimSpace(c.Text()), 10, 8)
			if err != nil {
				return p, NewError(BadRequest, "priority is no integer from -128 to 127")
			}
			p.Priority = int8(n)
		default:
			size += len(c.Raw)
		}
	}
	if show > 1 || priority > 1 {
		return p, NewError(BadRequest, "show or priority given twice")
	}
	if size == len(s.Inner) {
		p.Payload = s.Inner
	} else if size > 0 {
		p.Payload = make([]byte, 0, size)
		for c := range Children(s.Inner) {
			if s.presencePart(c) == "" {
				p.Payload = append(p.Payload, c.Raw...)
			}
		}
	}
	return p, nil
}

// presencePart names the field of PresenceData that c is, "" if none.
func (s *Stanza) presencePart(c Child) string {
	switch {
	case c.Is(NSClient, "show"):
		return "show"
	case c.Is(NSClient, "priority"):
		return "priority"
	case c.Is(NSClient, "status") && s.own(c):
		return "status"
	}
	return ""
}

// own tells whether an element is in the stanza's own language.
func (s *Stanza) own(c Child) bool {
	l := c.Attr("xml:lang")
	return l == "" || strings.EqualFold(l, s.Lang)
}

// ValidShow tells whether a show is allowed (RFC 6121, section 4.7.2.1).
func ValidShow(show string) bool {
	switch show {
	case "", "away", "chat", "dnd", "xa":
		return true
	}
	return false
}

// MessageData is what the server looks at in a message (RFC 6121, section 5.2).
type MessageData struct {
	Type    string // never empty: an absent or unknown type is "normal"
	Body    string // the one in the stanza's own language
	Subject string
	Thread  string
	HasBody bool // there is a body in whatever language
}

// Message reads the inside of a message.
func (s *Stanza) Message() MessageData {
	m := MessageData{Type: "normal"}
	switch s.Type {
	case "chat", "groupchat", "headline", "error":
		m.Type = s.Type
	}
	var body, subject, thread bool
	for c := range Children(s.Inner) {
		switch {
		case c.Is(NSClient, "body"):
			m.HasBody = true
			if !body && s.own(c) {
				m.Body, body = c.Text(), true
			}
		case c.Is(NSClient, "subject") && !subject && s.own(c):
			m.Subject, subject = c.Text(), true
		case c.Is(NSClient, "thread") && !thread:
			m.Thread, thread = c.Text(), true
		}
	}
	return m
}

// Payload checks an iq and gives its one payload element (RFC 6120, section
// 8.2.3): the zero Child for a result without one and for an error. Its
// error is a *Error: no id, an unknown type, or not exactly one payload.
func (s *Stanza) Payload() (Child, error) {
	if s.ID == "" {
		return Child{}, NewError(BadRequest, "iq without an id")
	}
	n := 0
	var first Child
	for c := range Children(s.Inner) {
		if n++; n == 1 {
			first = c
		}
	}
	switch s.Type {
	case "get", "set":
		if n != 1 {
			return Child{}, NewError(BadRequest, "iq must have exactly one payload")
		}
		return first, nil
	case "result":
		if n > 1 {
			return Child{}, NewError(BadRequest, "result with more than one payload")
		}
		return first, nil
	case "error":
		return Child{}, nil
	}
	return Child{}, NewError(BadRequest, "unknown type of iq")
}

// Find gives the first element with this name directly inside canonical XML.
func Find(inner []byte, space, local string) (Child, bool) {
	for c := range Children(inner) {
		if c.Is(space, local) {
			return c, true
		}
	}
	return Child{}, false
}

// HasText tells whether there is anything but white space between the
// elements of canonical XML.
func HasText(inner []byte) bool {
	for rest := inner; ; {
		before, _, after, ok := cutChild(rest)
		if len(bytes.TrimSpace(before)) > 0 {
			return true
		}
		if !ok {
			return false
		}
		rest = after
	}
}
