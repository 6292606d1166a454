package fanout_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

func TestSupersededAndLateFarewell(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	e2.follow(juliet, juliet)
	e1.follow(juliet, juliet)
	old := e1.bind(juliet, "balcony")
	old.available(0, "old")
	now := e2.bind(juliet, "balcony")
	now.available(0, "new")
	old.close() // names a binding that is no longer the latest
	end := now.available(0, "last")
	e1.hears("superseded juliet@x")
	e1.hears("presence juliet@x/balcony true last")
	e1.mu.Lock()
	defer e1.mu.Unlock()
	if r := e1.registers[juliet+"/balcony"]; r.GetVersion() != end || !r.GetAvailable() {
		t.Errorf("register %v", r)
	}
}

// Who comes back and is what it was is no news to anybody; it takes messages
// once it has said so. The session before it ends all the same.
func TestInheritedPresence(t *testing.T) {
	for _, resumed := range []bool{false, true} {
		t.Run(fmt.Sprintf("resumed=%v", resumed), func(t *testing.T) {
			w := newWorld(t)
			w.create(juliet)
			w.work("w", nil, all...)
			e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
			e1.follow(juliet, juliet)
			e2.follow(juliet, juliet)
			old := e1.bind(juliet, "balcony")
			version := old.available(1, "here")
			w.projectAll()
			e1.hears("presence juliet@x/balcony true here")
			back := func(last *session) *event.ResourceBound {
				b := &event.ResourceBound{Resource: "balcony", Inherits: !resumed}
				if resumed {
					b.Resumes = last.binding
				}
				return b
			}
			now := e2.begin(juliet, back(old))
			e1.hears("superseded juliet@x")
			if resumed { // by one that comes too late: it is bound to nothing
				late := e1.begin(juliet, back(old))
				late.available(1, "late")
			}
			w.message(juliet, "", "waits")
			now.available(1, "here")
			e2.hears("message waits")
			end := now.available(1, "gone to bed")
			e2.hears("presence juliet@x/balcony true gone to bed")
			e1.hears("presence juliet@x/balcony true gone to bed")
			for _, e := range []*edge{e1, e2} {
				e.mu.Lock()
				n := 0
				for _, line := range e.heard {
					if strings.HasPrefix(line, "presence juliet@x/balcony") {
						n++
					}
				}
				if got := e.registers[juliet+"/balcony"].GetVersion(); got != end || n != 2 {
					t.Errorf("%s heard %d changes, the last of %d: %q, since %d", e.id, n, got, e.heard, version)
				}
				e.mu.Unlock()
			}
		})
	}
}

func TestEdgeLostTakesItsSessionsOffline(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e1, e2 := w.attach("e1", 7), w.attach("e2", 8)
	e2.follow(juliet, juliet)
	lost := e1.bind(juliet, "balcony")
	lost.available(0, "")
	w.projectAll()
	w.message(juliet, "", "hello")
	e1.hears("message hello")
	chamber := e2.bind(juliet, "chamber")
	chamber.available(0, "")
	e1.stop()
	w.lose("e1", 7)
	lost.available(0, "a ghost") // the origin is closed
	e2.hears("presence juliet@x/balcony false ")
	e2.hears("message hello")
	chamber.available(0, "end")
	e2.hears("presence juliet@x/chamber true end")
	e2.mu.Lock()
	defer e2.mu.Unlock()
	if e2.registers[juliet+"/balcony"].GetAvailable() {
		t.Error("a ghost is online")
	}
}

// TestSessionOfNoAccount binds a resource of an account that does not exist:
// the fold knows no such session.
func TestSessionOfNoAccount(t *testing.T) {
	w := newWorld(t)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	s.available(0, "nobody")
	e.hears("presence juliet@x/balcony true nobody")
	w.projectAll()
	e.hears("presence juliet@x/balcony false ")
	w.create(juliet)
	e.bind(juliet, "balcony").available(0, "somebody")
	e.hears("presence juliet@x/balcony true somebody")
}

// TestDeletedAccountRevokesAll lets an account begin anew: nobody sees it
// until it says so.
func TestDeletedAccountRevokesAll(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet)
	w.befriend(juliet, romeo)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, romeo)
	w.write("edge/door/1", juliet, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	e.hears("admission juliet@x  false")
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.admitted[juliet+" "+romeo].GetAdmitted() {
		t.Error("romeo may see a deleted account")
	}
}
