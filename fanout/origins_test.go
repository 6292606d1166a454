package fanout_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// say sends a chat message under an origin id, of which at most so many may wait.
func (w *world) say(to, body, origin string, waiting uint32) int64 {
	return w.write("edge/sender/1", to, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: "sender@x/s", MaxWaiting: waiting,
		Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: body, Storable: true, OriginId: origin},
	}}})
}

// got compares all messages that the edge was sent.
func (e *edge) got(want ...string) {
	e.w.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	var got []string
	for _, m := range e.messages {
		got = append(got, m.GetAccepted().GetMessage().GetBody())
	}
	if !slices.Equal(got, want) {
		e.w.t.Errorf("got %q, want %q", got, want)
	}
}

// What a client sends again under its origin id goes to nobody (XEP-0359): by
// the worker that had the first, by one that takes the partition over, and for
// an account that comes online after it.
func TestCopiesAreNotDelivered(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo)
	w.say(romeo, "waits", "o1", 0)
	w.say(romeo, "waits, again", "o1", 0)
	w.projectAll()
	first := w.work("w1", nil, all...)
	e := w.attach("e", 1)
	e.take()
	eventually(t, "linked", e.link.Ready)
	e.bind(juliet, "balcony").available(0, "")
	w.projectAll() // lets the inbox be loaded
	w.say(juliet, "one", "o1", 0)
	w.say(juliet, "one, again", "o1", 0)
	w.say(juliet, "two", "o2", 0)
	e.hears("message two")
	w.projectAll()

	first.stop()
	w.work("w2", nil, all...)
	w.say(juliet, "one, by another worker", "o1", 0)
	w.say(juliet, "three", "o3", 0)
	e.hears("message three")

	e.bind(romeo, "orchard").available(0, "")
	w.projectAll()
	e.hears("message waits")
	w.say(romeo, "waits, after it was loaded", "o1", 0)
	w.say(romeo, "four", "o4", 0)
	e.hears("message four")
	e.got("one", "two", "three", "waits", "four")
}

// A copy that comes between a session's start and the load of its account's
// inbox is dropped when that shows what it is.
func TestCopyWhileTheInboxIsLoaded(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo)
	w.say(juliet, "one", "o1", 0)
	w.say(romeo, "old", "", 0)
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.take()
	s := e.bind(juliet, "balcony")
	w.say(juliet, "one, again", "o1", 0)
	w.say(juliet, "two", "o2", 0)
	w.project(partitionOf(juliet), 1) // the ResourceBound alone
	e.bind(romeo, "orchard").available(0, "")
	w.project(partitionOf(romeo), 1)
	e.hears("message old") // Romeo's inbox was asked for later: now juliet's is there.
	s.available(0, "")
	e.hears("message one")
	e.hears("message two")
	w.say(juliet, "two, again", "o2", 0)
	w.say(juliet, "three", "", 0)
	e.hears("message three")
	e.got("old", "one", "two", "three")
}

// What the fold refuses because too much waits the worker does not keep
// (XEP-0160, section 3): it counts the same, also while the inbox is loaded.
func TestFullInboxes(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo)
	w.say(juliet, "one", "", 2)
	w.say(romeo, "old", "", 2)
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.take()
	s := e.bind(juliet, "balcony")
	w.say(juliet, "two", "", 2)
	w.say(juliet, "too much while it is loaded", "", 2)
	w.project(partitionOf(juliet), 1) // the ResourceBound alone
	w.projectAll()
	other := e.bind(romeo, "orchard")
	w.projectAll()
	other.available(0, "")
	e.hears("message old") // Romeo's inbox was asked for later: now juliet's is there.
	w.say(juliet, "too much", "", 2)
	s.available(0, "")
	e.hears("message two")
	w.say(juliet, "three", "", 2)
	e.hears("message three")
	e.got("old", "one", "two", "three")
}

// nobodyGotMore wants no edge to have been sent what the fold refused or dropped
// as a copy.
func (w *world) nobodyGotMore(edges []*edge) {
	w.t.Helper()
	withheld := make(map[string]bool)
	w.log.mu.Lock()
	for _, records := range w.log.records[topic.Account] {
		for _, r := range records {
			e, err := event.Decode(r.Value)
			if err != nil {
				continue
			}
			if m := e.GetMessageWithheld(); m != nil {
				withheld[fmt.Sprint(string(r.Key), " ", m.GetOffset())] = true
			}
		}
	}
	w.log.mu.Unlock()
	for _, e := range edges {
		e.mu.Lock()
		for _, m := range e.messages {
			if at := fmt.Sprint(m.GetAccount(), " ", m.GetOffset()); withheld[at] {
				w.t.Errorf("%s was sent %s, which the fold did not take", e.id, at)
			}
		}
		e.mu.Unlock()
	}
}
