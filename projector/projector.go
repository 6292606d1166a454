// Package projector folds the log of every account into Postgres: who is in
// whose roster, who is online now, which messages wait. What folded events
// cause elsewhere, in other histories and in outboxes, it commits beside them
// and then publishes, in order.
//
// One loop owns what is in memory. It folds what was fetched of all partitions
// into an open unit while the unit before is being committed, so that Postgres
// and the fold work at once, and load makes units larger, not more. Nobody is
// locked out: whoever projects a partition as well, or swaps the views, moves
// the offset that the next commit compares, and the loser forgets everything
// and loads it again.
package projector

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/store"
)

// Options configure a Projector. The zero value of a field means its default,
// where it has one.
type Options struct {
	Postgres   *pgxpool.Pool // migrated (schema/postgres); it uses three connections
	Partitions int           // of the topics account and outbox
	Tail       Tail          // of the topic account
	Appender   Appender
	Member     Member

	BatchRecords int           // most records in a unit; 5,000
	QueueBytes   int           // of records fetched and not yet folded; 64 MiB
	CacheRows    int           // of accounts kept in memory, about 300 bytes each; 1,000,000
	MaxReactions int           // committed and not yet acknowledged, above which nothing is folded; 20,000
	Tombstones   time.Duration // how long removed roster items are kept; 30 days

	// MessageExpiry is how long a message waits for somebody to take it; 30
	// days; negative: for ever.
	MessageExpiry time.Duration

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // nil for nowhere

	expireEvery time.Duration // how often inboxes are searched for messages to expire

	// fault, in tests, is asked before each step and ends Run if it gives an error.
	fault func(step string) error
}

func (o *Options) check() error {
	if o.Postgres == nil || o.Tail == nil || o.Appender == nil || o.Member == nil || o.Partitions <= 0 {
		return errors.New("projector: Postgres, Tail, Appender, Member and Partitions are required")
	}
	for _, d := range []struct {
		field *int
		usual int
	}{{&o.BatchRecords, 5000}, {&o.QueueBytes, 64 << 20}, {&o.CacheRows, 1_000_000}, {&o.MaxReactions, 20_000}} {
		if *d.field == 0 {
			*d.field = d.usual
		}
	}
	if o.Tombstones == 0 {
		o.Tombstones = 30 * 24 * time.Hour
	}
	if o.MessageExpiry == 0 {
		o.MessageExpiry = 30 * 24 * time.Hour
	}
	if o.expireEvery == 0 {
		o.expireEvery = min(max(o.MessageExpiry/100, time.Second), 10*time.Minute)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.fault == nil {
		o.fault = func(string) error { return nil }
	}
	return nil
}

// A Projector projects the partitions that its group gives it.
type Projector struct {
	o         Options
	store     *store.Store
	metrics   *metrics
	publisher *publisher

	wake    chan struct{} // holds one token while the loop may have something to do
	flights chan *flight
	landed  chan landing

	mu          sync.Mutex // guards the rest, and each part's queue
	wanted      []int32    // the assignment
	assigned    bool       // wanted is newer than what the loop has
	parts       map[int32]*part
	queuedBytes int
	room        chan struct{} // closed and made anew when queuedBytes falls
}

// A part is a partition that is being projected.
type part struct {
	number int32
	gone   chan struct{} // closed when it is given up

	// Guarded by Projector.mu.
	queue     []queued
	highWater int64
	newer     bool // the last of queue is of a newer kind: nothing more comes

	// Owned by the loop.
	fold   fold.Partition
	halted bool
	sent   int64     // Next as of the last unit that was sent
	day    time.Time // the last day that was noted
}

// A queued is a record that was read, or why the partition stops here.
type queued struct {
	record fold.Record
	newer  error
}

// New gives a projector. Run may be called once.
func New(o Options) (*Projector, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &Projector{o: o, store: store.New(o.Postgres), metrics: newMetrics(o.Registerer),
		wake: make(chan struct{}, 1), flights: make(chan *flight, 1), landed: make(chan landing, 1),
		parts: make(map[int32]*part), room: make(chan struct{})}
	p.publisher = newPublisher(o.Appender, o.Partitions, p.metrics, o.Logger, p.nudge)
	return p, nil
}

// Run projects until ctx ends (nil), the log does not have the offset that
// Postgres needs next (the views need a rebuild), or the log refuses service
// for good. While Postgres or the log is away it tries again.
func (p *Projector) Run(ctx context.Context) error {
	g, running := errgroup.WithContext(ctx)
	g.Go(func() error { return p.o.Member.Run(running, p.assign) })
	g.Go(func() error { return p.o.Tail.Run(running, p.take) })
	g.Go(func() error { return p.publisher.run(running) })
	g.Go(func() error { return p.commitAll(running) })
	g.Go(func() error { return p.expireAll(running) })
	g.Go(func() error { l := newLoop(p); return l.run(running) })
	err := g.Wait()
	if ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// nudge has the loop look whether there is something to do.
func (p *Projector) nudge() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// assign takes the whole assignment; the latest counts.
func (p *Projector) assign(_ context.Context, partitions []int32) {
	p.mu.Lock()
	p.wanted, p.assigned = partitions, true
	p.mu.Unlock()
	p.nudge()
}

// take decodes what was fetched and queues it, waiting while the queues are full.
func (p *Projector) take(ctx context.Context, b Batch) error {
	p.mu.Lock()
	at := p.parts[b.Partition]
	p.mu.Unlock()
	if at == nil {
		return nil
	}
	records, size := make([]queued, 0, len(b.Records)), 0
	for _, r := range b.Records {
		record, err := fold.Decode(b.Partition, r.Offset, r.Key, r.Value)
		records = append(records, queued{record, err})
		size += record.Size
		if err != nil {
			break
		}
	}
	for {
		p.mu.Lock()
		if at.newer {
			p.mu.Unlock()
			return nil
		}
		if p.queuedBytes == 0 || p.queuedBytes+size <= p.o.QueueBytes {
			select {
			case <-at.gone:
				p.mu.Unlock()
				return nil
			default:
			}
			at.queue = append(at.queue, records...)
			at.highWater = b.HighWater
			at.newer = records[len(records)-1].newer != nil
			p.queuedBytes += size
			p.mu.Unlock()
			p.nudge()
			return nil
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-at.gone:
			return nil
		case <-room:
		}
	}
}

// dequeue takes the first n records of at. The caller holds mu.
func (p *Projector) dequeue(at *part, n int) []queued {
	taken := at.queue[:n:n]
	for i := range taken {
		p.queuedBytes -= taken[i].record.Size
	}
	at.queue = at.queue[n:]
	if len(at.queue) == 0 {
		at.queue = nil
	}
	close(p.room)
	p.room = make(chan struct{})
	return taken
}

// A flight is a unit on its way to Postgres.
type flight struct {
	number uint64
	unit   *store.Unit
}

// A landing tells how a flight ended.
type landing struct {
	*flight
	err error
}

// commitAll commits unit after unit.
func (p *Projector) commitAll(ctx context.Context) error {
	for {
		var f *flight
		select {
		case <-ctx.Done():
			return nil
		case f = <-p.flights:
		}
		if err := p.o.fault("commit"); err != nil {
			return err
		}
		// A crash before this leaves nothing behind; after it, reactions that
		// whoever comes next publishes from Postgres.
		start := time.Now()
		err := p.store.Commit(ctx, f.unit)
		p.metrics.commit.Observe(time.Since(start).Seconds())
		if err == nil {
			if err := p.o.fault("committed"); err != nil {
				return err
			}
		}
		p.landed <- landing{flight: f, err: err}
		p.nudge()
		for _, a := range f.unit.Advances {
			if err == nil && !a.Day.IsZero() {
				p.purge(ctx, a.Partition)
			}
		}
	}
}

// purge deletes tombstones whose time is over; once a day for each partition.
func (p *Projector) purge(ctx context.Context, partition int32) {
	gone, err := p.store.PurgeTombstones(ctx, partition, time.Now(), p.o.Tombstones)
	if err != nil && ctx.Err() == nil {
		p.o.Logger.Warn("tombstones not purged, tomorrow again", "partition", partition, "err", err)
	} else if gone > 0 {
		p.o.Logger.Info("tombstones purged", "partition", partition, "items", gone)
	}
}
