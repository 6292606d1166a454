package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/schema/topic"
)

// Options configure an Appender. The zero value of a field means its default.
type Options struct {
	Brokers []string // host:port of some brokers; the others are learnt
	Topics  []string // the topics it may write to; default account, outbox and dead-letter

	// Timeout is how long a record may wait to be stored before it fails
	// with ErrUnavailable; 10 s.
	Timeout time.Duration
	// RequestTimeout is how long one request may take before its connection
	// is given up; a third of Timeout.
	RequestTimeout time.Duration
	// MaxQueuedBytes and MaxQueuedRecords bound what is accepted and not yet
	// settled; 64 MiB and 200,000. What is kept may fill as much again.
	MaxQueuedBytes   int
	MaxQueuedRecords int
	// MaxBatchBytes bounds a partition's share of a request, and a record;
	// 900,000, which is below what brokers take by default.
	MaxBatchBytes int

	Logger *slog.Logger // default slog.Default()
	// Registerer is where metrics go while it runs; nil for nowhere. A second
	// one in a process needs labels of its own (prometheus.WrapRegistererWith).
	Registerer prometheus.Registerer
}

const maxRequestBytes = 16 << 20 // of all partitions together

func (o *Options) check() error {
	if len(o.Topics) == 0 {
		o.Topics = []string{topic.Account, topic.Outbox, topic.DeadLetter}
	}
	setDefault(&o.Timeout, 10*time.Second)
	setDefault(&o.RequestTimeout, o.Timeout/3)
	setDefault(&o.MaxQueuedBytes, 64<<20)
	setDefault(&o.MaxQueuedRecords, 200_000)
	setDefault(&o.MaxBatchBytes, 900_000)
	setDefault(&o.Logger, slog.Default())
	if o.RequestTimeout >= o.Timeout {
		return errors.New("eventlog: RequestTimeout must be shorter than Timeout")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// An Appender writes records to the log. What is queued for a broker while a
// request to it is under way goes in the next one; a lone record goes at
// once. Per partition nothing is sent before everything earlier is answered,
// whichever broker leads it, so a partition's records are stored in the order
// of Append, except that a request whose answer was lost may be stored twice
// or late. Its methods may be called from any goroutine.
type Appender struct {
	options Options
	client  *client
	metrics *appendMetrics
	done    settler
	kick    chan struct{} // wakes Run's loop; holds one

	mu      sync.Mutex
	lanes   map[laneKey]*lane
	senders map[int32]*sender // by broker
	parked  []*lane           // wait for their time to try again
	bytes   int               // queued or under way
	records int
	armed   bool // the loop wakes when the oldest record's time is over
	closed  bool
	idle    chan struct{} // closed when records comes to 0; nil if nobody waits

	running context.Context // Run's, for senders; nil before Run
	owned   sync.WaitGroup  // senders' goroutines
}

// New gives an Appender. Records may be queued at once; they are sent while
// Run runs.
func New(options Options) (*Appender, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	c, err := newClient(options.Brokers, options.Topics)
	if err != nil {
		return nil, err
	}
	a := &Appender{
		options: options,
		client:  c,
		kick:    make(chan struct{}, 1),
		lanes:   make(map[laneKey]*lane),
		senders: make(map[int32]*sender),
	}
	a.done.wake = make(chan struct{}, 1)
	a.metrics = newAppendMetrics(options.Registerer, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return float64(a.bytes)
	})
	return a, nil
}

// Append queues r. Done is called exactly once: with the record's position
// once all in-sync replicas have it, or with one of this package's errors.
// With keep the record never gets ErrUnavailable: it is tried until it is
// stored, or the process ends.
//
// Done runs on a goroutine that all records share, so it must be quick and
// never wait; of a partition, records are told of in the order of Append,
// except those whose time is over.
func (a *Appender) Append(r Record, keep bool, done func(topic.Position, error)) {
	a.append(r, keep, false, done)
}

// TryAppend is Append for who can wait until others have gone: if the queue is
// full it gives false, and done is not called.
func (a *Appender) TryAppend(r Record, keep bool, done func(topic.Position, error)) bool {
	return a.append(r, keep, true, done)
}

func (a *Appender) append(r Record, keep, waits bool, done func(topic.Position, error)) bool {
	now := time.Now()
	size := r.size()
	a.mu.Lock()
	l := a.lane(r.Topic, r.Partition)
	if err := a.admit(&r, size, keep); err != nil {
		if waits && err == ErrFull {
			a.mu.Unlock()
			return false
		}
		l.breakChain(r.Chain)
		a.done.add(completion{done, topic.Position{Topic: r.Topic, Partition: r.Partition, Offset: -1}, err})
		a.mu.Unlock()
		a.metrics.failed(err)
		return true
	}
	a.bytes += size
	a.records++
	l.queue = append(l.queue, entry{record: r, size: size, keep: keep, queued: now, done: done})
	kick := !l.busy && a.ready(l)
	if !keep && !a.armed {
		a.armed, kick = true, true
	}
	a.mu.Unlock()
	if kick {
		a.wake()
	}
	return true
}

// admit tells whether a record may be queued. The caller holds mu.
func (a *Appender) admit(r *Record, size int, keep bool) error {
	room := 1
	if keep {
		room = 2
	}
	switch {
	case a.closed:
		return ErrClosed
	case r.Chain.brokenIn(laneKey{r.Topic, r.Partition}):
		return ErrBroken
	case size > a.options.MaxBatchBytes:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrRefused, size, a.options.MaxBatchBytes)
	case a.bytes+size > room*a.options.MaxQueuedBytes, a.records >= room*a.options.MaxQueuedRecords:
		return ErrFull
	}
	return nil
}

func (a *Appender) lane(topic string, partition int32) *lane {
	key := laneKey{topic, partition}
	l := a.lanes[key]
	if l == nil {
		l = &lane{laneKey: key, leader: noLeader}
		a.lanes[key] = l
	}
	return l
}

// ready hands a lane that has records and is not busy to the sender of its
// leader, or parks it to look the leader up. It tells whether the loop must
// be woken. The caller holds mu.
func (a *Appender) ready(l *lane) bool {
	l.busy = true
	if l.leader == noLeader || a.running == nil {
		l.retryAt = time.Now()
		a.parked = append(a.parked, l)
		return true
	}
	s := a.senders[l.leader]
	if s == nil {
		s = &sender{appender: a, broker: l.leader, wake: make(chan struct{}, 1)}
		a.senders[l.leader] = s
		a.owned.Go(func() { s.run(a.running) })
	}
	s.ready = append(s.ready, l)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return false
}

// park puts a busy lane aside after a failed attempt. The caller holds mu.
func (a *Appender) park(l *lane) {
	l.attempts++
	l.leader = noLeader
	l.retryAt = time.Now().Add(backoff(l.attempts))
	a.parked = append(a.parked, l)
}

func (a *Appender) wake() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// Run sends what is queued until ctx ends. Then what is not settled gets
// ErrClosed, and so does everything after. Run may be called once.
func (a *Appender) Run(ctx context.Context) error {
	var callbacks sync.WaitGroup
	ended := make(chan struct{})
	callbacks.Go(func() { a.done.run(ended) })

	a.mu.Lock()
	a.running = ctx
	a.mu.Unlock()
	a.loop(ctx)

	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.client.close()
	a.owned.Wait()
	a.mu.Lock()
	for _, l := range a.lanes {
		a.fail(l, ErrClosed)
	}
	a.mu.Unlock()
	close(ended)
	callbacks.Wait()
	a.metrics.close()
	return nil
}

// loop gives up records whose time is over and revives parked lanes.
func (a *Appender) loop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var expiry time.Time // when the oldest record's time is over, zero if unknown
	for {
		now := time.Now()
		if !expiry.After(now) {
			expiry = a.expire(now)
		}
		next := expiry
		if due := a.revive(ctx, now); !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return
		case <-a.kick:
		case <-timer.C:
		}
	}
}

// revive looks up the leaders of the parked lanes whose time has come and
// hands them on. It gives when it must be called again, zero for never.
func (a *Appender) revive(ctx context.Context, now time.Time) time.Time {
	var due []*lane
	a.mu.Lock()
	rest := a.parked[:0]
	for _, l := range a.parked {
		if l.retryAt.After(now) {
			rest = append(rest, l)
		} else {
			due = append(due, l)
		}
	}
	clear(a.parked[len(rest):])
	a.parked = rest
	a.mu.Unlock()

	var known layout
	var err error
	if len(due) > 0 {
		// Only before the brokers' first answer can this wait, and it must
		// not: the loop also keeps the records' time.
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		known, err = a.client.layout(short, a.options.Topics...)
		cancel()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range due {
		if l.leader = noLeader; err == nil {
			l.leader = known.leader(l.topic, l.partition)
		}
		if l.leader == noLeader {
			a.park(l)
		} else {
			a.ready(l)
		}
	}
	var next time.Time
	for _, l := range a.parked {
		if next.IsZero() || l.retryAt.Before(next) {
			next = l.retryAt
		}
	}
	return next
}

// Flush waits until nothing is queued or under way, or ctx ends.
func (a *Appender) Flush(ctx context.Context) error {
	a.mu.Lock()
	if a.records == 0 {
		a.mu.Unlock()
		return nil
	}
	if a.idle == nil {
		a.idle = make(chan struct{})
	}
	idle := a.idle
	a.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Queued gives the bytes that are queued or under way, by which an edge can
// tell that it takes more than the log does.
func (a *Appender) Queued() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bytes
}
