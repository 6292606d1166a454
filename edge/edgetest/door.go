package edgetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// door is what the house is to one edge: its Log, its Lease and its Links.
type door struct {
	house   *House
	server  *edge.Server
	id      string
	epoch   uint64
	dead    bool // house.mu; nothing it appends is taken
	invalid atomic.Bool
	lost    chan struct{}

	// Of the frames that the edge has not been given; house.stateMu.
	pending map[int32][]*wire.Frame
	script  []func()
	serves  []*wire.Component // connected here; house.stateMu
}

// Edge is an edge of a house.
type Edge struct {
	*edge.Server
	door *door
	stop context.CancelFunc
	err  chan error
}

// Open starts an edge in the house. What of o is not set is set to what suits
// tests: one port without TLS, on which clients may log in.
func (h *House) Open(o edge.Options) (*Edge, error) {
	if o.ID == "" {
		o.ID = "e1"
	}
	h.stateMu.Lock()
	h.epochs++
	d := &door{house: h, id: o.ID, epoch: h.epochs, lost: make(chan struct{}), pending: make(map[int32][]*wire.Frame)}
	h.stateMu.Unlock()
	o.Domain, o.Partitions = h.domain, h.partitions
	o.Log, o.Lease, o.Links, o.Rosters, o.Accounts, o.Published, o.Sessions = d, d, d, h, &h.credentials, h, h
	if o.Archive == nil {
		o.Archive = &h.archive
	} else if o.Archive == NoArchive {
		o.Archive = nil
	}
	o.Push.Jobs = jobs{h}
	if o.Grace == 0 {
		o.Grace = -1 // who breaks off is gone
	}
	if o.Listen == nil {
		o.Listen = []edge.Listen{{Address: "127.0.0.1:0"}}
	}
	if o.Stream.Credentials == nil {
		o.Stream = stream.Options{
			TLS: o.Stream.TLS, InsecureAuth: true, Credentials: &h.credentials, Registrar: registrar{h}, Tokens: &h.credentials, Secret: make([]byte, 16),
		}
	}
	h.credentials.house = h
	s, err := edge.New(o)
	if err != nil {
		return nil, err
	}
	d.server = s
	h.stateMu.Lock()
	h.edges = append(h.edges, d)
	h.stateMu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	e := &Edge{Server: s, door: d, stop: stop, err: make(chan error, 1)}
	go func() { e.err <- s.Run(ctx) }()
	return e, nil
}

// Stop stops the edge and gives what its Run returned.
func (e *Edge) Stop() error {
	e.stop()
	return e.Wait()
}

// Wait gives what the edge's Run returned.
func (e *Edge) Wait() error {
	err := <-e.err
	e.err <- err
	return err
}

// SetValid says whether the edge's lease is valid.
func (e *Edge) SetValid(valid bool) { e.door.invalid.Store(!valid) }

// Lose marks the edge lost.
func (e *Edge) Lose() { close(e.door.lost) }

// Start makes a house with one edge for a test, and ends both with it.
func Start(t testing.TB, o edge.Options) (*House, *Edge) {
	t.Helper()
	h := NewHouse("example.com", 4)
	e, err := h.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Freeze(false)
		if err := e.Stop(); err != nil && err != edge.ErrLost {
			t.Error(err)
		}
		h.Close()
	})
	return h, e
}

func (d *door) Append(to jid.Bare, e *event.Event, done func(topic.Position, error)) {
	h := d.house
	h.mu.Lock()
	dead := d.dead
	h.mu.Unlock()
	if dead {
		go done(topic.Position{}, errDead)
		return
	}
	h.append(to, e, done)
}
func (d *door) Epoch() uint64         { return d.epoch }
func (d *door) Valid() bool           { return !d.invalid.Load() }
func (d *door) Lost() <-chan struct{} { return d.lost }

// Follow answers with the presence of the account, in order with the frames.
func (d *door) Follow(partition int32, account, follower string) {
	h := d.house
	h.do(func() {
		h.stateMu.Lock()
		defer h.stateMu.Unlock()
		s := h.state(jid.BareFromCanonical(account))
		next := h.next[partition]
		a := &wire.Answer{Partition: partition, NextOffset: next, Accounts: []string{account}}
		for name, r := range s.Resources {
			if r.Available {
				a.Present = append(a.Present, &wire.Presence{
					Account: account, Resource: name, Version: r.Version, Available: true,
					Presence: contentOf(r.Content), At: r.Since.UnixMicro(),
				})
			}
		}
		a.Admissions = []*wire.Admission{{
			Account: account, Follower: follower, Offset: next - 1,
			Admitted: account == follower || sees(s, jid.BareFromCanonical(follower)),
		}}
		a.Audiences = h.audiences(s, next)
		d.flush(partition)
		d.script = append(d.script, func() { d.server.Answer(a) })
	})
}

func (d *door) Unfollow(int32, string, string) {}

// flush makes the partition's pending frames part of the script.
func (d *door) flush(p int32) {
	if f := d.pending[p]; len(f) > 0 {
		delete(d.pending, p)
		d.script = append(d.script, func() { d.server.Frames(p, f) })
	}
}

// take gives what the edge is to be told. house.stateMu is held.
func (d *door) take() []func() {
	for p := range d.pending {
		if int(p) >= len(d.house.late) || !d.house.late[p] {
			d.flush(p)
		}
	}
	script := d.script
	d.script = nil
	return script
}

// SendIq routes an iq as the addressee's worker does.
func (d *door) SendIq(iq *wire.Iq) bool {
	h := d.house
	h.do(func() {
		if d.toComponent(iq) {
			return
		}
		to, from := jid.FromCanonical(iq.GetTo()), jid.FromCanonical(iq.GetFrom())
		request := iq.GetType() == "get" || iq.GetType() == "set"
		h.stateMu.Lock()
		s := h.state(to.Bare())
		policy := s.Policy()
		shared := sees(s, from.Bare()) && !policy.Hides(to.Resource(), from) || from.Bare() == to.Bare() || directs(s, to.Resource(), from)
		action := message.RouteIQ(request, to.Resource(), shared, s.Resources).Action
		if action == message.Deliver && !policy.Allows(privacy.IQ, to.Resource(), from) {
			action = message.RouteIQ(request, to.Resource(), false, nil).Action // as if nobody were there
		}
		r := s.Resources[to.Resource()]
		target := d
		for _, other := range h.edges {
			if other.epoch == r.Epoch {
				target = other
			}
		}
		h.stateMu.Unlock()
		switch action {
		case message.Deliver:
			target.server.Iq(iq)
		case message.Bounce:
			iq.Refused = true
			d.server.Iq(iq)
		}
	})
	return true
}

// WaitFor waits until cond holds.
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
