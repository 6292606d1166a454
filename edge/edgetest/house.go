// Package edgetest is a whole Rollcall in one process for tests and
// benchmarks of the edge: real sockets, and a log in memory that folds what is
// appended and routes what comes of it, by the same rules as the projector and
// the fan-out workers.
package edgetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/subscription"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// House is the log and everything behind it. It is the Rosters, Accounts and
// stream.Credentials of its edges, too. One goroutine, Run's, folds.
type House struct {
	domain     string
	partitions int

	mu      sync.Mutex
	idle    *sync.Cond
	queue   []func() // what the goroutine has to do, in order
	busy    bool
	stopped bool
	refuse  error // what appends are answered with, if not nil
	away    error // what reads of rosters are answered with, if not nil
	frozen  bool  // nothing is taken from the queue

	stateMu sync.Mutex
	states  map[jid.Bare]*account.State
	next    []int64 // next offset, by partition
	outbox  []int64
	chosen  map[jid.Bare]map[int64][]uuid.UUID // bindings that messages are on their way to, by offset
	edges   []*door                            // that live
	epochs  uint64
	events  []*event.Event
	history [][]*event.Event             // by partition, so that an index is an offset
	ordered int                          // how many of them Order has given
	late    []bool                       // by partition: its frames are held back
	purged  map[jid.Bare]int64           // highest version of a tombstone that is gone
	recent  map[jid.Bare]*message.Recent // messages that were copied
	learned map[string][]string          // capabilities, by hash and ver
	pushes  []told                       // what push services are to be told
	doubts  map[jid.Bare]*doubted        // nil: nothing is ever in doubt

	archive Archive

	credentials credentials
}

// NewHouse makes an empty house for a domain. Close ends it.
func NewHouse(domain string, partitions int) *House {
	h := &House{
		domain: domain, partitions: partitions, states: make(map[jid.Bare]*account.State), chosen: make(map[jid.Bare]map[int64][]uuid.UUID), recent: make(map[jid.Bare]*message.Recent),
		next: make([]int64, partitions), history: make([][]*event.Event, partitions), outbox: make([]int64, partitions), purged: make(map[jid.Bare]int64),
	}
	h.idle = sync.NewCond(&h.mu)
	h.credentials.keys = make(map[jid.Bare]bool)
	go h.run()
	return h
}

// run does what is queued until the house is closed.
func (h *House) run() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		for (len(h.queue) == 0 || h.frozen) && !h.stopped {
			h.busy = false
			h.idle.Broadcast()
			h.idle.Wait()
		}
		if h.stopped {
			return
		}
		h.busy = true
		queue := h.queue
		h.queue = nil
		h.mu.Unlock()
		var out frames
		for _, f := range queue {
			f()
		}
		h.stateMu.Lock()
		for _, d := range h.edges {
			out = append(out, d.take()...)
		}
		h.stateMu.Unlock()
		for _, f := range out {
			f()
		}
		h.mu.Lock()
	}
}

type frames []func()

func (h *House) do(f func()) {
	h.mu.Lock()
	h.queue = append(h.queue, f)
	h.idle.Broadcast()
	h.mu.Unlock()
}

// Quiet waits until all that was appended is folded and with the sessions it
// concerns.
func (h *House) Quiet() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.busy || len(h.queue) > 0 {
		h.idle.Wait()
	}
}

// Close ends the house; the edges must have ended.
func (h *House) Close() {
	h.mu.Lock()
	h.stopped = true
	h.idle.Broadcast()
	h.mu.Unlock()
}

// Refuse makes appends fail with err, until it is called with nil. What ends
// or settles something is taken all the same.
func (h *House) Refuse(err error) {
	h.mu.Lock()
	h.refuse = err
	h.mu.Unlock()
}

// RefuseRosters makes reads of rosters fail with err, until it is called with nil.
func (h *House) RefuseRosters(err error) {
	h.mu.Lock()
	h.away = err
	h.mu.Unlock()
}

// Freeze makes the log answer nothing until it is called with false.
func (h *House) Freeze(frozen bool) {
	h.mu.Lock()
	h.frozen = frozen
	h.idle.Broadcast()
	h.mu.Unlock()
}

// Events gives all that is in the log, in the order it was appended.
func (h *House) Events() []*event.Event {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return slices.Clone(h.events)
}

// History gives what is in a partition of the log, by offset; not after Forget.
func (h *House) History(partition int32) []*event.Event {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return slices.Clone(h.history[partition])
}

// append is the Log's.
func (h *House) append(to jid.Bare, e *event.Event, done func(topic.Position, error)) {
	if len(e.Id) == 0 {
		id := uuid.Must(uuid.NewV7())
		e.Id = id[:]
	}
	if e.At == 0 {
		e.At = time.Now().UnixMicro()
	}
	h.mu.Lock()
	refuse := h.refuse
	h.mu.Unlock()
	switch e.GetKind().(type) {
	case *event.Event_PresenceUnavailable, *event.Event_ResourceClosed, *event.Event_Delivered:
	default:
		if refuse != nil {
			go done(topic.Position{}, refuse)
			return
		}
	}
	h.do(func() {
		p, offset := h.fold(to, e)
		done(topic.Position{Topic: topic.Account, Partition: p, Offset: offset}, nil)
	})
}

// A record is an event on its way into a history.
type record struct {
	to jid.Bare
	e  *event.Event
}

// fold applies an event and all that it causes.
func (h *House) fold(to jid.Bare, e *event.Event) (int32, int64) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	p := topic.Partition(to, h.partitions)
	first := h.next[p]
	h.foldAll([]record{{to, e}})
	return p, first
}

// foldAll applies records and all that they cause. stateMu is held.
func (h *House) foldAll(queue []record) {
	for len(queue) > 0 {
		r := queue[0]
		p := topic.Partition(r.to, h.partitions)
		offset := h.next[p]
		h.next[p]++
		h.events = append(h.events, r.e)
		h.history[p] = append(h.history[p], r.e)
		queue = append(queue[1:], h.apply(p, offset, h.state(r.to), r.e)...)
	}
}

// apply applies an event to an account, tells the edges, and gives what it
// causes in the histories of others.
func (h *House) apply(p int32, offset int64, s *account.State, e *event.Event) (caused []record) {
	before, policy, private := maps.Clone(s.Resources), s.Policy(), s.Privacy
	for i, reaction := range s.Apply(offset, e) {
		if next := reaction.Event; next != nil {
			id := uuid.Must(uuid.NewV7())
			next.Id, next.Origin, next.Sequence, next.Index = id[:], "p", uint64(offset), uint32(i)
			if next.At == 0 {
				next.At = e.At
			}
			caused = append(caused, record{reaction.Account, next})
			continue
		}
		if c := reaction.Output.GetPolicyChanged(); c != nil && h.doubts != nil {
			h.do(func() { h.sure(p, reaction.Account, c) })
			continue
		}
		op := topic.Partition(reaction.Account, h.partitions)
		reaction.Output.Origin, reaction.Output.Sequence, reaction.Output.Index = fmt.Sprintf("p/%d", p), uint64(offset), uint32(i)
		h.tell(op, &wire.Frame{What: &wire.Frame_Output{Output: &wire.Output{
			Account: reaction.Account.String(), Offset: h.outbox[op], Output: reaction.Output,
		}}})
		h.outbox[op]++
		h.outcomeToComponent(reaction)
	}
	h.archive.Add(s.Account, offset, e)
	h.route(p, offset, s, before, func() { h.audience(p, offset, s, private, policy, e) }, e)
	h.pushed(s)
	s.Changes.Reset()
	return caused
}

func (h *House) state(of jid.Bare) *account.State {
	s := h.states[of]
	if s == nil {
		s = account.New(of)
		h.states[of] = s
	}
	return s
}

// tell gives all edges a frame; they know what concerns them.
func (h *House) tell(p int32, f *wire.Frame) {
	for _, d := range h.edges {
		d.pending[p] = append(d.pending[p], f)
	}
}

// Create makes accounts that can log in with Password.
func (h *House) Create(names ...string) {
	for _, name := range names {
		bare := jid.MustBare(name + "@" + h.domain)
		h.credentials.add(bare)
		h.fold(bare, &event.Event{Id: make([]byte, 16), At: 1, Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
}

// Befriend makes each of two accounts see the other.
func (h *House) Befriend(a, b string) {
	one, two := jid.MustBare(a+"@"+h.domain), jid.MustBare(b+"@"+h.domain)
	for _, sent := range []struct {
		from, to jid.Bare
		verb     event.Verb
	}{
		{one, two, event.Verb_VERB_SUBSCRIBE}, {two, one, event.Verb_VERB_SUBSCRIBED},
		{two, one, event.Verb_VERB_SUBSCRIBE}, {one, two, event.Verb_VERB_SUBSCRIBED},
	} {
		h.fold(sent.from, &event.Event{Id: make([]byte, 16), At: 1, Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{
			Contact: sent.to.String(), Verb: sent.verb,
		}}})
	}
	h.do(func() {})
}

// Roster implements edge.Rosters.
func (h *House) Roster(_ context.Context, of jid.Bare, partition int32, _ int64) (*edge.Roster, error) {
	h.mu.Lock()
	away := h.away
	h.mu.Unlock()
	if away != nil {
		return nil, away
	}
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s := h.state(of)
	r := &edge.Roster{NextOffset: h.next[partition], Created: s.Created, CreatedAt: s.CreatedAt.UnixMicro(), Purged: h.purged[of], Resources: len(s.Resources)}
	for _, it := range s.Roster {
		item := &event.RosterItem{
			Contact: it.Contact.String(), Name: it.Name, Groups: it.Groups, Removed: it.Removed,
			To: it.State&subscription.To != 0, From: it.State&subscription.From != 0,
			PendingOut: it.State&subscription.PendingOut != 0, PendingIn: it.State&subscription.PendingIn != 0,
			Approved: it.State&subscription.Approved != 0,
		}
		row := edge.RosterItem{RosterItem: item, Version: it.Version}
		if item.GetPendingIn() {
			row.Request = new(event.Presence)
			if err := proto.Unmarshal(it.Request, row.Request); err != nil {
				return nil, err
			}
		}
		r.Items = append(r.Items, row)
	}
	return r, nil
}

// Purge drops the account's tombstones of removed items, as the projector does
// when they are old.
func (h *House) Purge(name string) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	s := h.state(jid.MustBare(name + "@" + h.domain))
	for contact, it := range s.Roster {
		if it.Removed && it.State == subscription.None {
			h.purged[s.Account] = max(h.purged[s.Account], it.Version)
			delete(s.Roster, contact)
		}
	}
}

// Forget drops what Events gives, and all that is kept of accounts but their
// existence: for who measures the memory of an edge.
func (h *House) Forget() {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	h.events, h.history, h.ordered = nil, make([][]*event.Event, h.partitions), 0
	for bare, s := range h.states {
		h.states[bare] = account.New(bare)
		h.states[bare].Exists = s.Exists
	}
}
