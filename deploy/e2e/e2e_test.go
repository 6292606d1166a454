package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
)

// An outage is how an engine goes away and for how long.
type outage struct {
	way func(s *stack, t *testing.T, kind string) (back func())
	how string
	d   time.Duration
}

// TestApache drives everything on Apache Kafka; engines are killed and stay
// away for 20 s.
func TestApache(t *testing.T) {
	drive(t, local.KafkaApache, outage{(*stack).shut, "killed", 20 * time.Second})
}

// TestEmbedded drives everything on the embedded broker; engines are frozen
// for 5 s.
func TestEmbedded(t *testing.T) {
	drive(t, local.KafkaEmbedded, outage{(*stack).freeze, "frozen", 5 * time.Second})
}

func drive(t *testing.T, kafka string, o outage) {
	s := newStack(t, kafka)
	s.start(t)
	w := newWorld(t, s)
	w.begin(t)
	w.befriend(t)
	step := func(name string, do func(t *testing.T)) {
		passed := t.Run(name, func(t *testing.T) {
			began := time.Now()
			do(t)
			t.Logf("%.1f s in all", time.Since(began).Seconds())
		})
		if !passed {
			t.FailNow() // what follows builds on it
		}
	}
	step("two contacts on two edges", w.twoContacts)
	step("everybody speaks", func(t *testing.T) {
		w.busyUntil(t, 5, func() {})
		w.settle(t)
	})
	for _, name := range []string{"projector-1", "history-1", "worker-1"} {
		step("kill "+name, func(t *testing.T) {
			broken := w.broken()
			w.busyUntil(t, 3, func() { s.killPart(t, name) })
			if n := w.broken() - broken; n != 0 {
				t.Errorf("%d streams broke", n)
			}
			w.settle(t)
		})
	}
	step("kill edge-2", w.killEdge)
	step("garbage in the log", w.garbage)
	for _, kind := range []string{"kafka", "postgres", "clickhouse"} {
		step(kind+" "+o.how, func(t *testing.T) {
			broken := w.broken()
			w.busyUntil(t, 2, func() {
				back := o.way(s, t, kind)
				time.Sleep(o.d) // how long it is away
				back()
				s.awaitReady(t)
			})
			if n := w.broken() - broken; n != 0 {
				t.Errorf("%d streams broke", n)
			}
			w.settle(t)
		})
	}
	step("Postgres and ClickHouse agree with the log", w.stored)
	step("stop and start", w.restart)
}

// killEdge kills an edge while everybody acts: contacts of each resource that
// was lost hear exactly once that it is gone.
func (w *world) killEdge(t *testing.T) {
	const edge = "edge-2"
	type loss struct {
		by    *device // who must hear of it
		s     *session
		full  string
		after int // sightings that it had before
	}
	var losses []loss
	goodbyes := func(l loss) (n int) {
		for _, seen := range l.s.sightings()[l.after:] {
			if seen.from == l.full && seen.shows == gone {
				n++
			}
		}
		return n
	}
	w.busyUntil(t, 3, func() {
		for _, lost := range w.devices {
			if lost.edge != edge || lost.live() == nil {
				continue
			}
			for _, p := range append(lost.person.friends, lost.person) {
				for _, by := range p.devices {
					if s := by.live(); by.edge != edge && s != nil {
						losses = append(losses, loss{by, s, lost.live().full, len(s.sightings())})
					}
				}
			}
		}
		w.hold(edge, true)
		defer w.hold(edge, false)
		killed := time.Now()
		w.stack.killPart(t, edge)
		t.Logf("%s runs again after %.1f s", edge, time.Since(killed).Seconds())
		eventually(t, "contacts hear of each loss", time.Until(killed.Add(15*time.Second)), func() error {
			for _, l := range losses {
				if goodbyes(l) == 0 {
					return fmt.Errorf("%s did not hear that %s is gone", l.by, l.full)
				}
			}
			return nil
		})
		t.Logf("%d times a contact heard of a loss, the last %.1f s after the kill", len(losses), time.Since(killed).Seconds())
	})
	w.settle(t)
	for _, l := range losses {
		if n := goodbyes(l); n != 1 {
			t.Errorf("%s heard %d times that %s is gone", l.by, n, l.full)
		}
	}
	if len(losses) == 0 {
		t.Error("nobody was lost")
	}
}

// restart stops everything in order, and starts it on the same data.
func (w *world) restart(t *testing.T) {
	s := w.stack
	stranger, writer := w.people["stranger"], w.devices[0]
	if err := writer.write(writer.live(), stranger, stranger.bare); err != nil {
		t.Fatal(err)
	}
	close(w.done) // nobody comes back
	w.running.Wait()
	r := s.run(t)
	s.stop(t)
	for _, d := range w.devices {
		last := d.session
		select {
		case <-last.ended:
			if last.err != nil {
				t.Errorf("the stream of %s was not closed in order: %v", d, last.err)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("the stream of %s is still open", d)
		}
	}
	for name, pid := range r.pids() {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("%s, process %d, is left: %v", name, pid, err)
		}
	}
	if left := processesOf(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "run.json")); !os.IsNotExist(err) {
		t.Errorf("run.json is left: %v", err)
	}

	s.start(t)
	w.done = make(chan struct{})
	w.device(t, stranger, "pc", 0, s.trust(t))
	began := time.Now()
	for _, d := range w.devices {
		w.running.Go(d.run)
	}
	w.settle(t)
	t.Logf("everybody is back %.1f s after the start", time.Since(began).Seconds())
	w.busyUntil(t, 2, func() {})
	w.settle(t)
	w.stored(t)
	w.end()
	s.stop(t)
}

// processesOf gives the command lines that name a directory.
func processesOf(dir string) (found []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), dir) {
			found = append(found, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return found
}
