package fanout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

const (
	romeo  = "romeo@x"
	juliet = "juliet@x"
	nurse  = "nurse@x"
)

func TestInterestIsAnsweredThenFramesFollowInOrder(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet, nurse)
	w.befriend(juliet, romeo)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	balcony := e1.bind(juliet, "balcony")
	balcony.available(1, "here")
	w.work("w", nil, all...)

	e2.follow(juliet, romeo, nurse, juliet)
	e2.mu.Lock()
	if r := e2.registers[juliet+"/balcony"]; !r.GetAvailable() || r.GetPresence().GetStatus() != "here" || r.GetPresence().GetPriority() != 1 {
		t.Errorf("register %v", r)
	}
	for follower, want := range map[string]bool{romeo: true, juliet: true, nurse: false} {
		if got := e2.admitted[juliet+" "+follower]; got.GetAdmitted() != want {
			t.Errorf("%s: %v", follower, got)
		}
	}
	e2.heard = nil
	e2.mu.Unlock()

	balcony.available(1, "busy")
	balcony.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	balcony.available(1, "alone")
	balcony.close()
	e2.hears("presence juliet@x/balcony false ")
	e2.mu.Lock()
	defer e2.mu.Unlock()
	want := []string{
		"presence juliet@x/balcony true busy", "admission juliet@x romeo@x false",
		"presence juliet@x/balcony true alone", "presence juliet@x/balcony false ",
	}
	if !slices.Equal(e2.heard, want) {
		t.Errorf("heard %q", e2.heard)
	}
}

func TestGrantComesWhenProjected(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet)
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, romeo)
	w.befriend(juliet, romeo)
	e.hears("admission juliet@x romeo@x true")
}

// TestRevocationBeatsAnOlderSnapshot asks for an admission while the
// projection lags behind the revocation.
func TestRevocationBeatsAnOlderSnapshot(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet)
	w.befriend(juliet, romeo)
	e := w.attach("e", 1)
	w.work("w", nil, all...)
	at := e.bind(juliet, "balcony").subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	e.follow(juliet, romeo)
	e.mu.Lock()
	if got := e.admitted[juliet+" "+romeo]; got.GetAdmitted() || got.GetOffset() != at {
		t.Errorf("admission %v, want a revocation at %d", got, at)
	}
	e.mu.Unlock()
	w.projectAll()
}

func TestMessagesAreRoutedAgainUntilDelivered(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	w.message(juliet, "", "before any session")
	w.projectAll()
	w.work("w", nil, all...)
	eventually(t, "e1 is linked", e1.link.Ready)
	eventually(t, "e2 is linked", e2.link.Ready)

	balcony := e1.bind(juliet, "balcony")
	w.message(juliet, "", "not available yet")
	balcony.available(0, "")
	w.message(juliet, "balcony", "while the inbox is loaded")
	w.message(juliet, "", "now")
	w.projectAll() // lets the inbox be loaded
	for _, words := range []string{"before any session", "not available yet", "while the inbox is loaded", "now"} {
		e1.hears("message " + words)
	}
	e1.mu.Lock()
	for i, want := range []string{"before any session true", "not available yet true", "while the inbox is loaded false", "now false"} {
		if m := e1.messages[i]; fmt.Sprint(m.GetAccepted().GetMessage().GetBody(), " ", m.GetDelayed()) != want {
			t.Errorf("message %d is %v, want %s", i, m, want)
		}
	}
	e1.mu.Unlock()

	offset := w.message(juliet, "", "unacknowledged")
	e1.hears("message unacknowledged")
	chamber := e2.bind(juliet, "chamber")
	chamber.available(0, "")
	e2.take()
	balcony.close() // nobody said Delivered
	waited := []string{"before any session", "not available yet", "while the inbox is loaded", "now", "unacknowledged"}
	for _, words := range waited {
		e2.hears("message " + words)
	}
	e2.mu.Lock()
	var got []string
	for _, m := range e2.messages {
		if !m.GetDelayed() || !m.GetStored() {
			t.Errorf("message %v", m)
		}
		got = append(got, m.GetAccepted().GetMessage().GetBody())
	}
	e2.mu.Unlock()
	if !slices.Equal(got, waited) {
		t.Errorf("messages %q", got)
	}
	eventually(t, "Delivered", func() bool {
		s := w.truth()[juliet]
		_, waits := s.Inbox[offset]
		return !waits && len(s.Inbox) == 0
	})
	// Delivered ends it: a third session gets nothing.
	w.projectAll()
	third := e1.bind(juliet, "third")
	third.available(0, "")
	chamber.close()
	w.message(juliet, "", "last")
	e1.hears("message last")
	e1.mu.Lock()
	defer e1.mu.Unlock()
	if n := len(e1.messages); n != 6 {
		t.Errorf("e1 got %d messages", n)
	}
}

// Copies (XEP-0280) of what was said while no worker served the partition, and
// the projection went on.
func TestCopiesOutliveTheirWorker(t *testing.T) {
	w := newWorld(t)
	w.create(romeo)
	one, two := w.attach("e1", 1), w.attach("e2", 1)
	a, b := one.bind(romeo, "a"), two.bind(romeo, "b")
	a.available(0, "")
	b.available(0, "")
	said := func(body string) {
		a.write(&event.Event{Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{
			Resource: "a", To: juliet, Message: &event.Message{Body: body, Copies: event.Copies_COPIES_ALL},
		}}})
	}
	said("while nobody serves")
	w.projectAll()
	k := w.work("w1", nil, all...)
	two.hears("copy while nobody serves")
	said("served")
	two.hears("copy served")
	k.stop()
	said("while nobody serves again")
	w.projectAll()
	w.work("w2", nil, all...)
	two.hears("copy while nobody serves again")
	two.mu.Lock()
	defer two.mu.Unlock()
	var first []string // an edge drops what comes again
	for _, words := range two.heard {
		if strings.HasPrefix(words, "copy ") && !slices.Contains(first, words) {
			first = append(first, words)
		}
	}
	if want := []string{"copy while nobody serves", "copy served", "copy while nobody serves again"}; !slices.Equal(first, want) {
		t.Errorf("heard %q", first)
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if slices.ContainsFunc(one.heard, func(words string) bool { return strings.HasPrefix(words, "copy ") }) {
		t.Errorf("the sender's edge heard %q", one.heard)
	}
}

func TestOutputsWaitForTheTailAndAreCommittedWhenTaken(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	k := w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	n := partitionOf(juliet)

	k.account.pause(true)
	s := e.bind(juliet, "balcony")
	s.write(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: romeo, RequestId: "r1", Resource: "balcony"}}})
	w.projectAll() // the outbox is ahead of the worker's tail
	k.outbox.passes(t, n, 2)
	k.account.pause(false)
	eventually(t, "push and outcome", e.look(func() bool { return len(e.outputs) == 2 }))
	eventually(t, "the outbox is committed", func() bool { return w.log.committedAt(n) == 2 })

	// What an edge has not taken is sent again, and not committed.
	e.stop()
	s.write(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: nurse, RequestId: "r2", Resource: "balcony"}}})
	w.projectAll()
	again := w.attach("e", 1)
	eventually(t, "what was missed", again.look(func() bool { return len(again.outputs) == 2 }))
	again.mu.Lock()
	if o := again.outputs[0]; o.GetOffset() != 2 || o.GetOutput().GetRosterPush().GetItem().GetContact() != nurse {
		t.Errorf("output %v", o)
	}
	again.mu.Unlock()
	eventually(t, "the outbox is committed", func() bool { return w.log.committedAt(n) == 4 })
}

// TestOutputsAreNotForLaterSessions binds a session after what an output tells
// of: it has read that in its roster.
func TestOutputsAreNotForLaterSessions(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	k := w.work("w", nil, all...)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	e1.follow(juliet, juliet)
	e2.follow(juliet, juliet)
	set := func(s *session, contact string) {
		s.write(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: contact, Resource: s.resource}}})
		w.projectAll()
	}
	k.outbox.pause(true)
	s := e1.bind(juliet, "balcony")
	set(s, romeo)
	e2.bind(juliet, "chamber").available(0, "later")
	e1.hears("presence juliet@x/chamber true later")
	set(s, nurse)
	k.outbox.pause(false)
	eventually(t, "all outputs at e1", e1.look(func() bool { return len(e1.outputs) == 2 }))
	eventually(t, "outputs at e2", e2.look(func() bool { return len(e2.outputs) >= 1 }))
	e2.mu.Lock()
	defer e2.mu.Unlock()
	if len(e2.outputs) != 1 || e2.outputs[0].GetOutput().GetRosterPush().GetItem().GetContact() != nurse {
		t.Errorf("e2 got %v", e2.outputs)
	}
}

// TestAnswerWaitsForTheEndOfTheLog asks while the worker's tail is behind what
// the log had when the partition was claimed.
func TestAnswerWaitsForTheEndOfTheLog(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.projectAll()
	e := w.attach("e", 1)
	e.bind(juliet, "balcony").available(0, "here")
	k := w.work("w", nil)
	k.account.pause(true)
	k.assign(all...)
	eventually(t, "linked", e.link.Ready)
	e.mu.Lock()
	e.follows[juliet] = []string{juliet}
	e.mu.Unlock()
	e.link.Follow(partitionOf(juliet), juliet, juliet)
	// Comes back once the worker has taken all that was said before.
	eventually(t, "the interest is taken", func() bool {
		e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/nowhere", From: juliet + "/x", After: -1})
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.iqs) > 3
	})
	e.mu.Lock()
	early := slices.Contains(e.heard, "answer [juliet@x] 0 present")
	e.mu.Unlock()
	if early {
		t.Error("the answer did not wait")
	}
	k.account.pause(false)
	e.hears("answer [juliet@x] 1 present")
}

// TestDeliveredWhileTheInboxIsLoaded settles one of two messages between the
// session's start and the load of the inbox.
func TestDeliveredWhileTheInboxIsLoaded(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	first := w.message(juliet, "", "delivered")
	w.message(juliet, "", "waits")
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.write(&event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: first, Resource: "balcony"}}})
	s.available(0, "ready")
	e.hears("presence juliet@x/balcony true ready")
	w.project(partitionOf(juliet), 1) // the ResourceBound alone
	e.hears("message waits")
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.messages) != 1 {
		t.Errorf("got %q", e.heard)
	}
}

func TestDirectedPresence(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	e.follow(romeo, romeo)
	e.bind(juliet, "balcony").available(0, "")
	s := e.bind(romeo, "orchard")
	s.write(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{Resource: "orchard", To: juliet, Available: true}}})
	w.projectAll()
	e.hears("directed juliet@x from romeo@x/orchard true")
	s.close()
	w.projectAll()
	e.hears("directed juliet@x from romeo@x/orchard false")
}

func TestSlowEdgeIsClosedAndRepaired(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", func(o *fanout.Options) { o.MaxQueuedBytes = 1 << 20 }, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.available(0, "")
	w.projectAll()
	e.hears("presence juliet@x/balcony true ")
	// While the handler does not return, the stream fills: windows, then the queue.
	e.mu.Lock()
	answers := e.answers
	body := strings.Repeat("x", 64<<10)
	for range 150 {
		w.message(juliet, "", body)
	}
	end := s.available(0, "end")
	e.mu.Unlock()
	eventually(t, "all messages in the end", e.look(func() bool {
		offsets := make(map[int64]bool)
		for _, m := range e.messages {
			offsets[m.GetOffset()] = true
		}
		return len(offsets) == 150
	}))
	eventually(t, "the latest presence", e.look(func() bool { return e.registers[juliet+"/balcony"].GetVersion() == end }))
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.answers == answers {
		t.Error("the stream was not closed")
	}
}

func TestLostEdgeMayNotAttach(t *testing.T) {
	w := newWorld(t)
	w.work("w", func(o *fanout.Options) {
		o.Attachable = func(_ context.Context, edge string, epoch uint64) (bool, error) { return epoch == 2, nil }
	}, all...)
	old, now := w.attach("e", 1), w.attach("e", 2)
	eventually(t, "the living epoch attaches", now.link.Ready)
	if old.link.Ready() {
		t.Error("a lost epoch is attached")
	}
}

func TestNewerRecordStopsItsPartitionAlone(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo, nurse)
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	stopped, other := juliet, ""
	for _, name := range []string{romeo, nurse} {
		if partitionOf(name) != partitionOf(stopped) {
			other = name
		}
	}
	e.follow(stopped, stopped)
	e.follow(other, other)
	e.bind(stopped, "a").available(0, "before")
	e.hears("presence " + stopped + "/a true before")
	value := protowire.AppendTag(nil, 1, protowire.BytesType)
	value = protowire.AppendBytes(value, make([]byte, 16))
	value = protowire.AppendTag(value, 3, protowire.BytesType)
	value = protowire.AppendString(value, "edge/new/1")
	value = protowire.AppendTag(value, 99, protowire.BytesType)
	value = protowire.AppendBytes(value, nil)
	w.log.append(topic.Account, partitionOf(stopped), stopped, value)
	w.write("edge/e/1", stopped, &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "b", Edge: "e", Epoch: 1}}})
	e.bind(other, "a").available(0, "goes on")
	e.hears("presence " + other + "/a true goes on")
}
