package fanout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

func (s *session) block(jids ...string) int64 {
	return s.write(&event.Event{Kind: &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{Blocked: jids, UnblockedAll: len(jids) == 0, Resource: s.resource}}})
}

func (s *session) list(name string, items ...*event.PrivacyItem) int64 {
	for n, i := range items {
		i.Order = uint32(n)
	}
	return s.write(&event.Event{Kind: &event.Event_PrivacyListChanged{PrivacyListChanged: &event.PrivacyListChanged{Name: name, Items: items, Resource: s.resource}}})
}

func (s *session) choose(name string, byDefault bool) int64 {
	return s.write(&event.Event{Kind: &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{Name: name, Default: byDefault, Resource: s.resource}}})
}

func (s *session) hide(invisible bool) int64 {
	return s.write(&event.Event{Kind: &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{Resource: s.resource, Invisible: invisible}}})
}

// lets waits until the edge knows that something passes, or not.
func (e *edge) lets(account string, k privacy.Kind, resource, other string, want bool) {
	e.t.Helper()
	eventually(e.t, fmt.Sprintf("%s: kind %b between %q and %s passes %v", account, k, resource, other, want), e.look(func() bool {
		a := e.audiences[account]
		return a != nil && privacy.Allows(a.GetPolicy(), k, resource, jid.FromCanonical(other)) == want
	}))
}

// order gives what was heard of some kinds, in its order.
func (e *edge) order(prefixes ...string) (words []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.heard {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(h, p) }) {
			words = append(words, h)
		}
	}
	return words
}

// The policy comes before anything later in the log, and after what is earlier.
func TestPolicyKeepsTheOrderOfTheLog(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet, romeo)
	s := e.bind(juliet, "balcony")
	s.available(0, "open")
	blocked := s.block(romeo)
	s.available(0, "secret")
	hidden := s.hide(true)
	s.available(0, "unseen")
	shown := s.hide(false)
	s.hide(true)
	s.close()
	e.hears("presence juliet@x/balcony true unseen")
	e.lets(juliet, privacy.Message, "", romeo, false)
	unblocked := e.bind(juliet, "chamber").block()
	e.lets(juliet, privacy.Message, "", romeo, true)
	want := []string{
		"presence juliet@x/balcony true open",
		fmt.Sprintf("audience juliet@x at %d blocks [romeo@x], 0 rules, 0 sessions", blocked),
		"presence juliet@x/balcony true secret",
		fmt.Sprintf("audience juliet@x at %d blocks [romeo@x], 0 rules, 1 sessions", hidden),
		"presence juliet@x/balcony true unseen",
		"presence juliet@x/balcony false ", // visible is as before initial presence (XEP-0186, section 3.2)
		fmt.Sprintf("audience juliet@x at %d blocks [romeo@x], 0 rules, 0 sessions", shown),
		fmt.Sprintf("audience juliet@x at %d blocks [romeo@x], 0 rules, 1 sessions", shown+1),
		fmt.Sprintf("audience juliet@x at %d blocks [romeo@x], 0 rules, 0 sessions", shown+2),
		fmt.Sprintf("audience juliet@x at %d blocks [], 0 rules, 0 sessions", unblocked),
	}
	if got := e.order("presence", "audience"); !slices.Equal(got, want) {
		t.Errorf("heard\n%s", strings.Join(got, "\n"))
	}
}

// An edge that begins to listen hears the policies before anything else: it may
// have others from an earlier worker.
func TestPolicyComesBeforeTheAnswer(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	e.bind(juliet, "balcony").block(romeo)
	e.lets(juliet, privacy.Message, "", romeo, false)
	again := w.attach("e2", 1)
	again.follow(juliet, romeo)
	if got := again.order("audience", "answer [juliet"); len(got) != 2 || !strings.HasPrefix(got[0], "audience") {
		t.Errorf("heard %q", got)
	}
}

// A session that goes on with an earlier one keeps what that had; one that
// takes its resource does not, and inherits no presence that was hidden.
func TestSessionsPolicyEnds(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.hide(true)
	s.available(0, "unseen")
	e.hears("presence juliet@x/balcony true unseen")
	bind := func(b *event.ResourceBound) *session {
		b.Resource, b.Edge, b.Epoch = "balcony", e.id, e.epoch
		ev := &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: b}}
		at := w.write(e.origin(), juliet, ev)
		return &session{e, juliet, "balcony", ev.Id, at}
	}
	s = bind(&event.ResourceBound{Resumes: s.binding})
	s.write(&event.Event{Kind: &event.Event_DirectedReceived{DirectedReceived: &event.DirectedReceived{From: "nurse@x/k", Available: true}}})
	e.hears("directed juliet@x from nurse@x/k true")
	if policy := e.audiences[juliet].GetPolicy(); !policy.GetSessions()[0].GetInvisible() {
		t.Errorf("resumed: %v", policy)
	}
	bind(&event.ResourceBound{Inherits: true})
	e.lets(juliet, privacy.PresenceOut, "balcony", romeo, true)
	eventually(t, "no policy", e.look(func() bool { return e.audiences[juliet].GetPolicy() == nil }))
	if got := e.order("presence", "audience"); !strings.HasPrefix(got[len(got)-2], "presence juliet@x/balcony false") {
		t.Errorf("heard\n%s", strings.Join(got, "\n"))
	}
}

// A list that refers to the roster lets nothing through that might be denied,
// until the projector tells what follows from it.
func TestListThatNeedsTheRoster(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo, nurse)
	w.befriend(juliet, romeo)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	w.projectAll()
	s.list("friends", &event.PrivacyItem{Type: "subscription", Value: "from", Allow: true}, &event.PrivacyItem{Type: "jid", Value: "count@x", Allow: true}, &event.PrivacyItem{Message: true})
	s.choose("friends", true)
	e.lets(juliet, privacy.Message, "", nurse, false)
	e.lets(juliet, privacy.Message, "", romeo, false) // it is not known yet that he is allowed
	e.lets(juliet, privacy.Message, "", "count@x", true)
	w.projectAll()
	e.lets(juliet, privacy.Message, "", romeo, true)
	e.lets(juliet, privacy.Message, "", nurse, false)

	// What does not concern the list leaves it known.
	s.block("tybalt@x")
	e.lets(juliet, privacy.Message, "", "tybalt@x", false)
	e.lets(juliet, privacy.Message, "", romeo, true)
	s.hide(true)
	eventually(t, "invisible", e.look(func() bool {
		return privacy.Hides(e.audiences[juliet].GetPolicy(), "balcony", jid.FromCanonical(romeo))
	}))
	e.lets(juliet, privacy.Message, "", romeo, true)

	// A change of a contact puts this contact in doubt, and no other.
	s.write(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: romeo, Groups: []string{"G"}, Resource: "balcony"}}})
	e.lets(juliet, privacy.Message, "", romeo, false)
	e.lets(juliet, privacy.Message, "", "count@x", true)
	w.projectAll()
	e.lets(juliet, privacy.Message, "", romeo, true)
	s.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	e.lets(juliet, privacy.Message, "", romeo, false)
	w.projectAll()

	// Another worker begins with what the projection has.
	w.befriend(juliet, nurse)
	w.projectAll()
	e.lets(juliet, privacy.Message, "", nurse, true)
	w.workers[0].stop()
	w.work("w2", nil, all...)
	again := w.attach("e2", 1)
	again.follow(juliet, juliet)
	again.lets(juliet, privacy.Message, "", romeo, false)
	again.lets(juliet, privacy.Message, "", nurse, true)
}

// An iq passes if the addressee lets it, and lets the sender know that it is
// there.
func TestIqAndPolicies(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo, nurse)
	w.befriend(juliet, romeo)
	w.befriend(juliet, nurse)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.available(0, "")
	w.projectAll()
	ask := func(from, kind string, after int64, passes bool) {
		t.Helper()
		e.mu.Lock()
		e.iqs = nil
		e.mu.Unlock()
		e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/balcony", From: from, Type: kind, Id: "1", After: after})
		eventually(t, "iq from "+from, e.look(func() bool { return len(e.iqs) > 0 }))
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.iqs) != 1 || e.iqs[0].GetRefused() == passes {
			t.Errorf("%s from %s: %v", kind, from, e.iqs)
		}
	}
	at := s.block(romeo)
	ask("romeo@x/orchard", "get", at, false)
	ask("nurse@x/kitchen", "get", at, true)
	ask("juliet@x/chamber", "get", at, true)
	// A result is dropped silently: the next one is the first to come.
	e.mu.Lock()
	e.iqs = nil
	e.mu.Unlock()
	for _, from := range []string{"romeo@x/orchard", "nurse@x/kitchen"} {
		e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/balcony", From: from, Type: "result", Id: "1", After: at})
	}
	eventually(t, "the nurse's result", e.look(func() bool { return len(e.iqs) > 0 }))
	if e.mu.Lock(); e.iqs[0].GetFrom() != "nurse@x/kitchen" {
		t.Errorf("came %v", e.iqs)
	}
	e.mu.Unlock()
	at = s.hide(true)
	ask("nurse@x/kitchen", "get", at, false)
	at = s.write(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{Resource: "balcony", To: nurse, Available: true}}})
	w.projectAll()
	ask("nurse@x/kitchen", "get", at, true)
}

// What a deleted account had set is gone, whatever comes late.
func TestDeletedAccountHasNoPolicy(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.block(romeo)
	e.lets(juliet, privacy.Message, "", romeo, false)
	w.write("edge/door/1", juliet, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	e.lets(juliet, privacy.Message, "", romeo, true)
	s.block(nurse)
	w.create(juliet)
	again := e.bind(juliet, "chamber")
	again.block("tybalt@x")
	e.lets(juliet, privacy.Message, "", "tybalt@x", false)
	e.lets(juliet, privacy.Message, "", nurse, true)
}

// A verb that the policy refuses takes nothing away.
func TestRefusedVerbRevokesNothing(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo)
	w.befriend(juliet, romeo)
	w.projectAll()
	w.work("w", func(o *fanout.Options) {}, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet, romeo)
	s := e.bind(juliet, "balcony")
	s.block(romeo)
	s.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	s.write(&event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: romeo, Verb: event.Verb_VERB_UNSUBSCRIBE}}})
	s.available(0, "")
	e.hears("presence juliet@x/balcony true ")
	if got := e.order("admission"); len(got) != 0 {
		t.Errorf("heard %q", got)
	}
}

// While a list that refers to the roster is in doubt, edges know that; what
// they can decide on later they are given, and iqs wait.
func TestDoubtIsTold(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo, nurse)
	w.befriend(juliet, romeo)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.available(0, "")
	doubts := func(when string, want bool) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s: in doubt %v", when, want), e.look(func() bool { return e.audiences[juliet].GetDoubt() == want }))
	}
	s.list("friends", &event.PrivacyItem{Type: "subscription", Value: "none"})
	s.choose("friends", true)
	doubts("a list is chosen", true)
	w.projectAll()
	doubts("and projected", false)
	e.lets(juliet, privacy.IQ, "balcony", romeo, true)

	// A change after which all is as before.
	at := s.write(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: romeo, Name: "R", Resource: "balcony"}}})
	doubts("a contact changes", true)
	e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/balcony", From: "romeo@x/orchard", Type: "get", Id: "1", After: at})
	e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/balcony", From: "juliet@x/chamber", Type: "get", Id: "2", After: at})
	s.write(&event.Event{Kind: &event.Event_DirectedReceived{DirectedReceived: &event.DirectedReceived{From: "romeo@x/k", Resource: "balcony", Available: true}}})
	e.hears("directed juliet@x from romeo@x/k true")
	eventually(t, "an iq that is in no doubt", e.look(func() bool { return len(e.iqs) > 0 }))
	e.mu.Lock()
	if e.iqs[0].GetId() != "2" {
		t.Errorf("came %v", e.iqs)
	}
	e.iqs = nil
	e.mu.Unlock()
	w.projectAll()
	doubts("the contact is known", false)
	eventually(t, "the iq that waited", e.look(func() bool { return len(e.iqs) == 1 && e.iqs[0].GetId() == "1" && !e.iqs[0].GetRefused() }))

	// What a worker in doubt tells who begins to listen.
	s.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	doubts("a contact goes", true)
	again := w.attach("e2", 1)
	again.follow(juliet, romeo)
	if a := again.audiences[juliet]; !a.GetDoubt() {
		t.Errorf("%v", a)
	}
}
