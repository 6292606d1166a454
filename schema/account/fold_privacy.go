package account

import (
	"bytes"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/subscription"
)

// A Hidden is a connected resource whose presence a contact must not see,
// though its subscription is "from" or "both"; without a viewer nobody must.
type Hidden struct{ Resource, Viewer string }

// Policy gives what the account lets through, nil if that is everything.
func (s *State) Policy() *privacy.Compiled {
	if s.Privacy == nil {
		return nil
	}
	if s.compiledOf != s.Privacy {
		s.compiled, s.compiledOf = privacy.New(privacy.Compile(s.Account, s.Privacy, s.Roster)), s.Privacy
	}
	return s.compiled
}

// blockListChanged blocks and unblocks (XEP-0191, sections 3.3 to 3.5). What
// follows from it is settled by policyChanged.
func (f *folding) blockListChanged(c *event.BlockListChanged) {
	next, push, condition := f.Privacy.Block(c)
	f.Privacy = next
	if push != nil {
		f.tell(f.Account, &event.Output{Kind: &event.Output_BlockListPush{BlockListPush: push}})
	}
	f.answer(c.GetResource(), c.GetRequestId(), condition)
}

// privacyListChanged creates, replaces or removes a list (XEP-0016, sections
// 2.6 to 2.8).
func (f *folding) privacyListChanged(c *event.PrivacyListChanged) {
	next, condition := f.Privacy.SetList(c, f.connected())
	if condition == "" {
		f.Privacy = next
		f.tell(f.Account, &event.Output{Kind: &event.Output_PrivacyListPush{PrivacyListPush: &event.PrivacyListPush{Name: c.GetName()}}})
	}
	f.answer(c.GetResource(), c.GetRequestId(), condition)
}

// privacyListChosen chooses the default list, or the active one of a session
// (XEP-0016, sections 2.4 and 2.5).
func (f *folding) privacyListChosen(c *event.PrivacyListChosen) {
	if _, ok := f.session(c.GetResource()); !ok && !c.GetDefault() {
		return
	}
	next, condition := f.Privacy.Choose(c, f.connected())
	f.Privacy = next
	f.answer(c.GetResource(), c.GetRequestId(), condition)
}

// visibilityChanged makes a session invisible or visible (XEP-0186, section
// 3). Who becomes invisible goes, for everybody; who becomes visible is as
// one that has not sent initial presence, but that the targets of what it
// directed meanwhile are still to hear of its end.
func (f *folding) visibilityChanged(v *event.VisibilityChanged) {
	r, ok := f.session(v.GetResource())
	if !ok {
		return
	}
	was := f.Privacy.Session(r.Name).Invisible
	f.Privacy = f.Privacy.Visible(r.Name, !v.GetInvisible(), event.Time(f.e))
	switch {
	case v.GetInvisible() && !was:
		f.endDirected(r.Name, nil)
		if r.Available {
			f.left("")
		}
	case !v.GetInvisible() && was && r.Available:
		f.keepResource(r.Withdraw(presence.Content{}, f.offset, event.Time(f.e)))
	}
	f.answer(v.GetResource(), v.GetRequestId(), "")
}

// sessionOver ends what lasts as long as a session.
func (f *folding) sessionOver(resource string) {
	f.Privacy = f.Privacy.Ended(resource)
}

// seen tells that subscribers hear the broadcasts of a resource.
func (f *folding) seen(r presence.Resource) bool {
	return r.Available && !f.Privacy.Session(r.Name).Invisible
}

func (f *folding) connected() []string {
	return slices.Sorted(maps.Keys(f.Resources))
}

// sender gives the resource of the session that the event came from, empty
// if that is not the latest of any.
func (f *folding) sender() string {
	for name, r := range f.Resources {
		if bytes.Equal(r.Binding[:], f.e.GetBinding()) {
			return name
		}
	}
	return ""
}

// refusePresence tells a session that what it sent was not routed, for the
// account lets nothing pass to the addressee (XEP-0191, section 3.3).
func (f *folding) refusePresence(to string, p *event.Presence) {
	f.tell(f.Account, &event.Output{Kind: &event.Output_Outcome{Outcome: &event.Outcome{
		Binding: f.e.GetBinding(), Resource: f.sender(), From: to,
		Stanza: event.Stanza_STANZA_PRESENCE, Id: p.GetId(), Condition: "not-acceptable",
	}}})
}

// policyChanged settles what an event has changed of what is let through. was
// and before are the state and the policy from before it.
func (f *folding) policyChanged(was *privacy.State, before *privacy.Compiled) {
	changed, roster, resources := was != f.Privacy, false, false
	switch f.e.GetKind().(type) {
	case *event.Event_RosterItemSet, *event.Event_RosterItemRemoved, *event.Event_SubscriptionSent, *event.Event_SubscriptionReceived:
		roster = true
	case *event.Event_ResourceBound, *event.Event_ResourceClosed, *event.Event_EdgeLost:
		resources = true
	}
	if !changed && !roster && !resources {
		return
	}
	if roster && f.Privacy.Roster() {
		f.compiledOf = nil
	}
	after := f.Policy()
	// Who follows the log without the roster has been more careful since the
	// event, and waits for this.
	if (changed || roster) && (was.Roster() || f.Privacy.Roster()) {
		f.tell(f.Account, &event.Output{Kind: &event.Output_PolicyChanged{PolicyChanged: &event.PolicyChanged{Policy: after.Policy(), Version: f.offset}}})
	}
	if changed || before != after && !proto.Equal(before.Policy(), after.Policy()) {
		f.Changes.Privacy = true
		f.refuseDirected(after)
	}
	f.hide(after)
}

// refuseDirected tells those who got directed presence and must get no more
// that it is over (XEP-0191, section 3.3; XEP-0016, section 2.11).
func (f *folding) refuseDirected(c *privacy.Compiled) {
	for _, name := range slices.Sorted(maps.Keys(f.Directed)) {
		for _, target := range slices.Sorted(maps.Keys(f.Directed[name])) {
			if to := jid.FromCanonical(target); !c.Allows(privacy.PresenceOut, name, to) {
				f.Directed.Remove(name, target)
				note(&f.Changes.Directed, name)
				f.direct(name, to, false, nil)
			}
		}
	}
}

// hide keeps Hidden and Refused what the policy says.
func (f *folding) hide(c *privacy.Compiled) {
	hidden, refused := make(map[Hidden]struct{}), make(map[jid.Bare]struct{})
	if c != nil {
		for name := range f.Resources {
			if c.Invisible(name) {
				hidden[Hidden{Resource: name}] = struct{}{}
			}
		}
		for contact, i := range f.Roster {
			if !i.Removed && i.State&subscription.To != 0 && !c.Allows(privacy.PresenceIn, "", contact.JID()) {
				refused[contact] = struct{}{}
			}
			if i.Removed || i.State&subscription.From == 0 || !c.Concerns(privacy.PresenceOut, contact) {
				continue
			}
			for name := range f.Resources {
				if !c.Invisible(name) && c.Hides(name, contact.JID()) {
					hidden[Hidden{name, contact.String()}] = struct{}{}
				}
			}
		}
	}
	replace(&f.Hidden, hidden, &f.Changes.Hidden)
	replace(&f.Refused, refused, &f.Changes.Refused)
}

// replace makes a set what it is to be, and notes what was not so.
func replace[K comparable](set *map[K]struct{}, next map[K]struct{}, changes *map[K]struct{}) {
	for k := range *set {
		if _, still := next[k]; !still {
			delete(*set, k)
			note(changes, k)
		}
	}
	for k := range next {
		if _, already := (*set)[k]; !already {
			put(set, k, struct{}{})
			note(changes, k)
		}
	}
}

// dropPrivacy notes that all of it is gone with the account.
func (f *folding) dropPrivacy() {
	f.Changes.Privacy = f.Changes.Privacy || f.Privacy != nil
	for h := range f.Hidden {
		note(&f.Changes.Hidden, h)
	}
	for contact := range f.Refused {
		note(&f.Changes.Refused, contact)
	}
}
