package fanout_test

import (
	"testing"
	"time"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

func TestIqWaitsForTheTail(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo)
	w.befriend(juliet, romeo)
	k := w.work("w", func(o *fanout.Options) { o.HoldIq = 200 * time.Millisecond }, all...)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	e1.follow(juliet, juliet)
	e2.follow(juliet, juliet)
	n := partitionOf(juliet)
	send := func(to string, after int64) {
		t.Helper()
		if !e1.link.SendIq(&wire.Iq{Partition: n, To: to, From: "romeo@x/orchard", Type: "get", Id: to, After: after}) {
			t.Fatal("no worker")
		}
	}
	k.account.pause(true)
	at := e2.bind(juliet, "balcony").bound
	send(juliet+"/balcony", at)
	send(juliet+"/balcony", at+1000) // never
	k.account.pause(false)
	eventually(t, "the iq arrives", e2.look(func() bool { return len(e2.iqs) == 1 }))
	eventually(t, "the other is refused", e1.look(func() bool { return len(e1.iqs) == 1 && e1.iqs[0].GetRefused() }))
	send(juliet+"/nowhere", at)
	eventually(t, "nobody takes it", e1.look(func() bool { return len(e1.iqs) == 2 && e1.iqs[1].GetRefused() }))
	e2.stop()
	eventually(t, "its edge is away", func() bool {
		send(juliet+"/balcony", at)
		e1.mu.Lock()
		defer e1.mu.Unlock()
		return e1.iqs[len(e1.iqs)-1].GetId() == juliet+"/balcony" && len(e1.iqs) > 2
	})
}

func TestIqNeedsSharedPresence(t *testing.T) {
	w := newWorld(t)
	w.create(juliet, romeo, nurse)
	w.befriend(juliet, romeo)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.available(0, "")
	e.hears("presence juliet@x/balcony true ")
	directed := s.write(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{
		Resource: "balcony", To: "friar@x/cell", Available: true}}})
	w.befriend(juliet, "count@x") // count@x does not exist: nothing comes of it
	w.projectAll()
	revoked := s.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo) // not projected yet
	ask := func(from, kind string, after int64, passes bool) {
		t.Helper()
		e.mu.Lock()
		e.iqs = nil
		e.mu.Unlock()
		e.link.SendIq(&wire.Iq{Partition: partitionOf(juliet), To: juliet + "/balcony", From: from, Type: kind, Id: "1", After: after})
		eventually(t, "iq from "+from, e.look(func() bool { return len(e.iqs) == 1 }))
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.iqs[0].GetRefused() == passes {
			t.Errorf("%s from %s refused %v", kind, from, e.iqs[0].GetRefused())
		}
	}
	ask("nurse@x/kitchen", "get", 0, false)
	ask("nurse@x/kitchen", "result", 0, true)
	ask("juliet@x/chamber", "set", 0, true)
	ask("friar@x/cell", "get", directed, true)
	ask("friar@x/garden", "get", directed, false)
	ask("romeo@x/orchard", "get", revoked, false)
}
