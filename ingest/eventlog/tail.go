package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TailOptions configure a Tail. The zero value of a field means its default.
type TailOptions struct {
	Brokers []string // host:port of some brokers
	Topic   string   // required

	// MaxWait is how long a broker may hold a poll that has nothing; 500 ms.
	// New records end the wait at once, and so do Assign and a move.
	MaxWait time.Duration
	// Pace is the least time from one poll of a broker to the next; 0. What is
	// appended meanwhile comes in one answer, so that a busy topic costs broker
	// and reader less; after a rest the first record comes at once.
	Pace time.Duration
	// MaxBytes and MaxPartitionBytes bound an answer and each partition's
	// share of it; 8 MiB and 1 MiB. Of each broker two answers at most are in
	// memory: one being handled, one waiting.
	MaxBytes          int
	MaxPartitionBytes int

	Logger *slog.Logger // default slog.Default()
	// Registerer is where metrics go until Run ends; nil for nowhere. A second
	// Tail of a topic in a process needs labels of its own
	// (prometheus.WrapRegistererWith).
	Registerer prometheus.Registerer
}

// A Batch is a run of records of one partition, in order.
type Batch struct {
	Partition int32
	Records   []Fetched // not empty
	HighWater int64     // the offset after the last record that all in-sync replicas have
}

// A Fetched is a record of a Batch. The slices of a batch share memory: who
// keeps one longer than the batch clones it.
type Fetched struct {
	Offset  int64
	Time    time.Time // when it was appended, by the clock of who appended it
	Key     []byte    // nil if it has none
	Value   []byte
	Headers []Header
}

// Header gives the value of the first header of that name, nil if there is none.
func (f *Fetched) Header(name string) []byte {
	for i := range f.Headers {
		if f.Headers[i].Key == name {
			return f.Headers[i].Value
		}
	}
	return nil
}

// ErrUnassign is what a handler returns, wrapped or not, to stop reading the
// partition of its batch; the Tail goes on with the others.
var ErrUnassign = errors.New("eventlog: unassign this partition")

// A Tail reads partitions of one topic from given offsets on, with one long
// poll for each broker that leads some of them. While a broker is away it
// keeps trying; Health tells. Its methods may be called from any goroutine.
type Tail struct {
	options TailOptions
	client  *client
	metrics *tailMetrics
	kick    chan struct{} // wakes the router; holds one

	mu       sync.Mutex
	parts    map[int32]*tailed
	pollers  map[int32]*poller // by broker
	handling *tailed           // whose batch the handler has
	handled  sync.Cond         // signals that handling changed
	problems map[int32]error   // by broker; noLeader for the layout
	started  bool
}

// tailed is a partition in one assignment of it; a new one takes its place
// when it is assigned again. It is guarded by the Tail's mu.
type tailed struct {
	partition int32
	next      int64 // to be fetched
	leader    int32
	attempts  int
	retryAt   time.Time
}

// NewTail gives a Tail with nothing assigned.
func NewTail(options TailOptions) (*Tail, error) {
	if options.Topic == "" {
		return nil, errors.New("eventlog: tail without a topic")
	}
	setDefault(&options.MaxWait, 500*time.Millisecond)
	setDefault(&options.MaxBytes, 8<<20)
	setDefault(&options.MaxPartitionBytes, 1<<20)
	setDefault(&options.Logger, slog.Default())
	c, err := newClient(options.Brokers, []string{options.Topic})
	if err != nil {
		return nil, err
	}
	t := &Tail{
		options:  options,
		client:   c,
		metrics:  newTailMetrics(options.Registerer, options.Topic),
		kick:     make(chan struct{}, 1),
		parts:    make(map[int32]*tailed),
		pollers:  make(map[int32]*poller),
		problems: make(map[int32]error),
	}
	t.handled.L = &t.mu
	return t, nil
}

// Assign has the Tail read partition from offset on. If it was assigned, its
// reading starts anew there; a call of the handler may still be under way.
func (t *Tail) Assign(partition int32, offset int64) {
	t.mu.Lock()
	t.parts[partition] = &tailed{partition: partition, next: offset, leader: noLeader}
	t.mu.Unlock()
	t.route()
}

// Unassign ends the reading of partition. When it returns, the handler has
// none of its records and gets no more. It must not be called by the handler
// itself, which returns ErrUnassign instead.
func (t *Tail) Unassign(partition int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.parts[partition]
	delete(t.parts, partition)
	t.metrics.unassigned(partition)
	for p != nil && t.handling == p {
		t.handled.Wait()
	}
}

// Health gives nil while every broker that leads an assigned partition
// answers, else what is wrong.
func (t *Tail) Health() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for broker, err := range t.problems {
		errs = append(errs, fmt.Errorf("broker %d: %w", broker, err))
	}
	return errors.Join(errs...)
}

// problem notes how the last talk with a broker ended. The caller holds mu.
func (t *Tail) problem(broker int32, err error) {
	if err == nil {
		delete(t.problems, broker)
	} else {
		t.problems[broker] = err
	}
	t.metrics.health(len(t.problems) == 0)
}

// Ends gives the offset after the last record of each partition of a topic.
func (t *Tail) Ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return t.offsets(ctx, topic, atEnd)
}

// Starts gives the first offset that each partition of a topic still has.
func (t *Tail) Starts(ctx context.Context, topic string) (map[int32]int64, error) {
	return t.offsets(ctx, topic, atStart)
}

func (t *Tail) offsets(ctx context.Context, topic string, at int64) (map[int32]int64, error) {
	if topic != t.options.Topic { // the tail's connections know only its own
		a, err := NewAdmin(t.options.Brokers)
		if err != nil {
			return nil, err
		}
		defer a.Close()
		return offsetsOf(ctx, a.client, topic, at)
	}
	return offsetsOf(ctx, t.client, topic, at)
}

// Partitions gives the number of partitions of the Tail's topic.
func (t *Tail) Partitions(ctx context.Context) (int, error) {
	return partitionsOf(ctx, t.client, t.options.Topic)
}

// A delivery is a batch on its way to the handler.
type delivery struct {
	from  *tailed
	batch Batch
}

// Run reads what is assigned and calls handle with each batch, one call at a
// time, of a partition in order, until ctx ends (nil), handle gives an error
// other than ErrUnassign, or a partition does not have the offset asked for
// (*OffsetError). It may be called once; the Tail is closed when it returns.
func (t *Tail) Run(ctx context.Context, handle func(context.Context, Batch) error) error {
	t.mu.Lock()
	if t.started {
		t.mu.Unlock()
		return errors.New("eventlog: tail runs already")
	}
	t.started = true
	t.mu.Unlock()

	inner, cancel := context.WithCancelCause(ctx)
	r := &tailRun{tail: t, ctx: inner, fail: cancel, deliveries: make(chan []delivery)}
	r.owned.Go(r.routes)
	err := r.deliver(handle)
	cancel(err)
	t.client.close() // ends the polls under way
	r.owned.Wait()
	t.metrics.close()
	return err
}

// Close frees a Tail that never ran.
func (t *Tail) Close() {
	t.client.close()
	t.metrics.close()
}

// tailRun is what lives as long as Run.
type tailRun struct {
	tail       *Tail
	ctx        context.Context
	fail       context.CancelCauseFunc // ends Run with an error
	deliveries chan []delivery
	owned      sync.WaitGroup
}

// deliver hands batches on until Run's end.
func (r *tailRun) deliver(handle func(context.Context, Batch) error) error {
	for {
		select {
		case <-r.ctx.Done():
			var offset *OffsetError
			if err := context.Cause(r.ctx); errors.As(err, &offset) {
				return err
			}
			return nil
		case ds := <-r.deliveries:
			for i := range ds {
				if r.ctx.Err() != nil {
					break
				}
				if err := r.tail.hand(r.ctx, &ds[i], handle); err != nil {
					return err
				}
			}
		}
	}
}

// hand calls the handler, unless the batch's assignment is over.
func (t *Tail) hand(ctx context.Context, d *delivery, handle func(context.Context, Batch) error) error {
	partition := d.batch.Partition
	t.mu.Lock()
	if t.parts[partition] != d.from {
		t.mu.Unlock()
		return nil
	}
	t.handling = d.from
	t.mu.Unlock()

	err := handle(ctx, d.batch)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.handling = nil
	t.handled.Broadcast()
	last := d.batch.Records[len(d.batch.Records)-1].Offset
	switch {
	case errors.Is(err, ErrUnassign):
		if t.parts[partition] == d.from {
			delete(t.parts, partition)
			t.metrics.unassigned(partition)
		}
		return nil
	case err != nil:
		return fmt.Errorf("handle %s/%d from %d to %d: %w",
			t.options.Topic, partition, d.batch.Records[0].Offset, last, err)
	}
	if t.parts[partition] == d.from {
		t.metrics.delivered(partition, len(d.batch.Records), d.batch.HighWater-last-1)
	}
	return nil
}

// route wakes the router.
func (t *Tail) route() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// routes gives each assigned partition to the poller of its leader.
func (r *tailRun) routes() {
	t := r.tail
	for n := 0; ; {
		known, err := t.client.layout(r.ctx, t.options.Topic)
		if r.ctx.Err() != nil {
			return
		}
		missing := err != nil
		t.mu.Lock()
		t.problem(noLeader, err)
		for _, p := range t.parts {
			leader := noLeader
			if err == nil {
				leader = known.leader(t.options.Topic, p.partition)
			}
			if leader == noLeader {
				missing = true
			}
			if leader == noLeader || leader == p.leader {
				continue
			}
			p.leader = leader
			to := t.pollers[leader]
			if to == nil {
				to = &poller{run: r, broker: leader, wake: make(chan struct{}, 1)}
				t.pollers[leader] = to
				r.owned.Go(to.poll)
			}
			to.interrupt()
		}
		t.mu.Unlock()

		var again <-chan time.Time
		if n++; !missing {
			n = 0
		} else {
			again = time.After(backoff(n))
		}
		select {
		case <-r.ctx.Done():
			return
		case <-t.kick:
		case <-again:
		}
	}
}
