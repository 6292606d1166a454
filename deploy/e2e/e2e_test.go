package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
// away for 20 s. Where there is no Java for it this is said, and `auto` must
// then be the embedded broker.
func TestApache(t *testing.T) {
	t.Parallel()
	choice, err := local.ChooseKafka(t.Context(), local.KafkaAuto, local.InstallOptions{Dir: local.DefaultEngines()})
	if err != nil {
		t.Fatal(err)
	}
	if choice.Kind != local.KafkaApache {
		if !strings.Contains(choice.Why, "no Java found") && !strings.Contains(choice.Why, "java is version") {
			t.Fatalf("Java is there, but: %s", choice.Why)
		}
		fmt.Fprintln(os.Stderr, "e2e: not on Apache Kafka;", choice.Why)
		return
	}
	drive(t, local.KafkaApache, outage{(*stack).shut, "killed", 20 * time.Second})
}

// TestEmbedded drives everything on the embedded broker; engines are frozen
// for 5 s.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	drive(t, local.KafkaEmbedded, outage{(*stack).freeze, "frozen", 5 * time.Second})
}

// recovery is in how many turns of everybody the partitions of a part that was
// killed are surely another's, or its successor's.
const recovery = 12

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
	step("copies on two edges", w.carbons)
	step("sent again after a cut", w.sentAgain)
	step("nothing leaks", w.nothingLeaks)
	step("everybody speaks", func(t *testing.T) {
		w.busyUntil(t, 5, func() {})
		w.settle(t)
	})
	// disturb does something while everybody acts, and for some turns more; no
	// stream breaks by it.
	disturb := func(name string, turns int64, do func(t *testing.T)) {
		step(name, func(t *testing.T) {
			broken := w.broken()
			w.busyUntil(t, turns, func() { do(t) })
			if n := w.broken() - broken; n != 0 {
				t.Errorf("%d streams broke", n)
			}
			w.settle(t)
			w.stored(t)
		})
	}
	for _, name := range []string{"projector-1", "history-1", "worker-1", "projector-2", "worker-2"} {
		disturb("kill "+name, recovery, func(t *testing.T) { s.killParts(t, name) })
	}
	step("kill edge-2", func(t *testing.T) { w.loseEdge(t, "edge-2", killed) })
	step("freeze edge-1", func(t *testing.T) { w.loseEdge(t, "edge-1", frozen) })
	step("kill one of each at once", func(t *testing.T) {
		w.busyUntil(t, recovery, func() { s.killParts(t, "edge-1", "worker-2", "projector-1", "history-1") })
		w.settle(t)
		w.stored(t)
	})
	step("garbage in the log", w.garbage)
	for _, kind := range []string{"kafka", "postgres", "clickhouse"} {
		disturb(kind+" "+o.how, 3, func(t *testing.T) {
			back := o.way(s, t, kind)
			time.Sleep(o.d) // how long it is away
			back()
			s.awaitReady(t)
		})
	}
	step("stop and start", w.restart)
	step("kill and start", w.crash)
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
		if alive(pid) {
			t.Errorf("%s, process %d, is left", name, pid)
		}
	}
	if left := processesOf(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "run.json")); !os.IsNotExist(err) {
		t.Errorf("run.json is left: %v", err)
	}

	s.start(t)
	w.device(t, stranger, "pc", 0, s.trust(t))
	w.comeBack(t)
}

// crash kills `rollcall dev` itself: all that it started ends with it, and a
// start on the same data finds all that was acknowledged.
func (w *world) crash(t *testing.T) {
	s := w.stack
	w.busyUntil(t, 1, func() {
		r := s.run(t)
		s.cmd.Process.Kill()
		<-s.ended
		eventually(t, "no process is left", 30*time.Second, func() error {
			left := processesOf(s.dir)
			for name, pid := range r.pids() {
				if alive(pid) {
					left = append(left, name)
				}
			}
			if len(left) > 0 {
				return fmt.Errorf("%q", left)
			}
			return nil
		})
		s.start(t)
		w.awaitConnected(t)
	})
	w.settle(t)
	w.stored(t)
	w.end()
	s.stop(t)
}

// comeBack has everybody connect to the stack that was started again.
func (w *world) comeBack(t *testing.T) {
	t.Helper()
	began := time.Now()
	w.done = make(chan struct{})
	for _, d := range w.devices {
		w.running.Go(d.run)
	}
	w.settle(t)
	t.Logf("everybody is back %.1f s after the start", time.Since(began).Seconds())
	w.busyUntil(t, 2, func() {})
	w.settle(t)
	w.stored(t)
}

// alive tells whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
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
