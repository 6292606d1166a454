// Package history copies the topic account into ClickHouse: every record once,
// in blocks. A block is planned before it is inserted: the ranges of offsets
// that it has are committed to Postgres, then it is built from exactly these,
// inserted under a token that comes from the plan, and then the partitions move
// behind it, in one transaction that drops the plan. Whatever dies or times out
// in between, the same block goes again under the same token, and ClickHouse
// drops what it has of it.
//
// Positions are kept in Postgres and not in the consumer group, whose
// assignment is only a hint who works on what: a writer that is late is fenced
// by the positions. ClickHouse away means that nothing moves; the log keeps
// what comes, for 30 days in a cluster.
package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/schema/awaited"
	"github.com/rollcall/rollcall/schema/event"
)

// A History is the writer. Several may run at once, each in its process.
type History struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	plans   plans
	sink    sink
	intake  *intake

	mu         sync.Mutex    // guards the three below
	partitions []int32       // assigned, sorted; nil before the first assignment
	changed    chan struct{} // closed when that changes
	trouble    error         // why nothing moves

	sweepAtOnce int // messages whose contents one mutation takes out
	keepEvery   int // see judge

	// Tests only: called after a step with its name; an error is the step's.
	fault func(step string) error
}

// New gives a writer that does nothing yet.
func New(o Options) (*History, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.fill()
	m := newMetrics(o.Registerer)
	return &History{
		options: o,
		log:     o.Logger,
		metrics: m,
		plans:   plans{o.Postgres},
		sink:    newSink(o.ClickHouse, m.deleted),
		intake:  newIntake(o.MaxBytes),
		changed: make(chan struct{}),

		sweepAtOnce: sweepAtOnce,
		keepEvery:   keepEvery,

		fault: func(string) error { return nil },
	}, nil
}

// Run copies until ctx ends, and then returns nil. Postgres or ClickHouse away
// is waited for. It returns an error if the log lost records that were not
// copied yet, or if a block was planned by a newer version. Call it once.
func (h *History) Run(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return h.options.Member.Run(inner, h.assigned) })
	g.Go(func() error { return h.options.Tail.Run(inner, h.intake.take) })
	g.Go(func() error { return h.write(inner) })
	g.Go(func() error { return h.sweepAll(inner) })
	g.Go(func() error { return h.listen(inner) })
	if h.options.Starts != nil {
		g.Go(func() error { return h.watch(inner) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

// assigned notes the whole assignment.
func (h *History) assigned(_ context.Context, partitions []int32) {
	sorted := append([]int32{}, partitions...)
	slices.Sort(sorted)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.partitions != nil && slices.Equal(h.partitions, sorted) {
		return
	}
	h.partitions = sorted
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *History) assignment() ([]int32, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.partitions, h.changed
}

// Health gives nil while blocks go through, else what holds them up. A calm
// log is healthy.
func (h *History) Health() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trouble
}

func (h *History) note(trouble error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = trouble
}

// errChanged means that there is another assignment.
var errChanged = errors.New("history: another assignment")

// Pauses after a failure grow from the first to the last.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// write serves one assignment after the other. After any failure it forgets
// what is in memory and begins with what Postgres says.
func (h *History) write(ctx context.Context) error {
	pause := firstPause
	for ctx.Err() == nil {
		partitions, changed := h.assignment()
		if len(partitions) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		s := &serving{History: h, partitions: partitions, changed: changed, judges: make(map[int32]*judge)}
		err := s.run(ctx)
		s.closeAll()
		cause := "postgres"
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errChanged):
			h.metrics.restarts.WithLabelValues("assignment").Inc()
			pause = firstPause
			continue
		case errors.Is(err, event.ErrNewer), errors.Is(err, errShort):
			return err
		case errors.Is(err, errFenced):
			cause = "fenced"
		case errors.Is(err, errArchive):
			cause = "clickhouse"
		}
		if s.passed {
			pause = firstPause
		}
		h.note(err)
		h.metrics.restarts.WithLabelValues(cause).Inc()
		h.log.Warn("history begins again", "cause", cause, "pause", pause, "err", err)
		sleep(ctx, pause, changed)
		pause = min(2*pause, lastPause)
	}
	return nil
}

// sleep waits for d, for the end of ctx or for changed.
func sleep(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-t.C:
	}
}

// listen hears what is waited for, until ctx ends. Without Postgres nothing goes
// through anyway.
func (h *History) listen(ctx context.Context) error {
	for {
		err := awaited.Listen(ctx, h.options.Postgres, h.intake.await)
		if ctx.Err() != nil {
			return nil
		}
		h.log.Warn("not told what is waited for", "pause", lastPause, "err", err)
		sleep(ctx, lastPause, nil)
	}
}

// watch tells how far the first records that the log still has are from those
// that are not copied, every half minute.
func (h *History) watch(ctx context.Context) error {
	for {
		positions, err := Positions(ctx, h.options.Postgres)
		if err == nil {
			var starts map[int32]int64
			if starts, err = h.options.Starts(ctx); err == nil {
				for partition, start := range starts {
					set(h.metrics.retention, partition, positions[partition]-start)
				}
			}
		}
		if err != nil && ctx.Err() == nil {
			h.log.Warn("distance to the end of retention unknown", "err", err)
		}
		t := time.NewTimer(30 * time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}
