package generate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// What a history wants of the log. The command hands in the event log's own
// client (ingest/eventlog) through an adapter.

// A Record is for the topic account.
type Record struct {
	Partition  int32
	Key, Value []byte
	Kind       string // for the header
}

// A Log is the topic account.
type Log interface {
	// Append queues a record and calls done once, with its offset or an error.
	// Of one partition records are stored in the order of the calls, perhaps
	// twice. It must take 20,000 records at once.
	Append(r Record, done func(offset int64, err error))
	// Read calls fn for every record that there is at the time of the call, of
	// a partition in order.
	Read(ctx context.Context, fn func(partition int32, offset int64, value []byte) error) error
	// Empty tells that there are no records.
	Empty(ctx context.Context) (bool, error)
}

// A Mode tells what to do with a log that has records.
type Mode int

// The modes.
const (
	Fresh  Mode = iota // give ErrNotEmpty
	Add                // add the history to what is there: a second time it would fold to nothing
	Resume             // go on with the history, which was cut short
)

// roundSteps is how many events are written between two times that all are
// answered. A message that is to be settled within its round is settled at the
// beginning of the next one, when its offset is known.
const roundSteps = 20_000

// IntoLog makes a history and appends its events, without their reactions, to a
// log of so many partitions. A projector that folds the log adds these.
func IntoLog(ctx context.Context, o Options, log Log, partitions int, mode Mode, progress *Progress) error {
	return intoLog(ctx, o, log, partitions, mode, progress, roundSteps)
}

func intoLog(ctx context.Context, o Options, log Log, partitions int, mode Mode, progress *Progress, steps int) error {
	if err := o.Check(); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	empty, err := log.Empty(ctx)
	if err == nil && !empty && mode == Fresh {
		err = fmt.Errorf("%w: the topic %s has records", ErrNotEmpty, topic.Account)
	}
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	s := newStory(&o, progress)
	w := &logWriter{log: log, most: steps, progress: progress, offsets: make(map[uint64]int64), sequence: make([]uint64, o.Edges)}
	for i := range s.people {
		w.names = append(w.names, s.people[i].bare)
		w.home = append(w.home, topic.Partition(s.people[i].bare, partitions))
	}
	if mode == Resume && !empty {
		if err := w.readBack(ctx, s.origins); err != nil {
			return fmt.Errorf("generate: read what is there: %w", err)
		}
	}
	if err := s.tell(ctx, w); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	return nil
}

// A place in a log: of an origin, in a partition.
type place struct {
	origin    string
	partition int32
}

// What stands for an offset.
const (
	unknown = -1 // the message is of this round
	settled = -2 // the message is there, and so is its Delivered
)

// A logWriter writes rounds of steps.
type logWriter struct {
	log      Log
	most     int // steps of a round
	progress *Progress
	names    []jid.Bare
	home     []int32
	sequence []uint64 // by edge: the last one

	round   []*step
	late    []*step          // that settle messages of this round
	offsets map[uint64]int64 // of the messages that are not settled, by number; see below
	count   int64

	// Of a history that goes on: the last sequence of each place, and by their
	// ids the offsets of messages that are not settled.
	there map[place]uint64
	found map[string]int64
}

// readBack finds out how much of the history is there.
func (w *logWriter) readBack(ctx context.Context, origins []string) error {
	w.there, w.found = make(map[place]uint64), make(map[string]int64)
	ours := make(map[string]bool)
	for _, origin := range origins {
		ours[origin] = true
	}
	type offsetIn struct {
		partition int32
		offset    int64
	}
	ids := make(map[offsetIn]string)
	strangers := 0
	err := w.log.Read(ctx, func(partition int32, offset int64, value []byte) error {
		e, err := event.Decode(value)
		if err != nil {
			return err
		}
		if !ours[e.GetOrigin()] {
			if !strings.HasPrefix(e.GetOrigin(), "p/") {
				strangers++
			}
			return nil
		}
		at := place{e.GetOrigin(), partition}
		if e.GetSequence() <= w.there[at] {
			return nil // a copy: the first is the one that counts
		}
		w.there[at] = e.GetSequence()
		switch k := e.GetKind().(type) {
		case *event.Event_MessageAccepted:
			if k.MessageAccepted.GetMessage().GetStorable() {
				w.found[string(e.GetId())] = offset
				ids[offsetIn{partition, offset}] = string(e.GetId())
			}
		case *event.Event_Delivered:
			of := offsetIn{partition, k.Delivered.GetOffset()}
			delete(w.found, ids[of])
			delete(ids, of)
		}
		return nil
	})
	if err == nil && len(w.there) == 0 && strangers > 0 {
		err = fmt.Errorf("%w: the topic %s has %d events, none of this history", ErrNotEmpty, topic.Account, strangers)
	}
	return err
}

func (w *logWriter) written() int64 { return w.count }

func (w *logWriter) put(ctx context.Context, s *step) error {
	if s.settles > 0 {
		if offset, known := w.offsets[s.settles]; known && offset == unknown {
			w.late = append(w.late, s)
			return nil
		}
	}
	if s.number > 0 {
		w.offsets[s.number] = unknown
	}
	w.round = append(w.round, s)
	if len(w.round) < w.most {
		return nil
	}
	return w.flush(ctx)
}

// flush writes the round and waits for all answers. A crash in here leaves any
// part of the round behind, of each partition the beginning: Resume goes on
// with the rest.
func (w *logWriter) flush(ctx context.Context) error {
	var (
		mu      sync.Mutex // guards the two below
		failed  error
		offsets = make(map[uint64]int64)
		wait    sync.WaitGroup
	)
	for _, s := range w.round {
		s.stamp(w.sequence)
		e := s.event
		at := place{e.GetOrigin(), w.home[s.account]}
		there := e.GetSequence() <= w.there[at]
		if s.settles > 0 {
			offset := w.offsets[s.settles]
			if offset < 0 && !there {
				return errors.New("a message that waits is there, and its offset is not")
			}
			e.GetDelivered().Offset = offset
			delete(w.offsets, s.settles)
		}
		w.count++
		if there {
			w.progress.skipped.Add(1)
			if s.number > 0 {
				if offset, ok := w.found[string(e.GetId())]; ok {
					w.offsets[s.number] = offset
					delete(w.found, string(e.GetId()))
				} else {
					w.offsets[s.number] = settled
				}
			}
			continue
		}
		value, err := event.Marshal(e)
		if err != nil {
			return err
		}
		wait.Add(1)
		w.log.Append(Record{Partition: at.partition, Key: []byte(w.names[s.account].String()), Value: value, Kind: event.KindOf(e).String()},
			func(offset int64, err error) {
				defer wait.Done()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil && failed == nil:
					failed = err
				case err == nil && s.number > 0:
					offsets[s.number] = offset
				}
			})
	}
	answered := make(chan struct{})
	go func() {
		wait.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
		return ctx.Err()
	}
	if failed != nil {
		return failed
	}
	maps.Copy(w.offsets, offsets)
	w.round, w.late = append(w.round[:0], w.late...), w.late[:0]
	return nil
}

func (w *logWriter) end(ctx context.Context) error {
	for len(w.round)+len(w.late) > 0 {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}
