package e2e

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

// A letter is an acknowledged message.
type letter struct {
	from, to *person
	body     string
}

// A world is everybody who uses a stack.
type world struct {
	stack   *stack
	ledger  *ledger
	domain  string
	people  map[string]*person
	devices []*device

	busy    sync.RWMutex // held for reading by who says something; locked: rest
	done    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	away    map[string]bool // edges to which nobody may come back
	acked   []string        // statuses that the server took
	letters []letter
	refused int // stanzas that came back as errors
}

func (w *world) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// pause waits for d, or until the world ends.
func (w *world) pause(d time.Duration) {
	select {
	case <-w.done:
	case <-time.After(d):
	}
}

func (w *world) held(edge string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away[edge]
}

// hold keeps clients from coming back to an edge, or lets them.
func (w *world) hold(edge string, hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away[edge] = hold
}

func (w *world) said(status string) {
	w.mu.Lock()
	w.acked = append(w.acked, status)
	w.mu.Unlock()
}

func (w *world) wasRefused() {
	w.mu.Lock()
	w.refused++
	w.mu.Unlock()
}

func (w *world) wrote(l letter) {
	w.mu.Lock()
	w.letters = append(w.letters, l)
	w.mu.Unlock()
}

// How many people there are, and who has a second device.
const (
	population = 20
	everyNth   = 4
)

// newWorld makes accounts, by XEP-0077 on one stream, and devices on both
// edges. Nobody is connected yet.
func newWorld(t *testing.T, s *stack) *world {
	t.Helper()
	r := s.run(t)
	w := &world{
		stack: s, ledger: openLedger(t, r.KafkaBrokers), domain: r.Domain,
		people: make(map[string]*person), done: make(chan struct{}), away: make(map[string]bool),
	}
	began := time.Now()
	trust := s.trust(t)
	var names []string
	for i := range population {
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	names = append(names, "juliet", "romeo", "stranger")
	if err := register(w.loginOf(t, "edge-1", "", "", trust), names); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d accounts registered on one stream, %.1f s", len(names), time.Since(began).Seconds())
	for _, name := range names {
		w.people[name] = &person{name: name, bare: name + "@" + w.domain, heard: make(map[string]int)}
	}
	for i := range population {
		p := w.people[names[i]]
		for _, step := range []int{1, 5} {
			friend := w.people[names[(i+step)%population]]
			p.friends = append(p.friends, friend)
			friend.friends = append(friend.friends, p)
		}
		w.device(t, p, "pc", i, trust)
		if i%everyNth == 0 {
			w.device(t, p, "phone", i+1, trust)
		}
	}
	return w
}

// device adds a device of p; n decides the edge and how it connects.
func (w *world) device(t *testing.T, p *person, resource string, n int, trust *tls.Config) *device {
	edge := fmt.Sprintf("edge-%d", n%2+1)
	d := &device{world: w, person: p, edge: edge, login: w.loginOf(t, edge, p.name, resource, trust)}
	switch n / 2 % 3 {
	case 0:
		d.login.tls = nil
	case 1:
		d.login.direct, d.login.address = true, w.listen(t, edge, "tls")
		d.login.mechanism = "SCRAM-SHA-1"
	}
	p.devices = append(p.devices, d)
	w.devices = append(w.devices, d)
	return d
}

func (w *world) listen(t *testing.T, edge, kind string) string {
	r := w.stack.run(t)
	return r.part(edge).Listen[kind]
}

func (w *world) loginOf(t *testing.T, edge, user, resource string, trust *tls.Config) login {
	return login{address: w.listen(t, edge, "starttls"), domain: w.domain, tls: trust, user: user, resource: resource}
}

// begin starts everybody and returns when all are connected, at rest.
func (w *world) begin(t *testing.T) {
	t.Helper()
	w.busy.Lock()
	began := time.Now()
	for _, d := range w.devices {
		w.running.Go(d.run)
	}
	t.Cleanup(w.end)
	w.awaitConnected(t)
	t.Logf("%d clients connected, %.1f s", len(w.devices), time.Since(began).Seconds())
}

// end stops everybody.
func (w *world) end() {
	if w.over() {
		return
	}
	close(w.done)
	for _, d := range w.devices {
		if s := d.live(); s != nil {
			s.cut()
		}
	}
	w.running.Wait()
}

func (w *world) awaitConnected(t *testing.T) {
	t.Helper()
	eventually(t, "everybody is connected", 60*time.Second, func() error {
		for _, d := range w.devices {
			if d.live() == nil {
				d.mu.Lock()
				defer d.mu.Unlock()
				return fmt.Errorf("%s at %s is not: %w", d, d.edge, d.trouble)
			}
		}
		return nil
	})
}

// befriend makes all friends subscribe to each other, at rest.
func (w *world) befriend(t *testing.T) {
	t.Helper()
	began := time.Now()
	for _, p := range w.people {
		for _, friend := range p.friends {
			if err := p.devices[0].live().send("<presence type='subscribe' to='" + friend.bare + "'/>"); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all requests are answered", 60*time.Second, func() error {
		for _, p := range w.people {
			if len(p.friends) == 0 {
				continue
			}
			want := 0 // p's own devices and those of its friends
			for _, f := range append(p.friends, p) {
				want += len(f.devices)
			}
			if got := len(w.ledger.view(p.bare)); got != want {
				return fmt.Errorf("%s sees %d of %d devices", p.name, got, want)
			}
		}
		return nil
	})
	t.Logf("all are friends, %.1f s", time.Since(began).Seconds())
}

// busyUntil lets everybody act while do runs, and until each device that is
// there afterwards has acted n times more.
func (w *world) busyUntil(t *testing.T, n int64, do func()) {
	t.Helper()
	w.busy.Unlock()
	resting := false
	defer func() {
		if !resting {
			w.busy.Lock()
		}
	}()
	do()
	before := make(map[*device]int64)
	for _, d := range w.devices {
		before[d] = d.steps.Load()
	}
	eventually(t, "everybody acts", 90*time.Second, func() error {
		for _, d := range w.devices {
			if did := d.steps.Load() - before[d]; did < n {
				d.mu.Lock()
				defer d.mu.Unlock()
				return fmt.Errorf("%s at %s acted %d times of %d (connected: %t, %w)", d, d.edge, did, n, !d.session.over(), d.trouble)
			}
		}
		return nil
	})
	w.busy.Lock()
	resting = true
}

// settle checks, at rest, that everything agrees with the log.
func (w *world) settle(t *testing.T) {
	t.Helper()
	began := time.Now()
	w.awaitConnected(t)
	eventually(t, "every client's view equals the fold of the log", 45*time.Second, func() error {
		if err := w.ledger.reached(t.Context()); err != nil {
			return err
		}
		var first error
		differ := 0
		for _, d := range w.devices {
			s := d.live()
			if s == nil {
				return fmt.Errorf("%s is away", d)
			}
			if err := same(w.ledger.view(d.person.bare), s.seen()); err != nil {
				if differ++; first == nil {
					first = fmt.Errorf("%s at %s: %w", d, d.edge, err)
				}
			}
		}
		if first != nil {
			return fmt.Errorf("%d of %d differ, the first is %w", differ, len(w.devices), first)
		}
		return nil
	})
	viewed := time.Now()
	w.arrived(t)
	repeats := 0
	for _, d := range w.devices {
		d.mu.Lock()
		for _, s := range d.sessions {
			n, err := w.ledger.follows(s.sightings())
			if err != nil {
				t.Errorf("%s at %s: %v", d, d.edge, err)
			}
			repeats += n
		}
		d.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, status := range w.acked {
		if !w.ledger.said(status) {
			t.Errorf("the acknowledged presence %q is not in the log", status)
		}
	}
	t.Logf("settled after %.1f s, views equal to the fold after %.1f s; in all %d records, %d acknowledged presences (%d seen twice) and %d messages (%d came twice); %d stanzas were refused",
		time.Since(began).Seconds(), viewed.Sub(began).Seconds(), w.ledger.total(), len(w.acked), repeats, len(w.letters), w.copies(), w.refused)
}

// copies is the number of times that somebody got a message another time.
func (w *world) copies() (n int) {
	for _, p := range w.people {
		p.mu.Lock()
		for _, times := range p.heard {
			n += max(0, (times-1)/len(p.devices))
		}
		p.mu.Unlock()
	}
	return n
}

// arrived waits until every acknowledged message has arrived and no message
// waits for anybody.
func (w *world) arrived(t *testing.T) {
	t.Helper()
	eventually(t, "every acknowledged message has arrived", 30*time.Second, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		missing := 0
		var first letter
		for _, l := range w.letters {
			if !l.to.has(l.body) {
				if missing++; missing == 1 {
					first = l
				}
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d are missing, the first is %s to %s", missing, len(w.letters), first.body, first.to.name)
		}
		return nil
	})
	eventually(t, "every message is marked as delivered", 30*time.Second, func() error {
		for _, p := range w.people {
			if n := w.ledger.waiting(p.bare); n > 0 && len(p.devices) > 0 {
				return fmt.Errorf("%d messages wait for %s", n, p.name)
			}
		}
		return nil
	})
}

// same tells how two views differ.
func same(want, got map[string]string) error {
	if maps.Equal(want, got) {
		return nil
	}
	var diff []string
	for full, text := range want {
		if got[full] != text {
			diff = append(diff, fmt.Sprintf("%s shows %q, not %q", full, got[full], text))
		}
	}
	for full, text := range got {
		if _, ok := want[full]; !ok {
			diff = append(diff, fmt.Sprintf("%s shows %q and should not be seen", full, text))
		}
	}
	return errors.New(strings.Join(diff, "; "))
}

// broken is the number of streams that ended without the clients' doing.
func (w *world) broken() (n int) {
	for _, d := range w.devices {
		n += d.broken()
	}
	return n
}
