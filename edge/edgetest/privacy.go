package edgetest

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// audience tells what an account lets through if an event changed that, after
// the presence that the event made: who becomes visible is not available. was
// and before are the state and the policy from before it.
func (h *House) audience(p int32, offset int64, s *account.State, was *privacy.State, before *privacy.Compiled, e *event.Event) {
	if h.doubts != nil {
		h.doubt(p, offset, s, was, before, e)
	}
	now := s.Policy()
	if before == now || proto.Equal(before.Policy(), now.Policy()) {
		return
	}
	if h.doubts == nil {
		h.tell(p, &wire.Frame{What: &wire.Frame_Audience{Audience: &wire.Audience{
			Account: s.Account.String(), Offset: offset, Policy: now.Policy(),
		}}})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		if r := s.Resources[name]; r.Takes() {
			h.routeWaiting(p, s)
			return
		}
	}
}

// doubted is what the edges know of what an account lets through.
type doubted struct {
	policy *event.Policy
	since  int64 // an offset; -1: it is not in doubt
}

// Doubt has the house know no rosters where it tells what accounts let through,
// as workers do: what follows from a roster it tells after what else is queued.
func (h *House) Doubt() { h.doubts = make(map[jid.Bare]*doubted) }

// doubt tells what an event makes of a policy as far as that is known without
// the roster. was and before are from before it.
func (h *House) doubt(p int32, offset int64, s *account.State, was *privacy.State, before *privacy.Compiled, e *event.Event) {
	d := h.doubts[s.Account]
	if d == nil {
		d = &doubted{before.Policy(), -1}
		h.doubts[s.Account] = d
	}
	next, since := d.policy, d.since
	if was != s.Privacy {
		var exact bool
		next, exact = privacy.Recompile(s.Account, s.Privacy, was, d.policy)
		if !exact {
			since = offset
		} else if !next.GetRoster() {
			since = -1
		}
	}
	contact := ""
	switch k := e.GetKind().(type) {
	case *event.Event_RosterItemSet:
		contact = k.RosterItemSet.GetContact()
	case *event.Event_RosterItemRemoved:
		contact = k.RosterItemRemoved.GetContact()
	case *event.Event_SubscriptionSent:
		contact = k.SubscriptionSent.GetContact()
	case *event.Event_SubscriptionReceived:
		contact = k.SubscriptionReceived.GetContact()
	}
	if contact != "" && s.Privacy.Roster() {
		next, since = privacy.Doubt(next, jid.FromCanonical(contact).Bare().String()), offset
	}
	h.shown(p, offset, s.Account, d, next, since)
}

// sure tells what the fold has found, unless something has changed since.
func (h *House) sure(p int32, of jid.Bare, c *event.PolicyChanged) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if d := h.doubts[of]; d.since >= 0 && c.GetVersion() >= d.since {
		h.shown(p, h.next[p]-1, of, d, c.GetPolicy(), -1)
	}
}

func (h *House) shown(p int32, offset int64, of jid.Bare, d *doubted, next *event.Policy, since int64) {
	if !proto.Equal(next, d.policy) || since >= 0 != (d.since >= 0) {
		h.tell(p, &wire.Frame{What: &wire.Frame_Audience{Audience: &wire.Audience{
			Account: of.String(), Offset: offset, Policy: next, Doubt: since >= 0,
		}}})
	}
	d.policy, d.since = next, since
}

// audiences gives the policy of an account for an answer.
func (h *House) audiences(s *account.State, next int64) []*wire.Audience {
	if d := h.doubts[s.Account]; d != nil {
		return []*wire.Audience{{Account: s.Account.String(), Offset: next - 1, Policy: d.policy, Doubt: d.since >= 0}}
	}
	if c := s.Policy(); c != nil {
		return []*wire.Audience{{Account: s.Account.String(), Offset: next - 1, Policy: c.Policy()}}
	}
	return nil
}

// Privacy implements edge.Rosters.
func (h *House) Privacy(_ context.Context, of jid.Bare, _ int32, _ int64) (*event.Privacy, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return h.state(of).Privacy.Proto(), nil
}
