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
