package account

import (
	"bytes"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
)

// messageAccepted is a message for the account (RFC 6121, section 8.5). What
// may wait waits until it is settled, even if a resource is there to take it.
func (f *folding) messageAccepted(m *event.MessageAccepted) {
	msg, from := m.GetMessage(), jid.FromCanonical(m.GetFrom())
	origin := OriginOf(m)
	if origin != 0 && f.Origins.Copied(origin, f.offset) {
		// The client sent it again. It is told no error: the first one arrived.
		f.withhold(event.MessageWithheld_REASON_COPY, msg, m.GetFrom())
		return
	}
	t := message.Type(msg.GetType())
	d := f.Policy().Route(t, m.GetResource(), from, f.Resources)
	if msg.GetStorable() && d.Action == message.Store && f.heaped(m.GetMaxWaiting()) {
		d = message.Decision{Action: message.Bounce, Condition: message.ServiceUnavailable}
	}
	if d.Action == message.Bounce {
		f.bounce(m, d.Condition)
		f.withhold(event.MessageWithheld_REASON_REFUSED, msg, m.GetFrom())
		return
	}
	switch {
	case !msg.GetStorable():
	case d.Action == message.Deliver || d.Action == message.Store:
		put(&f.Inbox, f.offset, Stored{Offset: f.offset, ID: event.ID(f.e), At: event.Time(f.e), Accepted: m})
		note(&f.Changes.Inbox, f.offset)
		if d.Action == message.Store {
			f.wake(f.offset)
		}
		if origin != 0 {
			f.Origins = f.Origins.Note(origin, f.offset)
			f.Changes.Origins = true
		}
		f.withholdUnwanted(msg, m.GetFrom())
	default:
		f.withhold(event.MessageWithheld_REASON_REFUSED, msg, m.GetFrom())
	}
	if t != message.Error && from.Local() != "" {
		f.react(from.Bare(), &event.Event{Binding: f.e.GetBinding(), Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{
			Resource: from.Resource(), To: f.addressed(m), Message: msg, Accepted: f.e.GetId(),
		}}})
	}
}

// OriginOf gives the hash of a storable message whose sender's client gave it
// an id (XEP-0359), 0 for any other.
func OriginOf(m *event.MessageAccepted) uint64 {
	if id := m.GetMessage().GetOriginId(); id != "" && m.GetMessage().GetStorable() {
		return message.OriginHash(jid.FromCanonical(m.GetFrom()).Bare().String(), id)
	}
	return 0
}

// heaped tells that as many messages wait as may.
func (s *State) heaped(limit uint32) bool { return limit > 0 && len(s.Inbox) >= int(limit) }

// withhold tells this history that the message of the event that is folded is
// in no archive. What no archive would keep anyhow needs no telling.
func (f *folding) withhold(reason event.MessageWithheld_Reason, m *event.Message, peer string) {
	if Archived(m) {
		f.react(f.Account, &event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{
			Offset: f.offset, Reason: reason, MessageAt: f.e.GetAt(), Peer: peer,
		}}})
	}
}

// Archived tells whether archives may keep m: it may wait in an inbox, so it is
// neither a headline, an error nor a lone chat state nor has the hint no-store,
// and it has not the hint no-permanent-store (XEP-0334, section 4). Who wrote
// the event knows the hints; where it does not say, the payload is searched.
func Archived(m *event.Message) bool {
	switch m.GetArchive() {
	case event.Archive_ARCHIVE_NO:
		return false
	case event.Archive_ARCHIVE_YES:
		return m.GetStorable()
	}
	p := m.GetPayload()
	hinted := bytes.Contains(p, []byte("urn:xmpp:hints")) &&
		(bytes.Contains(p, []byte("<no-permanent-store")) || bytes.Contains(p, []byte("<no-store")))
	return m.GetStorable() && !hinted
}

// unknownRecipient is a message for an account that does not exist (RFC 6121,
// section 8.5.1). It is in no archive of an account that may come.
func (f *folding) unknownRecipient(m *event.MessageAccepted) {
	if d := message.Unknown(message.Type(m.GetMessage().GetType())); d.Action == message.Bounce {
		f.bounce(m, d.Condition)
	}
	f.withhold(event.MessageWithheld_REASON_REFUSED, m.GetMessage(), m.GetFrom())
}

// settled takes a message out of the inbox: a resource has it, or it waited for
// too long.
func (f *folding) settled(offset int64) {
	if _, waits := f.Inbox[offset]; waits {
		delete(f.Inbox, offset)
		note(&f.Changes.Inbox, offset)
	}
}

// bounce gives the sender a stanza error: a session or, by its domain, a
// component (XEP-0114).
func (f *folding) bounce(m *event.MessageAccepted, condition string) {
	from := jid.FromCanonical(m.GetFrom())
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
