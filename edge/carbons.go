package edge

import (
	"bytes"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// enableCarbons has the session get copies of its account's messages from
// now on (XEP-0280, section 5). To ask twice is no error (section 10.1).
func (s *session) enableCarbons(q query) { s.setCarbons(q, true) }

// disableCarbons ends that (XEP-0280, section 6).
func (s *session) disableCarbons(q query) { s.setCarbons(q, false) }

func (s *session) setCarbons(q query, on bool) {
	was := s.carbons.Swap(on)
	if was == on || !s.resumable() {
		s.answer(q.Stanza, nil)
		return
	}
	s.noteCarbons(func(err error) {
		if err != nil {
			s.carbons.Store(was)
			s.fail(q.Stanza, err)
			return
		}
		s.answer(q.Stanza, nil)
	})
}

// noteCarbons has the log tell whether the session gets copies, for the edge
// on which it may be resumed.
func (s *session) noteCarbons(done func(error)) {
	on := s.carbons.Load()
	s.append(s.local.account, s.stamp(&event.Event{Kind: &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{Copies: &on}}}), done)
}

// resumable tells whether the client can resume the session (XEP-0198).
func (s *session) resumable() bool { return s.sm != nil && s.sm.id != "" }

// deliverCarbon gives the account's sessions that asked for copies one of a
// message, unless they were bound after it or have the message itself.
func (l *local) deliverCarbon(b *batch, c *wire.Carbon) {
	if !l.takeCarbon(c.GetOffset()) {
		return
	}
	var said *stanza.Prepared
	n := 0
	for _, s := range l.sessions() {
		if !s.carbons.Load() || s.boundAt > c.GetOffset() || has(c.GetBut(), s.binding) {
			continue
		}
		if !c.GetSent() && !l.policy.Load().Allows(privacy.Message, s.resource, jid.FromCanonical(c.GetFrom())) {
			continue
		}
		if s.inactive.Load() && unimportant(c.GetMessage()) {
			continue
		}
		if said == nil {
			said = l.prepareCarbon(c)
		}
		if s.out.write(b, func(dst []byte) []byte { return said.AppendTo(dst, s.full) }, nil) {
			n++
		}
	}
	l.server.metrics.deliveredSince(c.GetAt(), n)
}

// prepareCarbon encodes a copy for all sessions: in the name of the account,
// of the type that the message has (XEP-0280, sections 7 and 8).
func (l *local) prepareCarbon(c *wire.Carbon) *stanza.Prepared {
	msg := c.GetMessage()
	id := l.appendStanzaID(nil, c.GetOffset())
	h := stanza.Header{Type: typeName(msg.GetType()), ID: msg.GetId(), From: c.GetFrom(), To: c.GetTo(), Lang: msg.GetLang()}
	said := stanza.PrepareMessage(stanza.Header{Type: h.Type, From: l.bare}, stanza.AppendCarbon(nil, c.GetSent(), h, msg.GetPayload(), id), nil)
	return &said
}

// has tells whether a binding is among bindings.
func has(bindings [][]byte, binding [16]byte) bool {
	for _, b := range bindings {
		if bytes.Equal(b, binding[:]) {
			return true
		}
	}
	return false
}

// takeCarbon tells whether the copy of the message at offset is newer than any
// before; copies come in the log's order, and again from the partition's next
// worker.
func (l *local) takeCarbon(offset int64) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	if offset < l.carbons {
		return false
	}
	l.carbons = offset + 1
	return true
}
