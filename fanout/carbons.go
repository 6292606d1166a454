package fanout

import (
	"slices"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/wire"
)

// Copies of messages (XEP-0280) go to the edges of an account that has two
// resources or more; of one that has fewer nobody could get any, and it costs
// nothing. Which sessions asked for them, only their edges know. A copy is
// sent once: one that a broken stream loses is not repeated.

// received sends copies of a message that an account was sent, after the
// message itself, to those resources that d does not choose.
func (p *partition) received(offset int64, a *acct, e *event.Event, m *event.MessageAccepted, d message.Decision) {
	if len(a.resources) < 2 || d.Action != message.Deliver && d.Action != message.Store {
		return
	}
	from := jid.FromCanonical(m.GetFrom())
	if msg := m.GetMessage(); !message.Copies(msg.GetCopies()).ToReceiver() &&
		(msg.GetType() != event.MessageType_MESSAGE_TYPE_ERROR || !a.recent.Answers(from.Bare().String(), msg.GetId())) {
		return
	}
	but := make([][]byte, 0, len(d.To)+1)
	for _, name := range d.To {
		but = appendBinding(but, a, name)
	}
	if from.Bare().String() == a.name && !slices.Contains(d.To, from.Resource()) {
		but = appendBinding(but, a, from.Resource())
	}
	to := a.name
	if m.GetResource() != "" {
		to += "/" + m.GetResource()
	}
	p.copy(a, &wire.Carbon{
		Account: a.name, Offset: offset, But: but, From: m.GetFrom(), To: to, Message: m.GetMessage(), Id: e.GetId(), At: e.GetAt(),
	})
}

// sent sends copies of a message that an account has sent.
func (p *partition) sent(offset int64, name string, e *event.Event, m *event.MessageSent) {
	a := p.accounts[name]
	if a == nil || len(a.resources) < 2 || !message.Copies(m.GetMessage().GetCopies()).ToSender() {
		return
	}
	to := jid.FromCanonical(m.GetTo()).Bare().String()
	if a.recent == nil {
		a.recent = new(message.Recent)
	}
	a.recent.Note(to, m.GetMessage().GetId())
	if to == name {
		return // all sessions have it, or a copy as its recipient's
	}
	p.copy(a, &wire.Carbon{
		Account: name, Offset: offset, Sent: true, But: appendBinding(nil, a, m.GetResource()),
		From: name + "/" + m.GetResource(), To: m.GetTo(), Message: m.GetMessage(), At: e.GetAt(),
	})
}

// appendBinding appends the binding of a resource, if it is there. Who sent a
// message gets no copy of it by its full JID (XEP-0280, section 8): its session
// may have been resumed under another binding since.
func appendBinding(bindings [][]byte, a *acct, resource string) [][]byte {
	if r, ok := a.resources[resource]; ok {
		bindings = append(bindings, r.Binding[:])
	}
	return bindings
}

// copy sends c to every edge that holds a session which may get it.
func (p *partition) copy(a *acct, c *wire.Carbon) {
	var told []*peer
	var i item
next:
	for _, r := range a.resources {
		e := p.peers[edgeKey{r.Edge, r.Epoch}]
		if e == nil || hasBinding(c.GetBut(), r) {
			continue
		}
		for _, other := range told {
			if other == e {
				continue next
			}
		}
		if told == nil {
			i = item{kind: kindCarbon, at: p.measured(c.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_Carbon{Carbon: c}})}
		}
		told = append(told, e)
		p.send(e, i)
	}
}

func hasBinding(bindings [][]byte, r presence.Resource) bool {
	for _, b := range bindings {
		if string(b) == string(r.Binding[:]) {
			return true
		}
	}
	return false
}
