package wire

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// DirectedStanza gives directed presence in the history of to, which is a
// component's, as the stanza that the component gets.
func DirectedStanza(to jid.Bare, d *event.DirectedReceived) *Iq {
	s := &Iq{
		Kind: Iq_KIND_PRESENCE, To: to.String(), From: d.GetFrom(), Id: d.GetPresence().GetId(), Lang: d.GetPresence().GetLang(),
		Presence: d.GetPresence(),
	}
	if d.GetResource() != "" {
		s.To = to.WithCanonical(d.GetResource()).String()
	}
	if !d.GetAvailable() {
		s.Type = "unavailable"
	}
	return s
}

// OutcomeStanza gives the error that answers a component's message, which is
// in the outbox of key, as the stanza that the component gets; nil of any other
// outcome.
func OutcomeStanza(key jid.Bare, o *event.Outcome) *Iq {
	if o.GetStanza() != event.Stanza_STANZA_MESSAGE || o.GetCondition() == "" {
		return nil
	}
	s := &Iq{Kind: Iq_KIND_MESSAGE, Type: "error", To: key.String(), From: o.GetFrom(), Id: o.GetId(), Condition: o.GetCondition()}
	if o.GetResource() != "" {
		s.To = key.WithCanonical(o.GetResource()).String()
	}
	return s
}
