package presence

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Inherit gives r, which was just bound, with the presence that its resource
// had in an earlier session: nobody hears of the change. Until the new session
// says what it is, the mark Inherited stands, and r takes no messages.
func (r Resource) Inherit(was Resource) Resource {
	if was.Available {
		r.Available, r.Content, r.Version, r.Since, r.Inherited = true, was.Content, was.Version, was.Since, true
	}
	return r
}

// Recall gives r, which was just bound and goes on with a session that had
// ended, with the presence of that session: r is not available until its edge
// says the same again, but its client takes it to be.
func (r Resource) Recall(c Content) Resource {
	r.Content, r.Inherited = c, true
	return r
}

// Meant gives the presence that its client takes r to have; false if that is
// none.
func (r Resource) Meant() (Content, bool) { return r.Content, r.Available || r.Inherited }

// Resume gives r, which was just bound, as what goes on with the session of
// was (XEP-0198, section 5).
func (r Resource) Resume(was Resource) Resource {
	r = r.Inherit(was)
	if c, ok := was.Meant(); ok && !was.Available {
		r = r.Recall(c)
	}
	r.Session, r.Began, r.Handled, r.Copies = was.Session, was.Began, was.Handled, was.Copies
	return r
}

// Confirm gives r after its session has said c, if r is available by what it
// inherited, and that says the same: then it is no news.
func (r Resource) Confirm(c Content) (confirmed Resource, ok bool) {
	if !r.Available || !r.Inherited || !r.Content.Same(c) {
		return r, false
	}
	r.Inherited = false
	return r, true
}

// Same tells that two stanzas say the same to whoever reads them; their ids
// may differ.
func (c Content) Same(d Content) bool {
	return c.Show == d.Show && c.Status == d.Status && c.Priority == d.Priority && c.Lang == d.Lang && bytes.Equal(c.Payload, d.Payload)
}

// Handled tells which of a client's stanzas, as stream management numbers them
// from 1 (XEP-0198), have left the event that they leave. Each event names its
// stanza and the one before it that left an event, so that a gap can be told
// from stanzas that leave none. The zero value has none.
type Handled struct {
	// Upto is the last stanza up to which each that leaves an event has left
	// it; Unknown once too much was out of order.
	Upto int64
	// Ahead holds what is beyond a gap, in order: 8 bytes for each event, the
	// stanza before and the stanza, big-endian.
	Ahead string
}

const (
	// Unknown is Upto of a session whose gaps could not be kept.
	Unknown = -1
	// maxAhead is how many events are kept beyond a gap.
	maxAhead = 1024
	link     = 8 // bytes of an event in Ahead
)

// Note gives h after an event of that stanza; before is the last stanza before
// it that left an event, 0 if none did.
func (h Handled) Note(before, stanza uint32) Handled {
	switch {
	case h.Upto == Unknown || int64(stanza) <= h.Upto:
		return h
	case int64(before) > h.Upto:
		return h.ahead(before, stanza)
	}
	h.Upto = int64(stanza)
	for len(h.Ahead) > 0 && int64(beforeOf(h.Ahead)) <= h.Upto {
		h.Upto = max(h.Upto, int64(stanzaOf(h.Ahead)))
		h.Ahead = h.Ahead[link:]
	}
	h.Ahead = strings.Clone(h.Ahead)
	return h
}

// ahead keeps an event that is beyond a gap.
func (h Handled) ahead(before, stanza uint32) Handled {
	at := len(h.Ahead)
	for at > 0 && stanzaOf(h.Ahead[at-link:]) >= stanza {
		if at -= link; stanzaOf(h.Ahead[at:]) == stanza {
			return h
		}
	}
	if len(h.Ahead) >= maxAhead*link {
		return Handled{Upto: Unknown}
	}
	b := make([]byte, 0, len(h.Ahead)+link)
	b = append(b, h.Ahead[:at]...)
	b = binary.BigEndian.AppendUint32(b, before)
	b = binary.BigEndian.AppendUint32(b, stanza)
	h.Ahead = string(append(b, h.Ahead[at:]...))
	return h
}

func beforeOf(ahead string) uint32 { return binary.BigEndian.Uint32([]byte(ahead[:4])) }
func stanzaOf(ahead string) uint32 { return binary.BigEndian.Uint32([]byte(ahead[4:link])) }
