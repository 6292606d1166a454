package fanout_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/subscription"
	"github.com/rollcall/rollcall/schema/topic"
)

// TestRandomHistoriesEndAsTheFold writes random histories while the projection
// lags, edges come and go, and partitions move between workers of which some
// die. In the end both edges know of those whom they follow what the fold of
// the log says: who is available, with which version, and who may see it.
func TestRandomHistoriesEndAsTheFold(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := &chaos{world: newWorld(t), Rand: rand.New(rand.NewPCG(seed, 1)), epoch: 10}
			c.run(t, 500)
		})
	}
}

type chaos struct {
	*world
	*rand.Rand
	names    []string
	edges    []*edge
	sessions []*session
	epoch    uint64
	started  int
	holders  [parts]*worker
}

func (c *chaos) name() string { return c.names[c.IntN(len(c.names))] }

func (c *chaos) edge() *edge { return c.edges[c.IntN(len(c.edges))] }

func (c *chaos) run(t *testing.T, steps int) {
	for n := range 8 {
		c.names = append(c.names, fmt.Sprintf("a%d@x", n))
	}
	c.create(c.names...)
	c.newWorker()
	for n := range c.holders {
		c.holders[n] = c.workers[0]
	}
	c.assign()
	for n := range 2 {
		c.newEdge(fmt.Sprint("e", n))
	}
	for range steps {
		c.step()
	}
	c.projectAll()
	truth := c.truth()
	for _, e := range c.edges {
		var why string
		eventually(t, e.id+" knows the fold", func() bool {
			why = e.differs(c.world)
			return why == ""
		})
	}
	// Whoever can take messages has got them.
	eventually(t, "no message waits", func() bool {
		c.projectAll()
		for _, s := range c.truth() {
			for _, m := range s.Inbox {
				if s.Policy().Route(message.Chat, "", jid.FromCanonical(m.Accepted.GetFrom()), s.Resources).Action == message.Deliver {
					return false
				}
			}
		}
		return true
	})
	if len(truth) == 0 {
		t.Error("nothing happened")
	}
	c.nobodyGotMore(c.edges)
}

// differs says in what the edge differs from the fold; nothing if in nothing.
func (e *edge) differs(w *world) string {
	truth := w.truth()
	e.mu.Lock()
	defer e.mu.Unlock()
	for account, followers := range e.follows {
		s := truth[account]
		for name, r := range s.Resources {
			if got := e.registers[account+"/"+name]; r.Available && (!got.GetAvailable() || got.GetVersion() != r.Version) {
				return fmt.Sprintf("%s/%s is available at %d, not %v", account, name, r.Version, got)
			}
		}
		for full, got := range e.registers {
			if got.GetAccount() == account && got.GetAvailable() && !s.Resources[got.GetResource()].Available {
				return fmt.Sprintf("%s is not available", full)
			}
		}
		if got := e.audiences[account].GetPolicy(); !proto.Equal(got, s.Policy().Policy()) {
			return fmt.Sprintf("%s lets through %v, not %v", account, s.Policy().Policy(), got)
		}
		for _, f := range followers {
			want := f == account || s.Roster[jid.BareFromCanonical(f)].State&subscription.From != 0
			if got := e.admitted[account+" "+f]; got.GetAdmitted() != want {
				return fmt.Sprintf("%s may see %s: %v, not %v", f, account, want, got)
			}
		}
	}
	return ""
}

func (c *chaos) newWorker() *worker {
	c.started++
	return c.work(fmt.Sprint("w", c.started), func(o *fanout.Options) { o.ConflateAbove = c.IntN(3) })
}

func (c *chaos) newEdge(id string) {
	c.epoch++
	e := c.attach(id, c.epoch)
	e.mu.Lock()
	e.take()
	e.mu.Unlock()
	c.edges = append(c.edges, e)
}

// assign tells the workers, in any order, what they hold.
func (c *chaos) assign() {
	workers := slices.Clone(c.workers)
	c.Shuffle(len(workers), func(i, j int) { workers[i], workers[j] = workers[j], workers[i] })
	for _, k := range workers {
		var held []int32
		for n, holder := range c.holders {
			if holder == k {
				held = append(held, int32(n))
			}
		}
		k.assign(held...)
	}
}

func (c *chaos) step() {
	switch n := c.IntN(112); {
	case n >= 100 && len(c.sessions) > 0:
		c.privacy(c.someSession())
	case n < 15:
		c.sessions = append(c.sessions, c.edge().begin(c.name(), &event.ResourceBound{Resource: string(rune('a' + c.IntN(3))), Inherits: c.IntN(2) == 0}))
	case n < 40 && len(c.sessions) > 0:
		c.someSession().available(int32(c.IntN(4)-1), fmt.Sprint(n))
	case n < 45 && len(c.sessions) > 0:
		c.someSession().unavailable()
	case n < 52 && len(c.sessions) > 0:
		c.someSession().close()
	case n < 65 && len(c.sessions) > 0:
		s := c.someSession()
		if to := c.name(); to != s.account {
			s.subscription(event.Verb(1+c.IntN(4)), to)
		}
	case n < 68:
		c.message(c.name(), []string{"", "a"}[c.IntN(2)], fmt.Sprint(n))
	case n < 72: // some come again
		for range 6 {
			c.say(c.names[c.IntN(3)], fmt.Sprint(n), []string{"o1", "o2", "o3", "o4"}[c.IntN(4)], uint32(4+c.IntN(2)))
		}
	case n < 77:
		c.copy()
	case n < 85:
		c.project(int32(c.IntN(parts)), int64(1+c.IntN(20)))
	case n < 92:
		c.interest()
	case n < 94:
		name := c.name()
		c.write("edge/door/1", name, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
		if c.IntN(2) == 0 {
			c.sessions = append(c.sessions, c.edge().bind(name, "a"))
		}
		c.create(name)
	case n < 96:
		c.loseEdge()
	default:
		c.move()
	}
}

// privacy sets something of what an account lets through.
func (c *chaos) privacy(s *session) {
	other, list := c.name(), []string{"l", "k", ""}[c.IntN(3)]
	e := new(event.Event)
	switch c.IntN(10) {
	case 0, 1:
		e.Kind = &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{Blocked: []string{other}}}
	case 2:
		e.Kind = &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{UnblockedAll: true}}
	case 3, 4:
		items := []*event.PrivacyItem{
			{Type: "subscription", Value: []string{"both", "none"}[c.IntN(2)], Order: 1, Allow: c.IntN(2) == 0}, {Type: "jid", Value: other, Order: 2, Message: true},
		}
		e.Kind = &event.Event_PrivacyListChanged{PrivacyListChanged: &event.PrivacyListChanged{Name: list, Items: items[c.IntN(2):][:c.IntN(2)], Resource: s.resource}}
	case 5, 6, 7:
		e.Kind = &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{Name: list, Default: c.IntN(2) == 0, Resource: s.resource}}
	default:
		e.Kind = &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{Resource: s.resource, Invisible: c.IntN(3) > 0}}
	}
	s.write(e)
}

// someSession prefers recent ones: older bindings are mostly over.
func (c *chaos) someSession() *session {
	n := len(c.sessions)
	return c.sessions[max(0, n-1-c.IntN(12))]
}

// copy has the log store a record again.
func (c *chaos) copy() {
	n := c.IntN(parts)
	c.log.mu.Lock()
	list := c.log.records[topic.Account][n]
	c.log.mu.Unlock()
	if len(list) > 0 {
		r := list[c.IntN(len(list))]
		c.log.append(topic.Account, int32(n), string(r.Key), r.Value)
	}
}

func (c *chaos) interest() {
	e, account, follower := c.edge(), c.name(), c.name()
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := slices.Index(e.follows[account], follower); i >= 0 {
		e.follows[account] = slices.Delete(slices.Clone(e.follows[account]), i, i+1)
		delete(e.admitted, account+" "+follower)
		if len(e.follows[account]) == 0 {
			delete(e.follows, account)
			for full, r := range e.registers {
				if r.GetAccount() == account {
					delete(e.registers, full)
				}
			}
		}
		e.link.Unfollow(partitionOf(account), account, follower)
		return
	}
	e.follows[account] = append(slices.Clone(e.follows[account]), follower)
	e.link.Follow(partitionOf(account), account, follower)
}

// loseEdge ends an edge without a word, and starts it again.
func (c *chaos) loseEdge() {
	n := c.IntN(len(c.edges))
	e := c.edges[n]
	e.stop()
	c.edges = slices.Delete(c.edges, n, n+1)
	c.lose(e.id, e.epoch)
	c.newEdge(e.id)
}

// move moves some partitions, perhaps because a worker has died.
func (c *chaos) move() {
	if len(c.workers) < 2 {
		c.newWorker()
	} else if c.IntN(3) == 0 {
		dead := c.workers[c.IntN(len(c.workers))]
		dead.stop()
	}
	for n, holder := range c.holders {
		if !slices.Contains(c.workers, holder) || c.IntN(2) == 0 {
			c.holders[n] = c.workers[c.IntN(len(c.workers))]
		}
	}
	c.assign()
}
