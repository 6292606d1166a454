package fanout

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
)

// partition is all that the worker knows of one partition. One goroutine, the
// loop in run, owns everything but what the comments say otherwise; others
// post functions to it. It never waits for an edge or for Postgres.
type partition struct {
	worker *Worker
	number int32
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when run has returned
	posts  chan func()
	loaded atomic.Bool // posts are taken

	claim    uint64
	next     int64 // of the topic account: all below is applied
	from     int64 // the tail begins here: below next, copies of messages are sent again
	end      int64 // what next must reach before answers are given
	caughtUp bool
	marks    account.Marks
	accounts map[string]*acct // those that have a resource, by bare JID
	waiting  map[*acct]struct{}
	guards   map[string]*guard   // of accounts that have set something, by bare JID
	absent   map[string]struct{} // accounts that were deleted and not made anew

	peers        map[edgeKey]*peer
	routes       map[string][]*peer     // bare JID -> edges that follow it
	unheard      map[route]*asked       // routes whose answer is in the making
	pending      map[*peer][]item       // to be queued at the end of a post
	answers      []*asked               // checked, until the tail has caught up
	checks       int                    // admissions under way in Postgres
	access       map[nodeKey]nodeAccess // of nodes that were published or configured of late
	accessPruned int64                  // when old ones were last forgotten, microseconds
	revoked      map[pair]int64         // revocations that a check may not have seen, by offset
	known        int64                  // how far the partition is known to be projected

	repeats     repeats
	copies      []sentCopy // the last ones, oldest first
	copiesBytes int

	outbox  outbox
	iqs     []heldIq
	behind  prometheus.Gauge
	stopped bool

	committable atomic.Int64 // outbox offset that may be committed; -1 before any. Read by all.
}

// acct is an account that has a resource.
type acct struct {
	name      string
	resources map[string]presence.Resource // without status and payload
	said      map[string][]byte            // of available resources: the encoded wire.Presence
	inbox     []*stored                    // by offset
	origins   message.Origins              // the latest messages, as the fold remembers them
	loading   bool                         // the inbox in Postgres is not merged yet
	settled   map[int64]struct{}           // Delivered while loading
	recent    *message.Recent              // messages it sent and that were copied; nil: none
}

// pair is a follower of an account; without follower, all of them.
type pair struct{ account, follower string }

func newPartition(ctx context.Context, w *Worker, number int32) *partition {
	ctx, cancel := context.WithCancel(ctx)
	p := &partition{
		worker: w, number: number, ctx: ctx, cancel: cancel,
		done: make(chan struct{}), posts: make(chan func(), 256),
		accounts: make(map[string]*acct), waiting: make(map[*acct]struct{}),
		guards: make(map[string]*guard), absent: make(map[string]struct{}),
		peers: make(map[edgeKey]*peer), routes: make(map[string][]*peer),
		pending: make(map[*peer][]item), unheard: make(map[route]*asked), revoked: make(map[pair]int64),
		behind: w.metrics.behindOf(number),
	}
	p.committable.Store(-1)
	p.outbox.untaken = make(map[edgeKey]*untaken)
	return p
}

// post has f run by the loop; it waits while the loop is busy. It tells
// whether the loop will run it.
func (p *partition) post(f func()) bool {
	if !p.loaded.Load() {
		return false
	}
	select {
	case p.posts <- f:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// run loads the partition and serves it until its ctx ends.
func (p *partition) run() {
	defer close(p.done)
	w := p.worker
	log := w.options.Logger.With("partition", p.number)
	for {
		err := p.load()
		if err == nil {
			break
		}
		if p.ctx.Err() != nil {
			return
		}
		log.Warn("partition not loaded", "err", err)
		if !sleep(p.ctx, w.options.RetryEvery) {
			return
		}
	}
	log.Info("partition served", "claim", p.claim, "nextOffset", p.next, "end", p.end, "accounts", len(p.accounts))
	// An edge that attaches meanwhile posts itself; to attach twice is once.
	p.loaded.Store(true)
	for _, e := range w.attached() {
		p.attach(e)
	}
	p.advanced()
	p.flush()
	w.options.Account.Assign(p.number, p.from)
	w.options.Outbox.Assign(p.number, p.outbox.next)
	p.loop()
	w.options.Account.Unassign(p.number)
	w.options.Outbox.Unassign(p.number)
	for _, e := range p.peers {
		e.queue.close(p.number, p.claim)
	}
	for _, h := range p.iqs {
		refuse(h.from, h.iq)
	}
	w.metrics.lost(p.number)
	if p.stopped {
		w.metrics.stopped.Dec()
	}
}

func (p *partition) loop() {
	tick := time.NewTicker(p.worker.options.HoldIq / 5)
	defer tick.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case f := <-p.posts:
			f()
		case <-tick.C:
			p.expireIqs()
		}
		p.flush()
	}
}

// flush queues what a post has made for the edges, with one lock each.
func (p *partition) flush() {
	for e, items := range p.pending {
		if len(items) == 0 {
			continue
		}
		e.queue.push(p.number, p.claim, items)
		clear(items)
		p.pending[e] = items[:0]
	}
}

func (p *partition) send(e *peer, i item) { p.pending[e] = append(p.pending[e], i) }

// record is a decoded record of the topic account.
type record struct {
	offset int64
	key    string
	event  *event.Event
}

// accountBatch decodes a batch and hands it to its partition.
func (w *Worker) accountBatch(_ context.Context, b Batch) error {
	p := w.partition(b.Partition)
	if p == nil || len(b.Records) == 0 {
		return nil
	}
	records := make([]record, 0, len(b.Records))
	for i := range b.Records {
		r := &b.Records[i]
		e, err := event.Decode(r.Value)
		var garbage *event.GarbageError
		switch {
		case errors.As(err, &garbage):
			continue // the projector sets it aside
		case err != nil:
			p.post(func() { p.apply(records); p.stop(r.Offset, err) })
			return nil
		}
		records = append(records, record{r.Offset, string(r.Key), e})
	}
	last := b.Records[len(b.Records)-1].Offset
	p.post(func() {
		p.apply(records)
		if last+1 >= p.next {
			p.repeated()
		}
		if !p.stopped {
			p.next = max(p.next, last+1)
			p.behind.Set(float64(b.HighWater - p.next))
			p.advanced()
		}
	})
	return nil
}

// stop ends the partition's progress: this version does not understand the
// record. Others would not either, so the partition stays here.
func (p *partition) stop(offset int64, err error) {
	if p.stopped {
		return
	}
	p.stopped = true
	p.worker.metrics.stopped.Inc()
	// The outbox of other partitions goes on.
	for _, room := range p.outbox.room {
		close(room)
	}
	p.outbox.held, p.outbox.room = nil, nil
	p.worker.options.Logger.Error("partition stopped", "partition", p.number, "offset", offset, "err", err)
}

func (p *partition) apply(records []record) {
	for i := range records {
		r := &records[i]
		if p.stopped {
			return
		}
		if r.offset < p.next {
			p.repeat(r)
			continue
		}
		if p.repeats.messages != nil {
			p.repeated()
		}
		if p.marks.Admit(r.event) {
			p.event(r.offset, r.key, r.event)
		}
		p.next = r.offset + 1
	}
}

// advanced does what waited for the tail.
func (p *partition) advanced() {
	if !p.caughtUp && p.next >= p.end {
		p.caughtUp = true
		p.worker.options.Logger.Info("partition caught up", "partition", p.number, "nextOffset", p.next)
		for a := range p.waiting {
			p.route(a)
		}
		answers := p.answers
		p.answers = nil
		for _, a := range answers {
			p.answer(a)
		}
	}
	p.releaseOutputs()
	p.releaseIqs()
}

// attach begins to tell an edge's stream; one of the same life of the edge is
// replaced.
func (p *partition) attach(e *peer) {
	older := p.peers[e.edgeKey]
	if older == e {
		return
	}
	if older != nil {
		p.forget(older)
	}
	p.peers[e.edgeKey] = e
	p.assign(e)
	p.resend(e)
	p.resendCopies(e)
	p.resendOutputs(e)
}

func (p *partition) detach(e *peer) {
	if p.peers[e.edgeKey] == e {
		delete(p.peers, e.edgeKey)
		p.forget(e)
	}
}

// forget takes an edge's stream out of every route.
func (p *partition) forget(e *peer) {
	p.unroute(e)
	delete(p.pending, e)
	kept := p.iqs[:0]
	for _, h := range p.iqs {
		if h.from != e {
			kept = append(kept, h)
		}
	}
	clear(p.iqs[len(kept):])
	p.iqs = kept
}

// String names the partition in errors.
func (p *partition) String() string { return fmt.Sprintf("partition %d", p.number) }
