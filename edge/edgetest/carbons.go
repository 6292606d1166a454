package edgetest

import (
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/wire"
)

// copyReceived tells of copies of a message as a worker does (XEP-0280).
func (h *House) copyReceived(p int32, offset int64, s *account.State, e *event.Event, m *event.MessageAccepted, d message.Decision) {
	msg, from := m.GetMessage(), jid.FromCanonical(m.GetFrom())
	answers := msg.GetType() == event.MessageType_MESSAGE_TYPE_ERROR && h.recent[s.Account].Answers(from.Bare().String(), msg.GetId())
	if len(s.Resources) < 2 || !answers && !message.Copies(msg.GetCopies()).ToReceiver() {
		return
	}
	c := &wire.Carbon{
		Account: s.Account.String(), Offset: offset, From: m.GetFrom(), To: s.Account.String(), Message: msg, At: e.GetAt(),
	}
	if m.GetResource() != "" {
		c.To += "/" + m.GetResource()
	}
	but := d.To
	if from.Bare() == s.Account {
		but = append(but, from.Resource())
	}
	c.But = bindingsOf(s, but...)
	h.tell(p, &wire.Frame{What: &wire.Frame_Carbon{Carbon: c}})
}

func (h *House) copySent(p int32, offset int64, s *account.State, e *event.Event, m *event.MessageSent) {
	to := jid.FromCanonical(m.GetTo()).Bare()
	if len(s.Resources) < 2 || !message.Copies(m.GetMessage().GetCopies()).ToSender() {
		return
	}
	if h.recent[s.Account] == nil {
		h.recent[s.Account] = new(message.Recent)
	}
	h.recent[s.Account].Note(to.String(), m.GetMessage().GetId())
	if to == s.Account {
		return
	}
	h.tell(p, &wire.Frame{What: &wire.Frame_Carbon{Carbon: &wire.Carbon{
		Account: s.Account.String(), Offset: offset, Sent: true, But: bindingsOf(s, m.GetResource()),
		From: s.Account.String() + "/" + m.GetResource(), To: m.GetTo(), Message: m.GetMessage(), At: e.GetAt(),
	}}})
}

// bindingsOf gives the bindings of those resources that are there.
func bindingsOf(s *account.State, names ...string) (bindings [][]byte) {
	for _, name := range names {
		if r, ok := s.Resources[name]; ok {
			bindings = append(bindings, r.Binding[:])
		}
	}
	return bindings
}
