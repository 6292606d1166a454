package httpapi

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// How far from a try's beginning its records may lie in the log: clocks differ,
// and an append has a while.
const (
	foundBefore = 5 * time.Second
	foundAfter  = 30 * time.Second
)

// found looks in the log for what earlier tries of a request appended. It fills
// in the results of those recipients whose message is there, and gives the others.
func (s *Server) found(ctx context.Context, c *call, those []recipient, results []result) ([]recipient, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	wanted := make(map[uuid.UUID]recipient, len(those))
	partitions := make(map[int32]bool)
	for _, r := range those {
		wanted[r.id] = r
		partitions[topic.Partition(r.to.Bare(), s.opts.Partitions)] = true
	}
	offsets, err := s.look(ctx, partitions, c.began.Add(-foundBefore), c.last.Add(foundAfter), func(e *event.Event) bool {
		_, ok := wanted[event.ID(e)]
		return ok
	})
	if err != nil {
		return nil, fmt.Errorf("look for an earlier try: %w", err)
	}
	left := those[:0:0]
	for _, r := range those {
		if offset, ok := offsets[r.id]; ok {
			results[r.place].accept(r.id, offset)
		} else {
			left = append(left, r)
		}
	}
	return left, nil
}

// look reads the partitions from one time to another and gives the first offset
// of each event that is wanted, by its id.
func (s *Server) look(ctx context.Context, partitions map[int32]bool, from, until time.Time, wanted func(*event.Event) bool) (map[uuid.UUID]int64, error) {
	starts, err := s.opts.Offsets.At(ctx, topic.Account, from)
	if err != nil {
		return nil, err
	}
	ends, err := s.opts.Offsets.At(ctx, topic.Account, until)
	if err != nil {
		return nil, err
	}
	open := make(map[int32]bool)
	for p := range partitions {
		if starts[p] < ends[p] {
			open[p] = true
		}
	}
	offsets := make(map[uuid.UUID]int64)
	if len(open) == 0 {
		return offsets, nil
	}
	tail, err := s.opts.Tail()
	if err != nil {
		return nil, err
	}
	for p := range open {
		tail.Assign(p, starts[p])
	}
	errDone := errors.New("done")
	err = tail.Run(ctx, func(_ context.Context, b eventlog.Batch) error {
		for i := range b.Records {
			record := &b.Records[i]
			if record.Offset >= ends[b.Partition] {
				break
			}
			e, err := event.Decode(record.Value)
			if err != nil {
				continue // a dead letter
			}
			if id := event.ID(e); e.GetMessageAccepted() != nil && wanted(e) {
				if _, twice := offsets[id]; !twice {
					offsets[id] = record.Offset
				}
			}
		}
		if last := b.Records[len(b.Records)-1].Offset; last+1 >= ends[b.Partition] {
			delete(open, b.Partition)
			if len(open) == 0 {
				return errDone
			}
			return eventlog.ErrUnassign
		}
		return nil
	})
	if errors.Is(err, errDone) {
		err = nil
	} else if err == nil {
		err = ctx.Err()
	}
	return offsets, err
}
