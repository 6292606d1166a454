package account

import (
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

// rosterItemSet creates or updates an item (RFC 6121, sections 2.3.2 and
// 2.4.2): the push goes to all interested resources, the answer to the one that
// asked.
func (f *folding) rosterItemSet(r *event.RosterItemSet) {
	contact := jid.FromCanonical(r.GetContact()).Bare()
	if contact == f.Account || contact.IsZero() {
		f.answer(r.GetResource(), r.GetRequestId(), "not-allowed") // 2.3.3; the edge refuses it before
		return
	}
	i := f.item(contact)
	if i.Removed && f.full(r.GetMaxItems()) {
		f.answer(r.GetResource(), r.GetRequestId(), overLimit)
		return
	}
	i = i.Set(r.GetName(), r.GetGroups(), f.offset)
	f.keep(i)
	f.push(i, false)
	f.answer(r.GetResource(), r.GetRequestId(), "")
}

// rosterItemRemoved removes an item and ends the subscription both ways (RFC
// 6121, section 2.5).
func (f *folding) rosterItemRemoved(r *event.RosterItemRemoved) {
	before := f.item(jid.FromCanonical(r.GetContact()).Bare())
	next, cancel, ok := before.Remove(f.offset)
	if !ok {
		f.answer(r.GetResource(), r.GetRequestId(), "item-not-found")
		return
	}
	f.keep(next)
	f.push(next, false)
	f.answer(r.GetResource(), r.GetRequestId(), "")
	f.cancelled(before, next)
	for _, v := range cancel {
		f.send(next.Contact, v, nil)
	}
}

// subscriptionSent is a verb of the owner: routed to the contact, then pushed
// (RFC 6121, sections 3.1.2, 3.1.5, 3.2.2, 3.3.2 and 3.4.2, Appendix A.2).
func (f *folding) subscriptionSent(r *event.SubscriptionSent) {
	contact := jid.FromCanonical(r.GetContact()).Bare() // of a full JID, section 3.1.2
	v := subscription.Verb(r.GetVerb())
	if contact == f.Account || contact.IsZero() {
		return // everybody sees their own presence
	}
	if !f.Policy().Allows(privacy.Subscription, f.sender(), contact.JID()) {
		f.refusePresence(contact.String(), r.GetPresence())
		return
	}
	before := f.item(contact)
	next := before.Sent(v, f.offset)
	if before.Removed && !next.Removed && f.full(r.GetMaxItems()) {
		f.refuse(r.GetResource(), contact.JID(), r.GetPresence(), overLimit)
		return
	}
	if subscription.Routed(before.State, v) {
		f.request(contact, v, r.GetPresence(), r.GetMaxRequests())
	}
	if next.State != before.State {
		f.keep(next)
		f.push(next, !roster.Visible(before, next))
		f.cancelled(before, next)
	}
}

// subscriptionReceived is a verb of a contact: shown to the owner's clients,
// then pushed (RFC 6121, sections 3.1.3, 3.1.6, 3.2.3, 3.3.3 and 3.4.2,
// Appendix A.3).
// What means nothing in the present state is ignored.
func (f *folding) subscriptionReceived(r *event.SubscriptionReceived) {
	contact := jid.FromCanonical(r.GetContact()).Bare()
	v := subscription.Verb(r.GetVerb())
	if contact == f.Account || contact.IsZero() {
		return
	}
	if !f.Policy().Allows(privacy.Subscription, "", contact.JID()) {
		return // without an answer (XEP-0191, section 3.3; XEP-0016, section 2.14)
	}
	before := f.item(contact)
	next := before.Received(v, stored(v, r.GetPresence()), f.offset)
	if next.Hidden() && !before.Hidden() && f.beset(r.GetMaxRequests()) {
		return
	}
	if subscription.Delivered(before.State, v) {
		f.tell(f.Account, &event.Output{Kind: &event.Output_SubscriptionStanza{SubscriptionStanza: &event.SubscriptionStanza{
			From: contact.String(), Verb: r.GetVerb(), Presence: r.GetPresence(),
		}}})
	}
	if next.State != before.State {
		f.keep(next)
		f.push(next, !roster.Visible(before, next))
		f.cancelled(before, next)
	}
	if reply := subscription.Reply(before.State, v); reply != 0 {
		f.send(contact, reply, nil)
	}
}

// stored gives what is stored of a contact's request: an encoded
// event.Presence, nil if the stanza said nothing.
func stored(v subscription.Verb, p *event.Presence) []byte {
	if v != subscription.Subscribe {
		return nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil || len(b) == 0 { // no error: it came out of the codec, so it goes back in
		return nil
	}
	return b
}

// send reacts with a verb in the contact's history, from the account's bare
// JID (RFC 6121, section 3, implementation note).
func (f *folding) send(contact jid.Bare, v subscription.Verb, p *event.Presence) {
	f.request(contact, v, p, 0)
}

// request is send with the number of requests that may wait at the contact.
func (f *folding) request(contact jid.Bare, v subscription.Verb, p *event.Presence, most uint32) {
	if v != subscription.Subscribe {
		most = 0
	}
	f.react(contact, &event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{
		Contact: f.Account.String(), Verb: event.Verb(v), Presence: p, MaxRequests: most,
	}}})
}

// push tells the interested resources of i as it is now (RFC 6121, section
// 2.1.6); hidden, if nothing changed that a client may see.
func (f *folding) push(i roster.Item, hidden bool) {
	item := &event.RosterItem{
		Contact:    i.Contact.String(),
		Name:       i.Name,
		Groups:     i.Groups,
		To:         i.State&subscription.To != 0,
		From:       i.State&subscription.From != 0,
		PendingOut: i.State&subscription.PendingOut != 0,
		PendingIn:  i.State&subscription.PendingIn != 0,
		Approved:   i.State&subscription.Approved != 0,
		Removed:    i.Removed && !i.Hidden(),
		Hidden:     hidden,
	}
	f.tell(f.Account, &event.Output{Kind: &event.Output_RosterPush{RosterPush: &event.RosterPush{Item: item, Version: f.offset}}})
}

// answer answers the iq of a session; without an id nobody asked.
func (f *folding) answer(resource, id, condition string) {
	if id == "" {
		return
	}
	f.tell(f.Account, &event.Output{Kind: &event.Output_Outcome{Outcome: &event.Outcome{
		Binding: f.e.GetBinding(), Resource: resource, Stanza: event.Stanza_STANZA_IQ, Id: id, Condition: condition,
	}}})
}
