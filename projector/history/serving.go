package history

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// A serving is the work on one assignment.
type serving struct {
	*History
	partitions []int32
	changed    <-chan struct{}
	judges     map[int32]*judge // of the partitions that are open
	opened     []int32          // in intake and tail
	stopped    int              // partitions closed because of a newer kind
	passed     bool             // a block is in
	newer      error            // of the last of them; guarded by mu
}

// open begins to read partitions where they stand, up to an offset where until
// has one.
func (s *serving) open(ctx context.Context, standings map[int32]standing, until map[int32]int64) error {
	for partition, at := range standings {
		j := &judge{partition: partition, of: s.options.Partitions, next: at.next, keepEvery: s.keepEvery}
		if err := j.marks.UnmarshalBinary(at.marks); err != nil {
			return fmt.Errorf("marks of partition %d: %w", partition, err)
		}
		s.judges[partition] = j
	}
	if err := s.recall(ctx, standings); err != nil {
		return err
	}
	for partition, at := range standings {
		s.opened = append(s.opened, partition)
		s.intake.open(partition, at.next, until[partition])
		s.options.Tail.Assign(partition, at.next)
	}
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
	if err := s.open(ctx, standings, nil); err != nil {
		return err
	}
	s.well()
	// While a block is inserted the next one is made.
	preparing, stop := context.WithCancel(ctx)
	p := &preparer{serving: s, want: make(chan struct{}), block: make(chan *block), ended: make(chan struct{})}
	go p.run(preparing)
	defer func() {
		stop()
		<-p.ended
	}()
	for {
		b, err := p.next(ctx)
		if err != nil {
			return err
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
	partitions, _, _, _, _ := columns(p.spans)
	standings, err := s.plans.read(ctx, partitions)
	if err != nil {
		return err
	}
	until := make(map[int32]int64)
	for _, part := range p.spans {
		at := standings[part.partition]
		if at.next != part.first || at.block != id {
			return errFenced
		}
		until[part.partition] = part.next
	}
	if err := s.open(ctx, standings, until); err != nil {
		return err
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
	s.well()
	s.metrics.inserted(b)
	for _, part := range b.spans {
		_, highWater := s.intake.peek(part.partition, 0, 0)
		set(s.metrics.lag, part.partition, highWater-part.next)
	}
	b.release()
	return nil
}

// well notes that blocks go through, but for what stopped for good.
func (s *serving) well() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = s.newer
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
		s.log.Warn("block not acknowledged", "block", b.id, "rows", b.rows, "pause", pause, "err", err)
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
