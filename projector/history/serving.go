package history

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// A serving is the work on one assignment.
type serving struct {
	*History
	partitions []int32
	changed    <-chan struct{}
	judges     map[int32]*judge // of the partitions that are open
	opened     []int32          // in intake and tail
	stopped    int              // partitions closed because of a newer kind
	newer      error            // of the last of them
	passed     bool             // a block is in
}

func (s *serving) open(partition int32, at standing, until int64) error {
	j := &judge{partition: partition, of: s.options.Partitions, next: at.next}
	if err := j.marks.UnmarshalBinary(at.marks); err != nil {
		return fmt.Errorf("marks of partition %d: %w", partition, err)
	}
	s.judges[partition] = j
	s.opened = append(s.opened, partition)
	s.intake.open(partition, at.next, until)
	s.options.Tail.Assign(partition, at.next)
	return nil
}

func (s *serving) closeAll() {
	for _, partition := range s.opened {
		s.intake.close(partition)
	}
	for _, partition := range s.opened {
		s.options.Tail.Unassign(partition)
	}
	s.opened, s.judges = nil, make(map[int32]*judge)
	s.stopped = 0
	s.metrics.stopped.Set(0)
}

// run copies the assigned partitions until something fails or changes.
func (s *serving) run(ctx context.Context) error {
	standings, err := s.finish(ctx)
	if err != nil {
		return err
	}
	for _, partition := range s.partitions {
		if err := s.open(partition, standings[partition], 0); err != nil {
			return err
		}
	}
	s.note(nil)
	for {
		b, err := s.gather(ctx)
		if err != nil {
			return err
		}
		if len(b.spans) == 0 {
			continue
		}
		// A crash up to here leaves nothing behind.
		if err := s.plans.add(ctx, b.plan); err != nil {
			return err
		}
		if err := s.complete(ctx, b); err != nil {
			return err
		}
	}
}

// finish inserts and passes the blocks that are planned for the assigned
// partitions, and then gives where those stand.
func (s *serving) finish(ctx context.Context) (map[int32]standing, error) {
	for {
		standings, err := s.standings(ctx)
		if err != nil {
			return nil, err
		}
		open := uuid.UUID{}
		for _, at := range standings {
			if at.block != (uuid.UUID{}) {
				open = at.block
				break
			}
		}
		if open == (uuid.UUID{}) {
			return standings, nil
		}
		if err := s.again(ctx, open); err != nil {
			return nil, err
		}
	}
}

// standings gives where the assigned partitions stand. One that was never
// copied begins with the first record that the log has.
func (s *serving) standings(ctx context.Context) (map[int32]standing, error) {
	standings, err := s.plans.read(ctx, s.partitions)
	if err != nil || len(standings) == len(s.partitions) {
		return standings, err
	}
	var starts map[int32]int64
	if s.options.Starts != nil {
		if starts, err = s.options.Starts(ctx); err != nil {
			return nil, fmt.Errorf("first offsets of the log: %w", err)
		}
	}
	begin := make(map[int32]int64)
	for _, partition := range s.partitions {
		if _, known := standings[partition]; !known {
			begin[partition] = starts[partition]
			s.log.Info("partition is copied for the first time", "partition", partition, "offset", starts[partition])
		}
	}
	if err := s.plans.begin(ctx, begin); err != nil {
		return nil, err
	}
	return s.plans.read(ctx, s.partitions)
}

// again reads the records of a planned block and inserts it, though it may be
// in already. Some of its partitions may be another writer's now, which does
// the same: it is the same block, and one of the two is fenced when it passes it.
func (s *serving) again(ctx context.Context, id uuid.UUID) error {
	p, err := s.plans.block(ctx, id)
	if err != nil || len(p.spans) == 0 {
		return err
	}
	defer s.closeAll()
	partitions, _, _, _ := columns(p.spans)
	standings, err := s.plans.read(ctx, partitions)
	if err != nil {
		return err
	}
	for _, part := range p.spans {
		at := standings[part.partition]
		if at.next != part.first || at.block != id {
			return errFenced
		}
		if err := s.open(part.partition, at, part.next); err != nil {
			return err
		}
	}
	s.log.Info("block goes again", "block", id, "partitions", partitions)
	records := make(map[int32][]Fetched)
	for _, part := range p.spans {
		for !s.intake.reached(part.partition, part.next) {
			_, _, _, more := s.intake.size()
			if s.intake.reached(part.partition, part.next) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-s.changed:
				return errChanged
			case <-more:
			}
		}
		records[part.partition], _ = s.intake.peek(part.partition, int(part.next-part.first), int(^uint(0)>>1))
	}
	b, err := rebuild(p, s.judges, records)
	if err != nil {
		return err
	}
	s.metrics.again.Inc()
	return s.complete(ctx, b)
}

// complete inserts a block that is planned and passes it.
func (s *serving) complete(ctx context.Context, b *block) error {
	// A crash from here on leaves the plan behind, and perhaps some or all of
	// the block in ClickHouse; who opens one of its partitions inserts it again.
	if err := s.fault("planned"); err != nil {
		return err
	}
	if err := s.put(ctx, b); err != nil {
		return err
	}
	if err := s.plans.pass(ctx, b.plan); err != nil {
		return err
	}
	if err := s.fault("passed"); err != nil {
		return err
	}
	s.passed = true
	s.note(s.newer)
	s.metrics.inserted(b)
	for _, part := range b.spans {
		_, highWater := s.intake.peek(part.partition, 0, 0)
		set(s.metrics.lag, part.partition, highWater-part.next)
		s.intake.drop(part.partition, part.next)
	}
	return nil
}

// put inserts b and deletes the accounts that it deletes, again and again
// until ClickHouse has acknowledged both.
func (s *serving) put(ctx context.Context, b *block) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		start := time.Now()
		err := s.try(ctx, b)
		s.metrics.insert.Observe(time.Since(start).Seconds())
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.note(err)
		s.metrics.retries.Inc()
		s.log.Warn("block not acknowledged", "block", b.id, "rows", len(b.rows), "pause", pause, "err", err)
		sleep(ctx, pause, s.changed)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.changed:
			return errChanged
		default:
		}
	}
}

func (s *serving) try(ctx context.Context, b *block) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.InsertTimeout)
	defer cancel()
	if err := s.sink.insert(ctx, b); err != nil {
		return err
	}
	if err := s.fault("inserted"); err != nil {
		return err
	}
	return s.sink.forget(ctx, b)
}

// gather waits for records and gives a block of them: when the first has
// lingered, or when there are enough. It has no span if all that came is of a
// newer kind.
func (s *serving) gather(ctx context.Context) (*block, error) {
	for {
		rows, size, since, more := s.intake.size()
		wait := time.Hour
		if rows > 0 {
			wait = s.options.Linger - time.Since(since)
			if wait <= 0 || rows >= s.options.MaxRows || size >= s.options.MaxBytes {
				return s.build()
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-s.changed:
			t.Stop()
			return nil, errChanged
		case <-more:
		case <-t.C:
		}
		t.Stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// build makes a block of what is there, with a fair share for each partition.
func (s *serving) build() (*block, error) {
	b := &block{plan: plan{id: uuid.New()}}
	present, total := make(map[int32][]Fetched), 0
	var order []int32
	for partition := range s.judges {
		if records, _ := s.intake.peek(partition, s.options.MaxRows, s.options.MaxBytes); len(records) > 0 {
			present[partition] = records
			order = append(order, partition)
			total += len(records)
		}
	}
	b.rows = make([]row, 0, min(total, s.options.MaxRows+len(order)))
	// The smallest first: what they leave of their share is for the others.
	slices.SortFunc(order, func(x, y int32) int { return len(present[x]) - len(present[y]) })
	rows, size := s.options.MaxRows, s.options.MaxBytes
	for i, partition := range order {
		parts := len(order) - i
		records, _ := s.intake.peek(partition, max(rows/parts, 1), max(size/parts, 1))
		before := len(b.rows)
		part, err := b.add(s.judges[partition], records)
		if part.next > part.first {
			b.spans = append(b.spans, part)
		}
		switch {
		case errors.Is(err, event.ErrNewer):
			s.stop(partition, err)
		case err != nil:
			return nil, err
		}
		for _, r := range records[:len(b.rows)-before] {
			size -= cost(&r)
		}
		rows -= len(b.rows) - before
	}
	slices.SortFunc(b.spans, func(x, y span) int { return int(x.partition - y.partition) })
	return b, nil
}

// stop closes a partition at a record of a newer kind; the others go on.
func (s *serving) stop(partition int32, err error) {
	s.log.Error("partition stopped: run a newer version", "partition", partition, "err", err)
	s.intake.close(partition)
	s.options.Tail.Unassign(partition)
	s.opened = slices.DeleteFunc(s.opened, func(p int32) bool { return p == partition })
	delete(s.judges, partition)
	s.newer = err
	s.note(err)
	s.stopped++
	s.metrics.stopped.Set(float64(s.stopped))
}
