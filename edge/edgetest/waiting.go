package edgetest

import (
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/wire"
)

// choose notes that a message is on its way to a binding.
func (h *House) choose(s *account.State, offset int64, binding uuid.UUID) {
	if _, waits := s.Inbox[offset]; !waits {
		return
	}
	of := h.chosen[s.Account]
	if of == nil {
		of = make(map[int64][]uuid.UUID)
		h.chosen[s.Account] = of
	}
	of[offset] = append(of[offset], binding)
}

// undone notes that a binding has ended, and tells whether a message is on its
// way to nobody now.
func (h *House) undone(s *account.State, binding uuid.UUID) (again bool) {
	of := h.chosen[s.Account]
	for offset, all := range of {
		i := slices.Index(all, binding)
		if i < 0 {
			continue
		}
		if of[offset] = slices.Delete(all, i, i+1); len(of[offset]) == 0 {
			again = true
		}
	}
	return again
}

// routeWaiting sends what waits and is on its way to nobody, oldest first, as
// a worker does.
func (h *House) routeWaiting(p int32, s *account.State) {
	for _, offset := range slices.Sorted(maps.Keys(s.Inbox)) {
		m := s.Inbox[offset]
		if len(h.chosen[s.Account][offset]) > 0 {
			continue
		}
		t := message.Type(m.Accepted.GetMessage().GetType())
		from := jid.FromCanonical(m.Accepted.GetFrom())
		d := s.Policy().Route(t, m.Accepted.GetResource(), from, s.Resources)
		if d.Action != message.Deliver {
			d = s.Policy().Route(t, "", from, s.Resources)
		}
		if d.Action != message.Deliver {
			continue
		}
		f := &wire.Message{
			Account: s.Account.String(), Offset: m.Offset, Accepted: m.Accepted,
			At: m.At.UnixMicro(), Delayed: true, Stored: true,
		}
		for _, name := range d.To {
			binding := s.Resources[name].Binding
			f.Bindings = append(f.Bindings, binding[:])
			h.choose(s, offset, binding)
		}
		h.tell(p, &wire.Frame{What: &wire.Frame_Message{Message: f}})
	}
}
