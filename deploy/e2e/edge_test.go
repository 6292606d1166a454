package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// A way to lose an edge. It returns once the edge is lost and gives what
// brings it back; contacts must hear of the loss in between.
type way func(t *testing.T, s *stack, edge string) (back func())

// killed is an edge that dies and is started again at once.
func killed(t *testing.T, s *stack, edge string) func() {
	before := s.run(t)
	s.signal(t, edge, syscall.SIGKILL)
	return func() { s.awaitAnother(t, edge, before.part(edge).Pid) }
}

// frozen is an edge that stands still until it was given up, and then goes on
// as if nothing had been: it must find out, and end.
func frozen(t *testing.T, s *stack, edge string) func() {
	before := s.run(t)
	s.signal(t, edge, syscall.SIGSTOP)
	return func() {
		s.signal(t, edge, syscall.SIGCONT)
		s.awaitAnother(t, edge, before.part(edge).Pid)
	}
}

// A loss is what somebody must hear when an edge is lost.
type loss struct {
	by    *device
	s     *session
	full  string // who is gone
	after int    // sightings that it had before
}

// goodbyes counts how often it was heard.
func (l loss) goodbyes() (n int) {
	for _, seen := range l.s.sightings()[l.after:] {
		if seen.from == l.full && seen.shows == gone {
			n++
		}
	}
	return n
}

// losses gives what the clients of other edges must hear when edge is lost.
func (w *world) losses(edge string) (all []loss) {
	for _, lost := range w.devices {
		s := lost.live()
		if lost.edge != edge || s == nil {
			continue
		}
		for _, p := range append([]*person{lost.person}, lost.person.friends...) {
			for _, by := range p.devices {
				if other := by.live(); by.edge != edge && other != nil {
					all = append(all, loss{by, other, s.full, len(other.sightings())})
				}
			}
		}
	}
	return all
}

// loseEdge loses an edge while everybody acts: contacts of each resource that
// was lost hear within 15 s that it is gone, and hear it once.
func (w *world) loseEdge(t *testing.T, edge string, lose way) {
	var losses []loss
	w.busyUntil(t, 3, func() {
		losses = w.losses(edge)
		w.hold(edge, true)
		defer w.hold(edge, false)
		began := time.Now()
		back := lose(t, w.stack, edge)
		eventually(t, "contacts hear of each loss", 15*time.Second, func() error {
			for _, l := range losses {
				if l.goodbyes() == 0 {
					return fmt.Errorf("%s did not hear that %s is gone", l.by, l.full)
				}
			}
			return nil
		})
		t.Logf("%d times a contact heard of a loss, the last %.1f s after it", len(losses), time.Since(began).Seconds())
		back()
		t.Logf("%s serves again after %.1f s", edge, time.Since(began).Seconds())
	})
	w.settle(t)
	w.stored(t)
	if len(losses) == 0 {
		t.Error("nobody was lost")
	}
	for _, l := range losses {
		if n := l.goodbyes(); n != 1 {
			t.Errorf("%s heard %d times that %s is gone", l.by, n, l.full)
		}
	}
}
