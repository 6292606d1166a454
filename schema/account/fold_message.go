package account

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
)

// messageAccepted is a message for the account (RFC 6121, section 8.5). What
// may wait waits until Delivered, even if a resource is there to take it.
func (f *folding) messageAccepted(m *event.MessageAccepted) {
	t := message.Type(m.GetMessage().GetType())
	d := f.Policy().Route(t, m.GetResource(), jid.FromCanonical(m.GetFrom()), f.Resources)
	if d.Action == message.Bounce {
		f.bounce(m, d.Condition)
		return
	}
	if m.GetMessage().GetStorable() && (d.Action == message.Deliver || d.Action == message.Store) {
		put(&f.Inbox, f.offset, Stored{Offset: f.offset, ID: event.ID(f.e), At: event.Time(f.e), Accepted: m})
		note(&f.Changes.Inbox, f.offset)
		if d.Action == message.Store {
			f.wake(f.offset)
		}
	}
	if from := jid.FromCanonical(m.GetFrom()); t != message.Error && from.Local() != "" {
		f.react(from.Bare(), &event.Event{Binding: f.e.GetBinding(), Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{
			Resource: from.Resource(), To: f.addressed(m), Message: m.GetMessage(), Accepted: f.e.GetId(),
		}}})
	}
}

// unknownRecipient is a message for an account that does not exist (RFC 6121,
// section 8.5.1).
func (f *folding) unknownRecipient(m *event.MessageAccepted) {
	if d := message.Unknown(message.Type(m.GetMessage().GetType())); d.Action == message.Bounce {
		f.bounce(m, d.Condition)
	}
}

// delivered takes a message out of the inbox: a resource has it.
func (f *folding) delivered(d *event.Delivered) {
	if _, waits := f.Inbox[d.GetOffset()]; waits {
		delete(f.Inbox, d.GetOffset())
		note(&f.Changes.Inbox, d.GetOffset())
	}
}

// bounce gives the sender's session a stanza error.
func (f *folding) bounce(m *event.MessageAccepted, condition string) {
	from := jid.FromCanonical(m.GetFrom())
	if from.Local() == "" {
		return // no account
	}
	f.tell(from.Bare(), &event.Output{Kind: &event.Output_Outcome{Outcome: &event.Outcome{
		Binding: f.e.GetBinding(), Resource: from.Resource(), From: f.addressed(m),
		Stanza: event.Stanza_STANZA_MESSAGE, Id: m.GetMessage().GetId(), Condition: condition,
	}}})
}

// addressed gives the JID that m was sent to.
func (f *folding) addressed(m *event.MessageAccepted) string {
	if m.GetResource() == "" {
		return f.Account.String()
	}
	return f.Account.WithCanonical(m.GetResource()).String()
}
