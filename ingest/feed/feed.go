// Package feed tells of presence as it changes, live and from any position on
// that the log still has. A Hub folds the topic account in memory and hands
// what changed to its streams. A stream that goes on from an older position
// folds the log anew from a checkpoint before it, then joins the Hub, so that
// it hears every change once, whichever process told it the changes before.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/watch"
)

// Options configure a Hub. The zero value of a field means its default.
type Options struct {
	Postgres   *pgxpool.Pool
	Brokers    []string
	Offsets    *eventlog.Admin
	Partitions int // of the topic account

	// CheckpointEvery is how many records of a partition lie between two
	// checkpoints; 20,000. A stream folds as many before the first that it tells.
	CheckpointEvery int64
	// MaxChanges and MaxBytes bound what waits for one stream; 2,000 and 1 MiB.
	MaxChanges int
	MaxBytes   int

	Logger     *slog.Logger // default slog.Default()
	Registerer prometheus.Registerer
}

func (o *Options) check() error {
	if o.Postgres == nil || o.Offsets == nil || len(o.Brokers) == 0 || o.Partitions < 1 {
		return errors.New("feed: Postgres, Brokers, Offsets and Partitions must be set")
	}
	setDefault(&o.CheckpointEvery, 20_000)
	setDefault(&o.MaxChanges, 2_000)
	setDefault(&o.MaxBytes, 1<<20)
	setDefault(&o.Logger, slog.Default())
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// The ways in which a stream cannot begin, or ends.
var (
	// ErrStarting tells that the Hub does not know the present yet.
	ErrStarting = errors.New("feed: still starting")
	// ErrSlow tells that a stream was not read as fast as things changed.
	ErrSlow = errors.New("feed: reader is too slow")
	// ErrStopped tells that the Hub runs no more, or cannot read a partition.
	ErrStopped = errors.New("feed: stopped")
	// ErrAhead tells that a position is not in the log yet: it is of another one.
	ErrAhead = errors.New("feed: position is ahead of the log")
)

// A TooOldError tells that the log, or what is kept beside it, does not reach
// back to a position.
type TooOldError struct {
	Partition    int32
	Asked, First int64 // offsets; from First on changes can be told
}

// Error names the offsets.
func (e *TooOldError) Error() string {
	return fmt.Sprintf("feed: position %d:%d is too old: changes are told from %d:%d on", e.Partition, e.Asked, e.Partition, e.First)
}

// A Hub follows the topic account. Its methods may be called from any goroutine.
type Hub struct {
	options    Options
	metrics    *metrics
	partitions []*partition
	save       chan checkpoint

	loading int           // partitions that have not reached the end that Run found; its own
	loaded  chan struct{} // closed when the present is known: none is left
	stopped chan struct{} // closed when Run has ended
}

// A partition is the present of one partition, and who hears of it.
type partition struct {
	mu      sync.Mutex
	fold    *watch.Partition // nil before the Hub has loaded
	end     int64            // of the log as Run found it; its own
	saved   int64            // next offset of the newest checkpoint that this process tried to save
	broken  error            // why nothing more is read
	account map[string]map[*Stream]struct{}
	domain  map[string]map[*Stream]struct{}
}

// New gives a Hub, to be run.
func New(o Options) (*Hub, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	h := &Hub{options: o, partitions: make([]*partition, o.Partitions), save: make(chan checkpoint, 1),
		loaded: make(chan struct{}), stopped: make(chan struct{})}
	for n := range h.partitions {
		h.partitions[n] = &partition{account: make(map[string]map[*Stream]struct{}), domain: make(map[string]map[*Stream]struct{})}
	}
	h.metrics = newMetrics(o.Registerer, h)
	return h, nil
}

// Run follows the log until ctx ends (nil) or the log does not have what comes
// next. It may be called once; its streams end with it.
func (h *Hub) Run(ctx context.Context) error {
	defer h.metrics.close()
	defer h.stop()
	ctx, cancel := context.WithCancel(ctx)
	var saving sync.WaitGroup
	defer saving.Wait()
	defer cancel()
	saving.Go(func() { h.saves(ctx) })

	tail, err := h.tail()
	if err != nil {
		return err
	}
	folds, err := h.load(ctx)
	if err != nil {
		tail.Close()
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ends, err := h.options.Offsets.Ends(ctx, topic.Account)
	if err != nil {
		tail.Close()
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("find the end of the log: %w", err)
	}
	h.loading = len(folds)
	for n, fold := range folds {
		h.firstCheckpoint(ctx, fold)
		p := h.partitions[n]
		p.mu.Lock()
		p.fold, p.end, p.saved = fold, ends[int32(n)], fold.Next
		h.reached(p)
		p.mu.Unlock()
		tail.Assign(int32(n), fold.Next)
	}
	return tail.Run(ctx, h.batch)
}

// reached notes that p has reached the end that Run found. The caller holds mu.
func (h *Hub) reached(p *partition) {
	if p.end < 0 || p.fold.Next < p.end && p.broken == nil {
		return
	}
	p.end = -1
	if h.loading--; h.loading == 0 {
		close(h.loaded)
	}
}

// pace is how often the log is polled at most.
const pace = 10 * time.Millisecond

// tail gives a reader of the topic account without metrics: of these there may
// be many.
func (h *Hub) tail() (*eventlog.Tail, error) {
	return eventlog.NewTail(eventlog.TailOptions{Brokers: h.options.Brokers, Topic: topic.Account, Pace: pace, Logger: h.options.Logger})
}

// Health gives nil while the Hub knows the present of every partition.
func (h *Hub) Health() error {
	select {
	case <-h.stopped:
		return ErrStopped
	case <-h.loaded:
	default:
		return ErrStarting
	}
	for _, p := range h.partitions {
		p.mu.Lock()
		err := p.broken
		p.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Online gives how many accounts are online, and with how many resources, and
// up to which offset of each partition that is known.
func (h *Hub) Online() (accounts, resources int, at Vector, err error) {
	if err := h.Health(); err != nil {
		return 0, 0, nil, err
	}
	at = make(Vector, len(h.partitions))
	for n, p := range h.partitions {
		p.mu.Lock()
		a, r := p.fold.Online()
		at[int32(n)] = Mark{Offset: p.fold.Next - 1}
		p.mu.Unlock()
		accounts, resources = accounts+a, resources+r
	}
	return accounts, resources, at, nil
}

// decode reads a record, nil if it cannot be read.
func decode(n int32, r *eventlog.Fetched) (*event.Event, error) {
	e, err := event.Decode(r.Value)
	if errors.Is(err, event.ErrNewer) {
		return nil, fmt.Errorf("decode %s: %w", topic.Position{Topic: topic.Account, Partition: n, Offset: r.Offset}, err)
	}
	return e, nil
}

// batch folds what the tail delivers and tells of it.
func (h *Hub) batch(ctx context.Context, b eventlog.Batch) error {
	p := h.partitions[b.Partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range b.Records {
		r := &b.Records[i]
		e, err := decode(b.Partition, r)
		if err != nil {
			h.options.Logger.Error("partition stopped", "partition", b.Partition, "offset", r.Offset, "err", err)
			p.broken = err
			h.reached(p)
			p.over(fmt.Errorf("%w: %w", ErrStopped, err))
			return eventlog.ErrUnassign
		}
		for _, c := range p.fold.Apply(r.Offset, string(r.Key), e) {
			p.tell(c)
		}
	}
	h.reached(p)
	h.checkpoint(p)
	return nil
}

// stop ends every stream.
func (h *Hub) stop() {
	close(h.stopped)
	for _, p := range h.partitions {
		p.mu.Lock()
		if p.broken == nil { // for who joins from now on
			p.broken = errors.New("the log is read no more")
		}
		p.over(ErrStopped)
		p.mu.Unlock()
	}
}

// tell hands a change to the streams that want it. The caller holds mu.
func (p *partition) tell(c watch.Change) {
	for s := range p.account[c.Account] {
		s.hear(c)
	}
	for s := range p.domain[domainOf(c.Account)] {
		s.hear(c)
	}
}

// over ends every stream. The caller holds mu.
func (p *partition) over(err error) {
	for _, streams := range []map[string]map[*Stream]struct{}{p.account, p.domain} {
		for _, of := range streams {
			for s := range of {
				s.queue.fail(err)
			}
		}
	}
}

// join has s hear of the partition. The caller holds mu.
func (p *partition) join(s *Stream) {
	of, name := p.listeners(s)
	if of[name] == nil {
		of[name] = make(map[*Stream]struct{})
	}
	of[name][s] = struct{}{}
	if p.broken != nil {
		s.queue.fail(fmt.Errorf("%w: %w", ErrStopped, p.broken))
	}
}

// leave undoes join.
func (p *partition) leave(s *Stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, name := p.listeners(s)
	delete(of[name], s)
	if len(of[name]) == 0 {
		delete(of, name)
	}
}

func (p *partition) listeners(s *Stream) (map[string]map[*Stream]struct{}, string) {
	if s.filter.Account != "" {
		return p.account, s.filter.Account
	}
	return p.domain, s.filter.Domain
}

// await waits until the Hub knows the present, as long as ctx lasts.
func (h *Hub) await(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	select {
	case <-h.loaded:
	case <-h.stopped:
	case <-wait.Done():
		return errors.Join(ErrStarting, ctx.Err())
	}
	select { // it may have been both
	case <-h.stopped:
		return ErrStopped
	default:
		return nil
	}
}

// startWait is how long a stream waits for a Hub that starts.
const startWait = 3 * time.Second
