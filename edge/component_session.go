package edge

import (
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// toComponent sends the client's stanza to the component that it is for; it
// tells whether it is for one. Directed presence is in the log, so that the
// component hears the end of the session; messages and iqs are passed on at
// once, and come back if the component is not connected.
func (s *session) toComponent(st *stanza.Stanza) bool {
	if st.To == "" || len(s.server.opts.Components.Secrets) == 0 || st.Kind == stanza.Other {
		return false
	}
	to, err := jid.Parse(st.To)
	if err != nil || !s.server.isComponent(to.Domain()) {
		return false
	}
	switch {
	case len(to.String()) > maxAddress || len(to.Resource()) > maxResource:
		err = stanza.NewError(stanza.JIDMalformed, "too long")
	default:
		err = s.refused(st, to)
	}
	switch {
	case err != nil:
	case st.Kind == stanza.Presence:
		err = s.presenceToComponent(st, to)
	case st.Kind == stanza.IQ:
		if _, err = st.Payload(); err == nil {
			s.forward(st, to)
		}
	default:
		s.order.then(func() {
			if err := s.server.sendOn(s.passedOn(st, to)); err != nil {
				s.fail(st, err)
			}
		})
	}
	if err != nil {
		s.fail(st, err)
	}
	return true
}

func (s *session) presenceToComponent(st *stanza.Stanza, to jid.JID) error {
	p, err := st.Presence()
	if err != nil {
		return err
	}
	switch st.Type {
	case "", "unavailable":
	case "error", "probe":
		return nil
	default:
		return noSubscriptions()
	}
	e := s.stamp(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{
		Resource: s.resource, To: to.String(), Available: st.Type == "", MaxTargets: s.server.opts.Limits.targets(), Presence: saidOf(st, p),
	}}})
	s.append(s.local.account, e, func(err error) {
		if err != nil {
			s.fail(st, err)
		}
	})
	return nil
}

// noSubscriptions is the answer to who would subscribe to a component, or the
// other way round: rosters hold accounts.
func noSubscriptions() *stanza.Error {
	return stanza.NewError(stanza.FeatureNotImplemented, "there are no subscriptions between accounts and components")
}

func saidOf(st *stanza.Stanza, p stanza.PresenceData) *event.Presence {
	return &event.Presence{Show: p.Show, Status: p.Status, Priority: int32(p.Priority), Payload: p.Payload, Lang: st.Lang, Id: st.ID}
}

// passedOn gives a stanza of the client on its way, after what it sent before.
func (s *session) passedOn(st *stanza.Stanza, to jid.JID) *wire.Iq {
	partition := s.server.partitionOf(to.Bare())
	return &wire.Iq{
		Partition: partition, To: to.String(), From: s.full, Type: st.Type, Id: st.ID, Lang: st.Lang, Payload: st.Inner,
		After: s.positions[partition], Kind: wireKind(st.Kind),
	}
}

// askedBy notes that somebody who has no session here waits for an answer.
func (s *Server) askedBy(iq *wire.Iq) {
	s.asked.add(iq, time.Now().Add(s.opts.AnswerIn), nil)
}
