package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
)

// A person is an account and its friends.
type person struct {
	name, bare string
	friends    []*person
	devices    []*device

	mu    sync.Mutex
	heard map[string]int // body -> how often
}

func (p *person) hear(body string) {
	p.mu.Lock()
	p.heard[body]++
	p.mu.Unlock()
}

func (p *person) has(body string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard[body] > 0
}

// A device is a client of a person that comes back when its stream breaks, and
// says and writes things while the world is not at rest.
type device struct {
	world  *world
	person *person
	login  login
	edge   string // name of the part that it connects to

	serial int          // only its goroutine uses it
	steps  atomic.Int64 // what it has said and written

	mu       sync.Mutex
	session  *session   // the current one; nil before the first
	sessions []*session // all
	trouble  error      // why it could not connect the last time
}

func (d *device) String() string { return d.person.name + "/" + d.login.resource }

// live gives the session if its stream is open.
func (d *device) live() *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.session == nil || d.session.over() {
		return nil
	}
	return d.session
}

// run keeps the device connected and busy until the world ends.
func (d *device) run() {
	for !d.world.over() {
		s := d.live()
		if s == nil {
			if d.world.held(d.edge) || !d.arrive() {
				d.world.pause(100 * time.Millisecond)
			}
			continue
		}
		if d.world.busy.TryRLock() {
			d.step(s)
			d.world.busy.RUnlock()
			d.steps.Add(1)
		}
		d.world.pause(time.Duration(200+rand.IntN(200)) * time.Millisecond)
	}
}

// broken is the number of its streams that ended without its doing.
func (d *device) broken() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sessions {
		if s.over() && !s.left() {
			n++
		}
	}
	return n
}

// arrive connects, reads the roster and becomes available.
func (d *device) arrive() bool {
	s, err := connect(d.login, d.hear)
	if err == nil {
		if err = d.greet(s); err != nil {
			s.cut()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = err
	if s != nil {
		d.sessions = append(d.sessions, s)
	}
	if err != nil {
		return false
	}
	d.session = s
	return true
}

func (d *device) greet(s *session) error {
	st, err := s.ask("get", "<query xmlns='"+stanza.NSRoster+"'/>")
	if err != nil {
		return err
	}
	if st.Type != "result" {
		return fmt.Errorf("%s: no roster: %s", d, st.Inner)
	}
	return d.present(s)
}

// hear takes what only persons care about.
func (d *device) hear(s *session, st *stanza.Stanza) {
	switch {
	case st.Kind == stanza.Message && st.Type != "error":
		d.person.hear(st.Message().Body)
	case st.Kind == stanza.Presence && st.Type == "subscribe":
		// An error shows as a stream that ends.
		_ = s.send("<presence type='subscribed' to='" + st.From + "'/>")
	}
}

// next gives an id that no stanza of the device had.
func (d *device) next() string {
	d.serial++
	return fmt.Sprintf("%s-%s-%d", d.person.name, d.login.resource, d.serial)
}

var showings = []string{"", "away", "chat", "dnd", "xa"}

// present says a presence that nobody said before. When the server has taken
// it, it is in the log.
func (d *device) present(s *session) error {
	id := d.next()
	show := ""
	if n := rand.IntN(len(showings)); n > 0 {
		show = "<show>" + showings[n] + "</show>"
	}
	xml := fmt.Sprintf("<presence id='%s'>%s<status>%s</status><priority>%d</priority></presence>", id, show, id, rand.IntN(10))
	if err := s.send(xml); err != nil {
		return err
	}
	if err := s.ping(); err != nil {
		return err
	}
	if s.wasRefused(id) {
		d.world.wasRefused()
		return nil
	}
	d.world.said(id)
	return nil
}

// step changes presence or writes to a friend.
func (d *device) step(s *session) {
	if len(d.person.friends) == 0 || rand.IntN(5) < 2 {
		_ = d.present(s) // a broken stream is seen by run
		return
	}
	to := d.person.friends[rand.IntN(len(d.person.friends))]
	_ = d.write(s, to, to.bare)
}

// write sends a message with a body of its own. When the server has taken it,
// it must arrive.
func (d *device) write(s *session, to *person, address string) error {
	id := d.next()
	if err := s.send(fmt.Sprintf("<message type='chat' id='%s' to='%s'><body>%s</body></message>", id, address, id)); err != nil {
		return err
	}
	if err := s.ping(); err != nil {
		return err
	}
	if s.wasRefused(id) {
		d.world.wasRefused()
		return nil
	}
	d.world.wrote(letter{from: d.person, to: to, body: id})
	return nil
}
