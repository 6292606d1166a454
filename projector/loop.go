package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
)

// ackPause is how long acknowledged reactions may stay in Postgres when no
// commit takes them along.
const ackPause = 500 * time.Millisecond

// A loop is what the goroutine that folds owns.
type loop struct {
	*Projector
	cache     *cache
	open      *open
	committed uint64 // number of the last unit that is committed
	flying    bool   // a unit is being committed
	pause     time.Duration
}

// An open unit is what was folded and not yet sent.
type open struct {
	number    uint64
	records   int
	moved     map[*part]struct{}
	touched   []*entry
	reactions []store.Reaction
}

func newLoop(p *Projector) *loop {
	return &loop{Projector: p, cache: newCache(p.o.CacheRows), open: newOpen(1)}
}

func newOpen(number uint64) *open { return &open{number: number, moved: make(map[*part]struct{})} }

func (l *loop) run(ctx context.Context) error {
	for {
		busy, err := l.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if fatal := (*fatalError)(nil); errors.As(err, &fatal) {
				return fatal.error
			}
			l.restart(ctx, err)
			continue
		}
		if !busy {
			l.wait(ctx)
		}
	}
}

// A fatalError ends Run.
type fatalError struct{ error }

// step does what can be done now; busy tells that there may be more.
func (l *loop) step(ctx context.Context) (busy bool, err error) {
	if err := l.land(ctx, false); err != nil {
		return false, err
	}
	if err := l.reassign(ctx); err != nil {
		return false, err
	}
	waiting, err := l.publisher.pending()
	if err != nil {
		return false, &fatalError{err}
	}
	if room := l.o.BatchRecords - l.open.records; room > 0 && waiting+len(l.open.reactions) < l.o.MaxReactions {
		work, lost := l.gather(room)
		if lost != nil && !l.flying && len(l.open.moved) == 0 {
			if err := l.foldLost(ctx, lost); err != nil {
				return false, err
			}
			busy = true
		} else if len(work) > 0 {
			if err := l.fold(ctx, work); err != nil {
				return false, err
			}
			busy = true
		}
	}
	if !l.flying && len(l.open.moved) > 0 {
		l.send()
		busy = true
	}
	return busy, nil
}

// wait returns when something may have happened.
func (l *loop) wait(ctx context.Context) {
	var late <-chan time.Time
	if !l.flying && l.publisher.news() {
		timer := time.NewTimer(ackPause)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ctx.Done():
	case <-l.wake:
	case <-late:
		l.send()
	}
}

// A work is the next records of a partition.
type work struct {
	at      *part
	records []queued
}

// gather takes up to room records. When a partition has come to an EdgeLost it
// takes nothing and gives that partition: it is for accounts that are found in
// Postgres, so all before it has to be committed.
func (l *loop) gather(room int) (all []work, lost *part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.parts {
		if len(at.queue) > 0 && isLost(&at.queue[0]) {
			return nil, at
		}
	}
	for _, at := range l.parts {
		n := min(len(at.queue), room)
		if i := slices.IndexFunc(at.queue[:n], func(q queued) bool { return isLost(&q) }); i >= 0 {
			n = i
		}
		if n > 0 {
			room -= n
			all = append(all, work{at, l.dequeue(at, n)})
		}
	}
	return all, nil
}

func isLost(q *queued) bool {
	return q.newer == nil && q.record.Garbage == nil && q.record.Lost() != nil
}

// fold folds work into the open unit.
func (l *loop) fold(ctx context.Context, all []work) error {
	start := time.Now()
	if err := l.loadMissing(ctx, all); err != nil {
		return err
	}
	for _, w := range all {
		for i := range w.records {
			q := &w.records[i]
			if q.newer != nil {
				l.halt(w.at, q.newer)
				break
			}
			if err := l.foldOne(w.at, &q.record, l.cache.entries[q.record.Key]); err != nil {
				return err
			}
		}
	}
	l.cache.shrink(l.committed)
	l.metrics.cacheRows.Set(float64(l.cache.weight))
	l.metrics.fold.Observe(time.Since(start).Seconds())
	return nil
}

// loadMissing sees to it that every account that the records name is in memory,
// and sets records aside whose key is none.
func (l *loop) loadMissing(ctx context.Context, all []work) error {
	type place struct {
		key       string
		partition int32
	}
	type missing struct {
		bare jid.Bare
		err  error
	}
	found := make(map[place]missing)
	home := make(map[string]int32) // of a key that is one
	for _, w := range all {
		for i := range w.records {
			q := &w.records[i]
			if q.newer != nil || q.record.Garbage != nil {
				continue
			}
			if e := l.cache.get(q.record.Key); e != nil && e.partition == w.at.number {
				continue
			}
			here := place{q.record.Key, w.at.number}
			m, seen := found[here]
			if !seen {
				m.bare, m.err = fold.Account(q.record.Key, w.at.number, l.o.Partitions)
				found[here] = m
			}
			if m.err != nil {
				q.record.SetAside(m.err)
			}
		}
	}
	var accounts []jid.Bare
	for at, m := range found {
		if m.err == nil {
			home[at.key] = at.partition
			accounts = append(accounts, m.bare)
		}
	}
	if len(accounts) == 0 {
		return nil
	}
	states, err := l.store.Load(ctx, accounts)
	if err != nil {
		return err
	}
	l.metrics.loads.Add(float64(len(accounts)))
	for key, s := range states {
		l.cache.weigh(l.cache.add(key, home[key], s))
	}
	return nil
}

// foldOne folds one record into the accounts that it is for.
func (l *loop) foldOne(at *part, r *fold.Record, entries ...*entry) error {
	l.open.records++
	l.open.moved[at] = struct{}{}
	l.metrics.events.Inc()
	at.fold.Next = r.Offset + 1
	switch {
	case r.Garbage != nil:
		l.metrics.dead.Inc()
		l.o.Logger.Warn("record set aside", "partition", at.number, "offset", r.Offset, "err", r.Garbage)
		l.open.reactions = append(l.open.reactions, at.fold.DeadLetter(r))
		return nil
	case !at.fold.Admit(r):
		l.metrics.copies.Inc()
		return nil
	}
	states := make([]*account.State, len(entries))
	for i, e := range entries {
		states[i] = e.state
	}
	reactions, err := at.fold.Apply(r, states...)
	if err != nil {
		return &fatalError{err}
	}
	l.open.reactions = append(l.open.reactions, reactions...)
	l.metrics.withhold(r, states, reactions)
	for _, e := range entries {
		if !e.touched && !e.state.Changes.Empty() {
			e.touched = true
			l.open.touched = append(l.open.touched, e)
		}
	}
	return nil
}

// foldLost folds the EdgeLost that at has come to. Nothing is open or flying.
func (l *loop) foldLost(ctx context.Context, at *part) error {
	l.mu.Lock()
	q := l.dequeue(at, 1)[0]
	l.mu.Unlock()
	lost := q.record.Lost()
	names, err := l.store.OfEdge(ctx, at.number, lost.GetEdge(), lost.GetEpoch())
	if err != nil {
		return err
	}
	var missing []jid.Bare
	for _, name := range names {
		if l.cache.get(name) == nil {
			missing = append(missing, jid.BareFromCanonical(name))
		}
	}
	if len(missing) > 0 {
		states, err := l.store.Load(ctx, missing)
		if err != nil {
			return err
		}
		for key, s := range states {
			l.cache.weigh(l.cache.add(key, at.number, s))
		}
	}
	entries := make([]*entry, len(names))
	for i, name := range names {
		entries[i] = l.cache.entries[name]
	}
	return l.foldOne(at, &q.record, entries...)
}

// halt ends the reading of a partition whose next record is of a newer kind.
func (l *loop) halt(at *part, why error) {
	l.o.Logger.Error("partition stopped: run a newer version", "partition", at.number, "err", why)
	at.halted = true
	l.metrics.stopped.Inc()
	l.o.Tail.Unassign(at.number)
}

// send hands the open unit to the committer, which is free.
func (l *loop) send() {
	o := l.open
	u := &store.Unit{Reactions: o.reactions, Acked: l.publisher.acked()}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for at := range o.moved {
		marks, err := at.fold.Marks.AppendBinary(nil)
		if err != nil {
			panic(fmt.Sprintf("marks of partition %d: %v", at.number, err))
		}
		a := store.Advance{Partition: at.number, From: at.sent, To: at.fold.Next, Marks: marks}
		if at.day != today {
			at.day, a.Day = today, today
		}
		at.sent = at.fold.Next
		u.Advances = append(u.Advances, a)
	}
	for _, e := range o.touched {
		u.Collect(e.state, e.partition)
		e.touched, e.unit = false, o.number
		l.cache.weigh(e)
	}
	l.open = newOpen(o.number + 1)
	l.flying = true
	l.flights <- &flight{number: o.number, unit: u}
}

// land takes how the unit in flight ended, if it has; with wait it waits for it.
func (l *loop) land(ctx context.Context, wait bool) error {
	if !l.flying {
		return nil
	}
	var end landing
	if wait {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case end = <-l.landed:
		}
	} else {
		select {
		case end = <-l.landed:
		default:
			return nil
		}
	}
	l.flying = false
	if end.err != nil {
		return end.err
	}
	l.committed, l.pause = end.number, 0
	l.metrics.commits.Inc()
	l.metrics.rows.Add(float64(end.unit.Put.Len() + end.unit.Remove.Len()))
	l.publisher.publish(end.unit.Reactions)
	l.mu.Lock()
	for _, a := range end.unit.Advances {
		if at := l.parts[a.Partition]; at != nil {
			l.metrics.setLag(a.Partition, at.highWater-a.To)
		}
	}
	l.mu.Unlock()
	return nil
}
