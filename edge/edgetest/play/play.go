package play

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/edgetest/model"
)

// Server is what is played on.
type Server interface {
	// Dial connects a client at an edge and binds the resource.
	Dial(edge int, user, resource string) (*edgetest.Client, error)
	// Gone waits until the session of a full JID, whose connection has
	// ended, is over.
	Gone(full string) error
	// Kill ends an edge at once; it returns when the sessions there are over
	// and the edge that comes in its place takes clients.
	Kill(edge int) error
	// Settle waits until all that was stored has had its effects.
	Settle() error
	// Waiting gives the number of messages that wait for an account.
	Waiting(user string) (int, error)
}

// Play is a model and the clients that do the same on a server.
type Play struct {
	// Late has some partitions tell nothing until a burst is over.
	Late bool

	server  Server
	model   *model.Model
	domain  string
	clients map[string]*client
	within  time.Duration // for what must come true
	loose   bool          // since the last check something was done at the same time: subscription stanzas depend on what came first
}

// New makes a play with the accounts of m, which are on the server, too, and
// know nobody. What must come true must do so within a time.
func New(s Server, m *model.Model, domain string, within time.Duration) *Play {
	return &Play{server: s, model: m, domain: domain, clients: make(map[string]*client), within: within}
}

// Close breaks every client's connection.
func (p *Play) Close() {
	for _, c := range p.clients {
		c.Conn.Close()
	}
}

// Do does a command on the server and in the model, and returns when its
// client has been answered.
func (p *Play) Do(c model.Command) error {
	if err := p.act(c); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	owner, _, _ := strings.Cut(c.Who, "/")
	waited := c.Verb != "kill" && p.model.Waiting(owner) > 0
	p.model.Do(c)
	switch c.Verb {
	case "message": // who takes it has it before its resources change
		user, _, _ := strings.Cut(c.Args[1], "/")
		return p.eventually(func() error { return p.waiting(user) })
	case "subscribe": // who is available hears of it before it is not
		if p.loose {
			return nil
		}
		return p.eventually(func() error { return p.asked(c.Args[0]) })
	case "available": // what initial presence brings is there before it changes
		if p.clients[c.Who] == nil {
			return nil
		}
		return p.eventually(func() error {
			if err := p.clients[c.Who].settle(); err != nil {
				return err
			}
			if err := p.same(c.Who); err != nil || !waited {
				return err
			}
			return p.waiting(owner)
		})
	}
	return nil
}

// asked compares which requests to subscribe the sessions of an account heard.
func (p *Play) asked(user string) error {
	for who, client := range p.clients {
		if owner, _, _ := strings.Cut(who, "/"); owner != user {
			continue
		}
		if err := client.settle(); err != nil {
			return err
		}
		heard := count(client.got)
		for _, t := range p.model.Session(who).Must {
			if !strings.HasPrefix(t, "subscribe ") {
				continue
			}
			if heard[t]--; heard[t] < 0 {
				return &Difference{Who: who, What: "requests", Want: t, Got: client.got}
			}
		}
	}
	return nil
}

// waiting compares how many messages wait for an account.
func (p *Play) waiting(user string) error {
	n, err := p.server.Waiting(user)
	if err != nil {
		return err
	}
	if want := p.model.Waiting(user); n != want {
		return &Difference{Who: user, What: "waiting messages", Want: want, Got: n}
	}
	return nil
}

func (p *Play) act(c model.Command) error {
	old := p.clients[c.Who]
	switch c.Verb {
	case "kill":
		return p.kill(int(c.Args[0][0] - '0'))
	case "connect":
		user, resource, _ := strings.Cut(c.Who, "/")
		conn, err := p.server.Dial(int(c.Args[0][0]-'0'), user, resource)
		if err != nil {
			return err
		}
		p.clients[c.Who] = newClient(conn)
		if old == nil {
			return nil
		}
		defer old.Conn.Close()
		_, err = old.Rest()
		return err
	}
	if old == nil {
		return nil
	}
	if c.Verb == "close" || c.Verb == "cut" {
		delete(p.clients, c.Who)
		if c.Verb == "cut" {
			old.Conn.Close()
		} else if err := old.Close(); err != nil {
			return err
		}
		return p.server.Gone(old.Full)
	}
	if c.Verb == "invisible" && !p.model.Session(c.Who).Available {
		return nil
	}
	xml, asks := p.xml(c)
	if asks {
		old.asked[c.ID] = true
	}
	if err := old.Send(xml); err != nil {
		return err
	}
	if err := old.settle(); err != nil {
		return err
	}
	if c.Verb == "visible" && p.model.Invisible(c.Who) && p.model.Session(c.Who).Available {
		clear(old.view) // it has to send presence anew
	}
	if c.Verb == "available" || c.Verb == "roster" {
		return nil // nobody else's history has to do with it
	}
	return p.server.Settle()
}

func (p *Play) kill(edge int) error {
	if err := p.server.Kill(edge); err != nil {
		return err
	}
	for _, who := range p.model.Sessions() {
		if p.model.Session(who).Edge == edge {
			p.clients[who].Conn.Close()
			delete(p.clients, who)
		}
	}
	return nil
}

// Check compares what every client knows with the model.
func (p *Play) Check() error {
	if err := p.eventually(p.compare); err != nil {
		return err
	}
	late := p.lateRequests()
	p.model.Told()
	for who, requests := range late {
		p.model.Session(who).May = requests
	}
	p.loose = false
	for _, c := range p.clients {
		c.got = nil
	}
	return nil
}

// lateRequests gives the requests to subscribe that sessions have not been told
// yet, where that was not compared: who becomes available is told them once its
// roster is read, and nothing here waits for that.
func (p *Play) lateRequests() map[string][]string {
	late := make(map[string][]string)
	if !p.loose {
		return late
	}
	for _, who := range p.model.Sessions() {
		left := count(p.clients[who].got)
		for _, t := range p.model.Session(who).Must {
			if !strings.HasPrefix(t, "subscribe ") {
				continue
			}
			if left[t]--; left[t] < 0 {
				late[who] = append(late[who], t)
			}
		}
	}
	return late
}

// eventually tries until there is no difference, or the time is over.
func (p *Play) eventually(try func() error) error {
	deadline := time.Now().Add(p.within)
	for {
		err := try()
		var d *Difference
		if !errors.As(err, &d) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// Difference tells how server and model differ.
type Difference struct {
	Who, What string
	Want, Got any
	Heard     []string // the latest stanzas of Who, a session
}

// Error tells it in one line, and another for each stanza.
func (d *Difference) Error() string {
	said := fmt.Sprintf("%s of %s: should be %v, is %v", d.What, d.Who, d.Want, d.Got)
	return strings.Join(append([]string{said}, d.Heard...), "\n\tit heard ")
}

func (p *Play) compare() error {
	for range 2 { // the answer to a ping acknowledges; what comes of it may come later
		for _, who := range slices.Sorted(maps.Keys(p.clients)) {
			if err := p.clients[who].settle(); err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
		}
		if err := p.server.Settle(); err != nil {
			return err
		}
	}
	for _, who := range p.model.Sessions() {
		if err := p.same(who); err != nil {
			return err
		}
	}
	for _, user := range p.model.Accounts() {
		if err := p.waiting(user); err != nil {
			return err
		}
	}
	return nil
}

// same compares what one client knows.
func (p *Play) same(who string) error {
	s, c := p.model.Session(who), p.clients[who]
	var d *Difference
	switch {
	case !maps.Equal(s.View, c.view):
		d = &Difference{who, "view", s.View, c.view, nil}
	case !maps.Equal(s.Roster, c.roster):
		d = &Difference{who, "roster", s.Roster, c.roster, nil}
	default:
		d = told(who, s, c.got, p.loose)
	}
	if d == nil {
		return nil
	}
	d.Heard = slices.Clone(c.last)
	return d
}

// told compares what else a client was told: messages in their order, the
// rest in any; loose leaves subscription stanzas out.
func told(who string, s *model.Session, got []string, loose bool) *Difference {
	isMessage := func(t string) bool { return strings.HasPrefix(t, "message ") }
	want, is := keep(s.Must, isMessage), keep(got, isMessage)
	if !slices.Equal(want, is) {
		return &Difference{who, "messages", want, is, nil}
	}
	if loose {
		isError := func(t string) bool { return strings.HasPrefix(t, "error ") }
		if want, is := count(keep(s.Must, isError)), count(keep(got, isError)); !maps.Equal(want, is) {
			return &Difference{who, "errors", want, is, nil}
		}
		return nil
	}
	left := count(got)
	for _, t := range s.Must {
		if left[t] == 0 {
			return &Difference{who, "stanzas", s.Must, got, nil}
		}
		left[t]--
	}
	for _, t := range s.May {
		if left[t] > 0 {
			left[t]--
		}
	}
	for _, n := range left {
		if n > 0 {
			return &Difference{who, "stanzas", s.Must, got, nil}
		}
	}
	return nil
}

func keep(all []string, is func(string) bool) (kept []string) {
	for _, t := range all {
		if is(t) {
			kept = append(kept, t)
		}
	}
	return kept
}

func count(all []string) map[string]int {
	n := make(map[string]int)
	for _, t := range all {
		n[t]++
	}
	return n
}
