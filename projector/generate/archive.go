package generate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/history"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// ErrNotEmpty tells that there is something where a history is to go.
var ErrNotEmpty = errors.New("generate: not empty")

// blockRows is how many rows an INSERT has: one part in ClickHouse, as History
// makes them.
const blockRows = 50_000

// IntoArchive makes a history, with its reactions and the offsets that a log of
// so many partitions would give to both, and writes it to a ClickHouse database
// that is migrated and into which nobody else writes: a log of its own would
// have the same offsets. It gives ErrNotEmpty if there are events, unless resume
// is set and they are of the same history, cut short: then it goes on where
// that ended.
func IntoArchive(ctx context.Context, o Options, conn clickhouse.Conn, partitions int, resume bool, progress *Progress) error {
	return intoArchive(ctx, o, conn, partitions, resume, progress, blockRows)
}

func intoArchive(ctx context.Context, o Options, conn clickhouse.Conn, partitions int, resume bool, progress *Progress, rows int) error {
	if err := o.Check(); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	if partitions < 1 || partitions > 10_000 {
		return fmt.Errorf("generate: %d partitions: say 1 to 10000", partitions)
	}
	there, err := present(ctx, conn, &o, partitions, resume)
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	s := newStory(&o, progress)
	g, ctx := errgroup.WithContext(ctx)
	cut, judged := make(chan cutBlock, 1), make(chan history.Load)
	loader := history.NewLoader(conn, partitions)
	g.Go(func() error {
		defer close(cut)
		return s.tell(ctx, newArchive(s, partitions, rows, func(ctx context.Context, b cutBlock) error {
			select {
			case cut <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
	})
	g.Go(func() error {
		defer close(judged)
		for b := range cut {
			// It is judged in any case, for the marks.
			load, err := loader.Judge(b.id, b.records)
			if err != nil {
				return err
			}
			if b.before(there) {
				progress.skipped.Add(int64(b.rows))
				load.Done()
				continue
			}
			select {
			case judged <- load:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		for load := range judged {
			// A crash in here leaves a block in some tables and not in others.
			// It is the last that is there, so the next run inserts it again.
			err := loader.Insert(ctx, load)
			load.Done()
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	return nil
}

// present gives the highest offset of each partition that is there, -1 if none.
func present(ctx context.Context, conn clickhouse.Conn, o *Options, partitions int, resume bool) ([]int64, error) {
	highest := make([]int64, partitions)
	for p := range highest {
		highest[p] = -1
	}
	rows, err := conn.Query(ctx, "SELECT partition, toInt64(max(offset)) FROM events GROUP BY partition")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var partition int32
		var offset int64
		if err := rows.Scan(&partition, &offset); err != nil {
			return nil, err
		}
		if !resume {
			return nil, fmt.Errorf("%w: the table events has rows", ErrNotEmpty)
		}
		if int(partition) >= partitions {
			return nil, fmt.Errorf("%w: the table events has rows of partition %d, and this history has %d partitions", ErrNotEmpty, partition, partitions)
		}
		highest[partition] = offset
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var others uint64
	err = conn.QueryRow(ctx, "SELECT count() FROM events WHERE NOT startsWith(origin, 'p/') AND NOT endsWith(origin, ?)",
		fmt.Sprintf("/%d", o.fingerprint())).Scan(&others)
	if err == nil && others > 0 {
		err = fmt.Errorf("%w: the table events has %d rows that are not of this history", ErrNotEmpty, others)
	}
	return highest, err
}

// A cutBlock is the records of a block, by partition.
type cutBlock struct {
	id      uuid.UUID
	rows    int
	records [][]history.Fetched
	next    []int64 // by partition: the first offset after it
}

// before tells whether something after b is there, and so all of b.
func (b *cutBlock) before(there []int64) bool {
	for p := range there {
		if there[p] >= b.next[p] {
			return true
		}
	}
	return false
}

// An archive is a log in which a projector's fold answers each event at once.
type archive struct {
	fingerprint uint64
	partitions  []fold.Partition
	states      []*account.State // by account
	home        []int32          // by account: its partition
	index       map[string]int32 // of an account
	waiting     map[uint64]int64 // offsets of the messages that are not delivered, by number
	sequence    []uint64         // by edge: the last one
	queue       []pending

	rows   int64
	blocks uint64
	most   int // rows of a block, but for the reactions to its last event
	block  cutBlock
	cut    func(context.Context, cutBlock) error
}

// pending is an event that waits for its place in the log.
type pending struct {
	account int32
	event   *event.Event
	value   []byte
	number  uint64
}

func newArchive(s *story, partitions, most int, cut func(context.Context, cutBlock) error) *archive {
	a := &archive{fingerprint: s.epoch, index: make(map[string]int32, len(s.people)), waiting: make(map[uint64]int64),
		sequence: make([]uint64, len(s.origins)), most: most, cut: cut}
	for p := range int32(partitions) {
		a.partitions = append(a.partitions, fold.Partition{Number: p, Of: partitions})
	}
	for i := range s.people {
		b := s.people[i].bare
		a.states = append(a.states, account.New(b))
		a.home = append(a.home, topic.Partition(b, partitions))
		a.index[b.String()] = int32(i)
	}
	a.begin()
	return a
}

// begin begins a block. Its id depends on the history and its place in it.
func (a *archive) begin() {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], a.fingerprint)
	binary.BigEndian.PutUint64(id[8:], a.blocks)
	a.blocks++
	a.block = cutBlock{id: id, records: make([][]history.Fetched, len(a.partitions)), next: make([]int64, len(a.partitions))}
}

func (a *archive) written() int64 { return a.rows }

func (a *archive) put(ctx context.Context, s *step) error {
	if d := s.event.GetDelivered(); d != nil {
		d.Offset = a.waiting[s.settles]
		delete(a.waiting, s.settles)
	}
	s.stamp(a.sequence)
	value, err := event.Marshal(s.event)
	if err != nil {
		return err
	}
	a.queue = append(a.queue, pending{s.account, s.event, value, s.number})
	for i := 0; i < len(a.queue); i++ { // it grows
		next := a.queue[i]
		if err := a.append(&next); err != nil {
			return err
		}
	}
	clear(a.queue)
	a.queue = a.queue[:0]
	if a.block.rows >= a.most {
		return a.finish(ctx)
	}
	return nil
}

// append gives an event its place, folds it and queues its reactions.
func (a *archive) append(e *pending) error {
	home, state := a.home[e.account], a.states[e.account]
	p := &a.partitions[home]
	key := state.Account.String()
	r := fold.Record{Offset: p.Next, Key: key, Size: len(key) + len(e.value), Event: e.event}
	p.Next++
	if e.number > 0 {
		a.waiting[e.number] = r.Offset
	}
	a.block.records[home] = append(a.block.records[home], history.Fetched{
		Offset: r.Offset, Time: time.UnixMicro(e.event.GetAt()).UTC(), Key: []byte(key), Value: e.value,
	})
	a.block.rows++
	a.rows++
	if !p.Admit(&r) {
		return fmt.Errorf("event of %s at offset %d of partition %d is taken for a copy", key, r.Offset, home)
	}
	reactions, err := p.Apply(&r, state)
	if err != nil {
		return err
	}
	state.Changes.Reset()
	for i := range reactions {
		if reactions[i].Topic != topic.Account {
			continue // an outbox is not kept
		}
		to, ok := a.index[string(reactions[i].Key)]
		if !ok {
			return fmt.Errorf("reaction for %s, which is not of this history", reactions[i].Key)
		}
		decoded, err := event.Decode(reactions[i].Record)
		if err != nil {
			return err
		}
		a.queue = append(a.queue, pending{account: to, event: decoded, value: reactions[i].Record})
	}
	return nil
}

// finish cuts the block.
func (a *archive) finish(ctx context.Context) error {
	for p := range a.partitions {
		a.block.next[p] = a.partitions[p].Next
	}
	if err := a.cut(ctx, a.block); err != nil {
		return err
	}
	a.begin()
	return nil
}

func (a *archive) end(ctx context.Context) error {
	if a.block.rows == 0 {
		return nil
	}
	return a.finish(ctx)
}
