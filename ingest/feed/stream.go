package feed

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/watch"
)

// A Filter says what a stream is about: one account, or every account of a
// domain. Exactly one of Account and Domain is set.
type Filter struct {
	Account  string // bare JID
	Domain   string
	Messages bool // of messages too, not of presence alone
}

func (f Filter) matches(account string) bool {
	return f.Account == account || f.Account == "" && domainOf(account) == f.Domain
}

// domainOf gives the domainpart of a bare JID.
func domainOf(account string) string { return account[strings.IndexByte(account, '@')+1:] }

// A Stream tells of what changed. Its methods may be called by one goroutine.
type Stream struct {
	hub    *Hub
	filter Filter
	queue  *queue
	told   map[int32]*Mark // what the Hub must not tell; each is guarded by its partition's mu
	at     Vector          // of what Next gave
	ctx    context.Context
	cancel context.CancelFunc
	owned  sync.WaitGroup
}

// Open begins a stream. Without a position it begins with the present: what
// the accounts that it is about are, and where that stands. With one it goes
// on after it, and there is no present. It may be ErrStarting, ErrStopped,
// ErrAhead or a *TooOldError; a position must have every partition that the
// stream reads, and no other.
func (h *Hub) Open(ctx context.Context, f Filter, from Vector) (_ *Stream, present []watch.Change, err error) {
	if (f.Account == "") == (f.Domain == "") {
		return nil, nil, errors.New("feed: a stream is about an account or a domain")
	}
	if err := h.await(ctx); err != nil {
		return nil, nil, err
	}
	s := &Stream{hub: h, filter: f, queue: newQueue(h.options.MaxChanges, h.options.MaxBytes), told: make(map[int32]*Mark), at: make(Vector)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, n := range h.reads(f) {
		s.told[n] = &Mark{Offset: -1}
	}
	if from == nil {
		for _, n := range h.reads(f) {
			present = append(present, s.present(n)...)
		}
		return s, present, nil
	}
	if err := s.covers(from); err != nil {
		return nil, nil, err
	}
	behind, err := s.behind(ctx, from)
	if err != nil {
		return nil, nil, err
	}
	if len(behind) > 0 {
		s.owned.Go(func() {
			if err := s.catchUp(behind); err != nil {
				s.queue.fail(err)
			}
		})
	}
	return s, nil, nil
}

// reads gives the partitions that a stream of that filter reads.
func (h *Hub) reads(f Filter) (all []int32) {
	if f.Account != "" {
		return []int32{topic.Partition(jid.BareFromCanonical(f.Account), h.options.Partitions)}
	}
	for n := range int32(h.options.Partitions) {
		all = append(all, n)
	}
	return all
}

// present joins a partition and gives what it is at that moment.
func (s *Stream) present(n int32) (present []watch.Change) {
	p := s.hub.partitions[n]
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.filter.Account != "" {
		present = p.fold.Account(s.filter.Account)
	} else {
		present = p.fold.Current(s.filter.matches)
	}
	s.at[n] = Mark{Offset: p.fold.Next - 1}
	*s.told[n] = s.at[n]
	p.join(s)
	return present
}

// ErrPosition tells that a position is not one of such a stream.
var ErrPosition = errors.New("feed: position of another stream")

// covers takes the position that the stream goes on from.
func (s *Stream) covers(from Vector) error {
	for n := range s.told {
		m, ok := from[n]
		if !ok {
			return fmt.Errorf("%w: it has no partition %d", ErrPosition, n)
		}
		*s.told[n], s.at[n] = m, m
	}
	if len(from) != len(s.told) {
		return fmt.Errorf("%w: it has %d partitions, this reads %d", ErrPosition, len(from), len(s.told))
	}
	return nil
}

// behind joins the partitions in which the Hub is not further than from, and
// gives the others' folds as of a checkpoint before it.
func (s *Stream) behind(ctx context.Context, from Vector) (map[int32]*watch.Partition, error) {
	h := s.hub
	older := make(map[int32]int64)
	ahead := false
	for n, m := range from {
		p := h.partitions[n]
		p.mu.Lock()
		if m.next() < p.fold.Next {
			older[n] = m.next()
		} else {
			ahead = ahead || m.next() > p.fold.Next
			p.join(s)
		}
		p.mu.Unlock()
	}
	if ahead { // of the Hub, which may be behind, or of the log
		ends, err := h.options.Offsets.Ends(ctx, topic.Account)
		if err != nil {
			return nil, fmt.Errorf("find the end of the log: %w", err)
		}
		for n, m := range from {
			if m.Offset >= ends[n] {
				return nil, fmt.Errorf("%w: %d:%d, and it ends before %d", ErrAhead, n, m.Offset, ends[n])
			}
		}
	}
	if len(older) == 0 {
		return nil, nil
	}
	return h.checkpoints(ctx, older)
}

// catchUp folds partitions from a checkpoint on and tells what is new, until
// each has reached the Hub and joins it.
func (s *Stream) catchUp(behind map[int32]*watch.Partition) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	select {
	case s.hub.metrics.catchingUp <- struct{}{}:
		defer func() { <-s.hub.metrics.catchingUp }()
	case <-ctx.Done():
		return nil
	}
	tail, err := s.hub.tail()
	if err != nil {
		return err
	}
	for n, fold := range behind {
		if s.meet(fold) {
			delete(behind, n)
		} else {
			tail.Assign(n, fold.Next)
		}
	}
	if len(behind) == 0 {
		tail.Close()
		return nil
	}
	err = tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		fold := behind[b.Partition]
		if err := s.again(ctx, fold, b.Records); err != nil {
			return err
		}
		if !s.meet(fold) {
			return nil
		}
		if delete(behind, b.Partition); len(behind) == 0 {
			cancel()
		}
		return eventlog.ErrUnassign
	})
	var gone *eventlog.OffsetError
	switch {
	case errors.As(err, &gone):
		return &TooOldError{Partition: gone.Partition, Asked: gone.Asked, First: gone.First}
	case s.ctx.Err() != nil:
		return nil
	}
	return err
}

// again folds records and tells what the stream has not heard of them.
func (s *Stream) again(ctx context.Context, fold *watch.Partition, records []eventlog.Fetched) error {
	from := s.told[fold.Number] // nobody else's before meet
	for i := range records {
		r := &records[i]
		e, err := decode(fold.Number, r)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStopped, err)
		}
		for _, c := range fold.Apply(r.Offset, string(r.Key), e) {
			if from.covers(c.Place) || !s.filter.matches(c.Account) || !s.wants(c) {
				continue
			}
			if err := s.queue.wait(ctx, item{c}); err != nil {
				return err
			}
		}
	}
	return nil
}

// meet joins the Hub if fold is as far.
func (s *Stream) meet(fold *watch.Partition) bool {
	p := s.hub.partitions[fold.Number]
	p.mu.Lock()
	defer p.mu.Unlock()
	if fold.Next < p.fold.Next {
		return false
	}
	if from := s.told[fold.Number]; from.next() < fold.Next {
		*from = Mark{Offset: fold.Next - 1}
	}
	p.join(s)
	return true
}

func (s *Stream) wants(c watch.Change) bool { return c.Message == nil || s.filter.Messages }

// hear takes a change from the Hub. The caller holds the partition's mu.
func (s *Stream) hear(c watch.Change) {
	if !s.told[c.Partition].covers(c.Place) && s.wants(c) && !s.queue.put(item{c}) {
		s.queue.fail(ErrSlow)
		s.hub.metrics.slow()
	}
}

// Touch has Next hear where the stream stands, though nothing changed.
func (s *Stream) Touch() {
	for n := range s.told {
		p := s.hub.partitions[n]
		p.mu.Lock()
		if s.joined(p) && s.at[n].next() < p.fold.Next {
			s.queue.put(item{watch.Change{Place: watch.Place{Partition: n, Offset: p.fold.Next - 1, Of: 1}}})
		}
		p.mu.Unlock()
	}
}

func (s *Stream) joined(p *partition) bool {
	of, name := p.listeners(s)
	_, ok := of[name][s]
	return ok
}

// Next waits for what comes next, and gives it to tell in its order, each
// change with the position after it; a change without an account is word of the
// position alone. It gives tell's error, or why the stream is over: ErrSlow,
// ErrStopped, a *TooOldError, or ctx's own.
func (s *Stream) Next(ctx context.Context, tell func(c watch.Change, at Vector) error) error {
	for {
		items, err := s.queue.take()
		for _, i := range items {
			s.at[i.Partition] = after(i.Place)
			if err := tell(i.Change, s.at); err != nil {
				return err
			}
		}
		if err != nil || len(items) > 0 {
			return err
		}
		select {
		case <-s.queue.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// At gives the position after what Next gave last.
func (s *Stream) At() Vector { return s.at }

// Close ends the stream and waits until nothing of it is left.
func (s *Stream) Close() {
	s.cancel()
	s.queue.fail(ErrStopped)
	s.owned.Wait()
	for n := range s.told {
		s.hub.partitions[n].leave(s)
	}
}
