//go:build linux

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A circle is who knows whom: users 0 to users-1 stand in a circle, and each
// is the friend of the friends/2 next on both sides. Neighbours are on
// different edges, so the friends of each are spread over all edges.
type circle struct{ Users, Friends int }

func (c circle) check() error {
	if c.Friends < 2 || c.Friends%2 != 0 || c.Users <= c.Friends {
		return fmt.Errorf("%d users with %d friends: say an even number of friends, and more users than that", c.Users, c.Friends)
	}
	return nil
}

// friend gives the k-th friend of a user, 0 <= k < Friends.
func (c circle) friend(user, k int) int {
	step := k/2 + 1
	if k%2 == 1 {
		step = -step
	}
	return (user + step + c.Users) % c.Users
}

// place gives which friend of user other is, -1 if none.
func (c circle) place(user, other int) int {
	ahead := (other - user + c.Users) % c.Users
	behind := c.Users - ahead
	switch {
	case ahead >= 1 && ahead <= c.Friends/2:
		return (ahead - 1) * 2
	case behind >= 1 && behind <= c.Friends/2:
		return (behind-1)*2 + 1
	}
	return -1
}

// name gives the localpart of a user; circles of other sizes have other accounts.
func (c circle) name(user int) string { return fmt.Sprintf("u%d.%dx%d", user, c.Users, c.Friends) }

// userOf gives whose address it is, -1 if it is none of the circle's.
func userOf(address []byte) int {
	if len(address) > 1 && address[0] == 'u' {
		if n, ok := number(address[1:]); ok {
			return n
		}
	}
	return -1
}

// A member is one user of a crowd. seen and views belong to the reactor.
type member struct {
	session *session
	seen    []bool // by place: this friend was available last
	views   int    // number of true ones
	roster  bool
}

// A crowd is all users of a circle, each logged in once.
type crowd struct {
	circle
	run     *run
	keys    *keyring
	reactor *reactor
	members []member

	rosters   atomic.Int64  // members that have their roster
	right     atomic.Int64  // members that see every friend available
	allRoster chan struct{} // closed when all have it
	allRight  chan struct{} // closed when all do for the first time
	pongs     chan int      // users whose ping was answered
	subs      [2]atomic.Int64
	on        atomic.Pointer[changes] // what is measured now
	errors    chan error
}

func newCrowd(r *run, c circle, keys *keyring) (*crowd, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w := &crowd{
		circle: c, run: r, keys: keys, members: make([]member, c.Users),
		allRoster: make(chan struct{}), allRight: make(chan struct{}), pongs: make(chan int, c.Users), errors: make(chan error, 1),
	}
	for i := range w.members {
		w.members[i].seen = make([]bool, c.Friends)
	}
	var err error
	w.reactor, err = newReactor(w.hear)
	return w, err
}

// greeting is what a client says once it is bound.
const greeting = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence id='first'/>"

// enter logs every user in, so many at a time, and has each say the greeting.
// bound, if any, hears of each login.
func (w *crowd) enter(ctx context.Context, parallel int, say string, bound func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for user := range w.Users {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			address := w.run.plain(user % w.run.edges())
			t, err := dial(address, w.run.Domain, 1+user%8, false)
			if err != nil {
				return err
			}
			if err := t.login(w.keys, w.name(user), "load"); err != nil {
				t.conn.Close()
				return err
			}
			s, err := w.reactor.add(user, t)
			if err != nil {
				return err
			}
			w.members[user].session = s
			if bound != nil {
				bound()
			}
			return s.write([]byte(say))
		})
	}
	return g.Wait()
}

// arrive logs everybody in and waits until every view is right.
func (w *crowd) arrive(ctx context.Context) error {
	began := time.Now()
	if err := w.enter(ctx, 64, greeting, nil); err != nil {
		return err
	}
	if err := w.await(ctx, w.allRight, time.Minute, func() string { return fmt.Sprintf("%d of %d views are right", w.right.Load(), w.Users) }); err != nil {
		return err
	}
	note("%d users are online and see their %d friends, after %.1f s", w.Users, w.Friends, time.Since(began).Seconds())
	return nil
}

// await waits for done; progress tells how far it is if that takes too long.
func (w *crowd) await(ctx context.Context, done <-chan struct{}, longest time.Duration, progress func() string) error {
	late := time.NewTimer(longest)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case err := <-w.errors:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return fmt.Errorf("after %s: %s, %d streams were lost", longest, progress(), w.reactor.lost.Load())
	}
}

// hear takes one stanza; it runs on the reactor's goroutine.
func (w *crowd) hear(s *session, k kind, tag []byte, now time.Time) {
	m := &w.members[s.index]
	switch k {
	case presence:
		w.hearPresence(s.index, m, tag, now)
	case message:
		if string(attr(tag, " type=")) == "error" {
			w.failed(fmt.Errorf("%s got <%s>", w.name(s.index), tag))
			return
		}
		w.heard(tag, now)
	case iq:
		id := attr(tag, " id=")
		switch {
		case string(id) == "roster" && !m.roster:
			m.roster = true
			if w.rosters.Add(1) == int64(w.Users) {
				close(w.allRoster)
			}
		case string(id) == "sent":
			w.pongs <- s.index
		}
	case streamError:
		w.failed(fmt.Errorf("the server ended the stream of %s with an error", w.name(s.index)))
	}
}

func (w *crowd) failed(err error) {
	select {
	case w.errors <- err:
	default:
	}
}

func (w *crowd) hearPresence(user int, m *member, tag []byte, now time.Time) {
	other := userOf(attr(tag, " from="))
	available := true
	switch t := attr(tag, " type="); string(t) {
	case "":
	case "unavailable":
		available = false
	case "subscribe":
		w.subs[0].Add(1)
		return
	case "subscribed":
		w.subs[1].Add(1)
		return
	default:
		w.failed(fmt.Errorf("%s got <%s>", w.name(user), tag))
		return
	}
	if other == user {
		return
	}
	place := w.place(user, other)
	if place < 0 {
		w.failed(fmt.Errorf("%s hears of %s, who is no friend", w.name(user), w.name(other)))
		return
	}
	if m.seen[place] != available {
		m.seen[place] = available
		if !available {
			if m.views == w.Friends {
				w.right.Add(-1)
			}
			m.views--
		} else if m.views++; m.views == w.Friends && w.right.Add(1) == int64(w.Users) {
			select {
			case <-w.allRight:
			default:
				close(w.allRight)
			}
		}
	}
	w.heard(tag, now)
}

// heard counts a stanza by its id, s<n>, if something is measured.
func (w *crowd) heard(tag []byte, now time.Time) {
	if on := w.on.Load(); on != nil {
		if id := attr(tag, " id="); len(id) > 1 && id[0] == 's' {
			if n, ok := number(id[1:]); ok {
				on.heard(n, now)
			}
		}
	}
}

// leave logs everybody out.
func (w *crowd) leave() error { return w.reactor.close() }
