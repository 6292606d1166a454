package projector

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// A publisher sends committed reactions to the log, in the order of their
// commits, and tells which ones the log has. It never waits for one before it
// sends the next: the appender keeps order within a partition of the log, and
// that is where a reader's mark is.
type publisher struct {
	appender   Appender
	partitions int
	metrics    *metrics
	log        *slog.Logger
	wake       func() // something was acknowledged

	ready chan struct{} // holds one token while queue may have something

	mu      sync.Mutex // guards all below
	queue   []*sent
	lines   map[int32]*line
	waiting int   // in queue or in flight
	failed  error // an append failed for good
}

// A line is the reactions of one source partition, in order.
type line struct {
	generation uint64
	order      []*sent // not acknowledged, or behind one that is not
	acked      store.Place
	taken      store.Place // what acked was when it was taken
}

type sent struct {
	reaction   store.Reaction
	generation uint64
	acked      bool
}

func newPublisher(a Appender, partitions int, m *metrics, log *slog.Logger, wake func()) *publisher {
	return &publisher{appender: a, partitions: partitions, metrics: m, log: log, wake: wake,
		ready: make(chan struct{}, 1), lines: make(map[int32]*line)}
}

// restart forgets the line of partition and starts it with what Postgres says
// is pending. Some of it may be in the log already; marks drop the copies.
func (p *publisher) restart(partition int32, pending []store.Reaction) {
	p.mu.Lock()
	old := p.lines[partition]
	generation := uint64(1)
	if old != nil {
		generation = old.generation + 1
		p.waiting -= len(old.order)
	}
	p.lines[partition] = &line{generation: generation, acked: store.Before, taken: store.Before}
	p.mu.Unlock()
	p.publish(pending)
}

// publish queues reactions that are committed.
func (p *publisher) publish(reactions []store.Reaction) {
	if len(reactions) == 0 {
		return
	}
	p.mu.Lock()
	for _, r := range reactions {
		l := p.lines[r.Partition]
		s := &sent{reaction: r, generation: l.generation}
		l.order = append(l.order, s)
		p.queue = append(p.queue, s)
	}
	p.waiting += len(reactions)
	p.metrics.pending.Set(float64(p.waiting))
	p.mu.Unlock()
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// pending is the number of reactions that the log has not acknowledged.
func (p *publisher) pending() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting, p.failed
}

// news tells that something was acknowledged since the last call of acked.
func (p *publisher) news() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if l.acked != l.taken {
			return true
		}
	}
	return false
}

// acked gives what has come to be acknowledged since the last call. Who cannot
// commit that starts the lines again.
func (p *publisher) acked() (acked []store.Acked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for partition, l := range p.lines {
		if l.acked != l.taken {
			acked = append(acked, store.Acked{Partition: partition, After: l.taken, To: l.acked})
			l.taken = l.acked
		}
	}
	return acked
}

// run appends until ctx ends or an append fails for good.
func (p *publisher) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.ready:
		}
		p.mu.Lock()
		queue := p.queue
		p.queue = nil
		p.mu.Unlock()
		for _, s := range queue {
			if err := p.append(ctx, s); err != nil {
				return err
			}
		}
		if _, err := p.pending(); err != nil {
			return err
		}
	}
}

// append hands one reaction over; while the appender's queue is full it waits,
// so that nothing overtakes it.
func (p *publisher) append(ctx context.Context, s *sent) error {
	record, err := p.record(&s.reaction)
	if err != nil {
		return err
	}
	for !p.appender.TryAppend(record, true, func(_ topic.Position, err error) { p.done(s, err) }) {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func (p *publisher) record(r *store.Reaction) (Record, error) {
	record := Record{Topic: r.Topic, Key: r.Key, Value: r.Record}
	if r.Topic == topic.DeadLetter {
		from := topic.Position{Topic: topic.Account, Partition: r.Partition, Offset: r.Offset}
		record.Headers = []Header{{topic.HeaderFrom, []byte(from.String())}, {topic.HeaderError, []byte(r.Error)}}
		return record, nil
	}
	b, err := jid.ParseBare(string(r.Key))
	if err != nil {
		return record, fmt.Errorf("publish reaction of %s/%d/%d: %w", topic.Account, r.Partition, r.Offset, err)
	}
	record.Partition = topic.Partition(b, p.partitions)
	record.Headers = []Header{{topic.HeaderKind, []byte(r.Kind)}}
	return record, nil
}

// done takes the log's answer for s.
func (p *publisher) done(s *sent, err error) {
	refused := err != nil && p.appender.Refused(err)
	if refused {
		// Too large, say. It would be so for ever; the others go on.
		p.metrics.refused.Inc()
		p.log.Error("reaction refused by the log", "topic", s.reaction.Topic, "partition", s.reaction.Partition, "offset", s.reaction.Offset, "index", s.reaction.Index, "err", err)
	}
	p.mu.Lock()
	if err != nil && !refused {
		if p.failed == nil {
			p.failed = fmt.Errorf("publish reaction of %s/%d/%d to %s: %w", topic.Account, s.reaction.Partition, s.reaction.Offset, s.reaction.Topic, err)
		}
	} else if l := p.lines[s.reaction.Partition]; l.generation == s.generation {
		s.acked = true
		n := 0
		for n < len(l.order) && l.order[n].acked {
			n++
		}
		if n > 0 {
			last := &l.order[n-1].reaction
			l.acked = store.Place{Offset: last.Offset, Index: last.Index}
			clear(l.order[:n])
			l.order = l.order[n:]
			p.waiting -= n
			p.metrics.pending.Set(float64(p.waiting))
		}
	}
	p.mu.Unlock()
	p.wake()
}
