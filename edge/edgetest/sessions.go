package edgetest

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Settled implements edge.Sessions: what is appended is folded in its turn.
func (h *House) Settled(ctx context.Context, _ int32) error {
	folded := make(chan struct{})
	h.do(func() { close(folded) })
	select {
	case <-folded:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Session implements edge.Sessions.
func (h *House) Session(_ context.Context, of jid.Bare, _ int32, resource string, began uuid.UUID, _ int64) (*edge.Session, error) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s := h.state(of)
	if r, there := s.Resources[resource]; there {
		if r.Session != began {
			return nil, nil
		}
		found := &edge.Session{Binding: r.Binding, Began: r.Began, Handled: r.Handled.Upto, Copies: r.Copies}
		if c, ok := r.Meant(); ok {
			found.Presence = contentOf(c)
		}
		return found, nil
	}
	for _, e := range s.Ended {
		if e.Session != began || e.Resource != resource || time.Since(e.At) > account.KeepEnded {
			continue
		}
		found := &edge.Session{Binding: e.Binding, Began: e.Began, Handled: e.Handled.Upto, Copies: e.Copies, Over: true}
		if e.Presence != nil {
			found.Presence = new(event.Presence)
			if err := proto.Unmarshal(e.Presence, found.Presence); err != nil {
				return nil, err
			}
		}
		return found, nil
	}
	return nil, nil
}
