package account

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// The fold has no configuration: what limits a request came with it.

// full tells that the roster has as many items as it may.
func (s *State) full(limit uint32) bool {
	return s.reaches(limit, func(removed, _ bool) bool { return !removed })
}

// beset tells that as many requests of contacts outside the roster wait as may
// (RFC 6121, section 3.1.3, security warning).
func (s *State) beset(limit uint32) bool {
	return s.reaches(limit, func(_, hidden bool) bool { return hidden })
}

// reaches tells that limit items, if there is a limit, are such.
func (s *State) reaches(limit uint32, such func(removed, hidden bool) bool) bool {
	if limit == 0 || len(s.Roster) < int(limit) {
		return false
	}
	n := 0
	for _, i := range s.Roster {
		if such(i.Removed, i.Hidden()) {
			n++
		}
	}
	return n >= int(limit)
}

// refuse answers a presence of a session, which went nowhere, in the name of
// its addressee.
func (f *folding) refuse(resource string, to jid.JID, p *event.Presence, condition string) {
	f.tell(f.Account, &event.Output{Kind: &event.Output_Outcome{Outcome: &event.Outcome{
		Binding: f.e.GetBinding(), Resource: resource, From: to.String(), Stanza: event.Stanza_STANZA_PRESENCE, Id: p.GetId(), Condition: condition,
	}}})
}

// overLimit is the condition of what a limit forbids (RFC 6120, section 8.3.3.12).
const overLimit = "policy-violation"
