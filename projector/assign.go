package projector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/store"
)

// How long the loop waits after everything had to be loaded again: the first
// time, and at most, doubling between.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = 2 * time.Second
)

// reassign gives up and takes up partitions as the group says.
func (l *loop) reassign(ctx context.Context) error {
	l.mu.Lock()
	wanted, changed := l.wanted, l.assigned
	l.assigned = false
	var leave []*part
	for number, at := range l.parts {
		if !slices.Contains(wanted, number) {
			leave = append(leave, at)
		}
	}
	l.mu.Unlock()
	if !changed {
		return nil
	}
	if len(leave) > 0 {
		// What is folded is committed, so that the next owner need not fold it again.
		if err := l.land(ctx, true); err != nil {
			return err
		}
		if len(l.open.moved) > 0 {
			l.send()
			if err := l.land(ctx, true); err != nil {
				return err
			}
		}
		for _, at := range leave {
			l.release(at)
			l.cache.clear(at.number)
		}
	}
	for _, number := range wanted {
		if err := l.acquire(ctx, number); err != nil {
			return err
		}
	}
	return nil
}

// acquire starts a partition where Postgres says.
func (l *loop) acquire(ctx context.Context, number int32) error {
	l.mu.Lock()
	_, have := l.parts[number]
	l.mu.Unlock()
	if have {
		return nil
	}
	stands, err := l.store.Open(ctx, number)
	if err != nil {
		return err
	}
	if stands.FoldVersion != store.FoldVersion {
		return &fatalError{fmt.Errorf("projector: partition %d was folded by version %d of the fold, this is %d: rebuild the views", number, stands.FoldVersion, store.FoldVersion)}
	}
	at := &part{number: number, gone: make(chan struct{}), sent: stands.Next,
		fold: fold.Partition{Number: number, Of: l.o.Partitions, Next: stands.Next}}
	if err := at.fold.Marks.UnmarshalBinary(stands.Marks); err != nil {
		return &fatalError{fmt.Errorf("projector: partition %d: %w", number, err)}
	}
	pending, err := l.store.Pending(ctx, number)
	if err != nil {
		return err
	}
	l.publisher.restart(number, pending)
	l.mu.Lock()
	l.parts[number] = at
	l.mu.Unlock()
	l.o.Tail.Assign(number, stands.Next)
	return nil
}

// release ends the reading of a partition and drops what was fetched of it.
func (l *loop) release(at *part) {
	close(at.gone)
	l.mu.Lock()
	delete(l.parts, at.number)
	if len(at.queue) > 0 {
		l.dequeue(at, len(at.queue))
	}
	if at.halted {
		l.metrics.stopped.Dec()
	}
	l.mu.Unlock()
	l.o.Tail.Unassign(at.number)
	l.metrics.forget(at.number)
}

// restart forgets all that is in memory and has everything loaded again, after
// a pause. The outcome of what was in flight does not matter: it is in
// Postgres with its offset, or not.
func (l *loop) restart(ctx context.Context, why error) {
	cause := "postgres"
	if errors.Is(why, store.ErrFenced) {
		cause = "fenced"
	}
	l.metrics.restarts.WithLabelValues(cause).Inc()
	l.o.Logger.Warn("projection starts again from Postgres", "cause", cause, "err", why)
	for l.flying && ctx.Err() == nil {
		_ = l.land(ctx, true) // whatever came of it
	}
	l.mu.Lock()
	var leave []*part
	for _, at := range l.parts {
		leave = append(leave, at)
	}
	l.mu.Unlock()
	for _, at := range leave {
		l.release(at)
	}
	l.cache = newCache(l.o.CacheRows)
	l.committed, l.open = l.open.number, newOpen(l.open.number+1)
	l.pause = min(max(2*l.pause, firstPause), maxPause)
	timer := time.NewTimer(l.pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	l.mu.Lock()
	l.assigned = true
	l.mu.Unlock()
}
