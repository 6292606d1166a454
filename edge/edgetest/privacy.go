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
// the presence that the event made: who becomes visible is not available.
func (h *House) audience(p int32, offset int64, s *account.State, before *privacy.Compiled) {
	now := s.Policy()
	if before == now || proto.Equal(before.Policy(), now.Policy()) {
		return
	}
	h.tell(p, &wire.Frame{What: &wire.Frame_Audience{Audience: &wire.Audience{
		Account: s.Account.String(), Offset: offset, Policy: now.Policy(),
	}}})
	for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
		if r := s.Resources[name]; r.Takes() {
			h.routeWaiting(p, s)
			return
		}
	}
}

// audiences gives the policy of an account for an answer.
func audiences(s *account.State, next int64) []*wire.Audience {
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
