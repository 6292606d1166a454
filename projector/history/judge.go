package history

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
)

// A judge tells which records of a partition count, as the fold of the
// projector does: it reads them by the same code and in the same order. It
// knows the sessions that last, for what turns by them.
type judge struct {
	partition int32
	of        int   // partitions of the topic
	next      int64 // the first offset that is in no block yet
	marks     account.Marks
	sessions  sessions
	kept      int64 // the offset as of which Postgres has the sessions
	keepEvery int   // how many records at least are between two of these; 0 for never
}

// row gives the row for r. The error is event.ErrNewer, wrapped: no record
// from here on may be archived by this version.
func (j *judge) row(r *Fetched) (row, error) {
	record, err := fold.Decode(j.partition, r.Offset, r.Key, r.Value)
	if err != nil {
		return row{}, err
	}
	if record.Garbage == nil && record.Lost() == nil {
		_, record.Garbage = fold.Account(record.Key, j.partition, j.of)
	}
	if record.Garbage != nil {
		return garbageRow(j.partition, r, record.Garbage), nil
	}
	return eventRow(j.partition, record.Key, r, record.Event, !j.marks.Admit(record.Event)), nil
}

// A deletion is an account whose rows must go, up to an offset.
type deletion struct {
	account string
	offset  uint64 // of the last row of the block in its partition
}

// A block is a plan with its rows. It is made by add, and done by seal.
type block struct {
	plan
	months  map[int]*table // its rows, by month
	turns   map[int][]turn // what turns by them, by month
	rows    int
	ignored int // of them
	garbage int // of these
	deleted []deletion

	shares map[int32]*share // by partition, until it is sealed
}

// A share is what a block has of a partition while it is made.
type share struct {
	judge *judge
	first int64
	gone  map[string]bool // accounts that were deleted in it
	cut   bool            // it takes no more
}

// tables has those that are free. One of 100,000 rows takes 40 MiB besides what
// the rows say.
var tables = sync.Pool{New: func() any { return new(table) }}

// add judges records, which are the next of their partition, appends their
// rows, and tells how many it took. It stops before a record of a newer kind,
// with the error, and before an account that was deleted in this block is
// created again, so that what is deleted after the block is all of the old one:
// from then on it takes nothing of the partition.
func (b *block) add(j *judge, records []Fetched) (taken int, err error) {
	s := b.shares[j.partition]
	if s == nil {
		s = &share{judge: j, first: j.next}
		if b.shares == nil {
			b.shares, b.months, b.turns = make(map[int32]*share), make(map[int]*table), make(map[int][]turn)
		}
		b.shares[j.partition] = s
	}
	for i := range records {
		// The marks change with what is read, so look before.
		s.cut = s.cut || len(s.gone) > 0 && s.gone[string(records[i].Key)] && createsAccount(records[i].Value)
		if s.cut {
			break
		}
		w, err := j.row(&records[i])
		if err != nil {
			return taken, err
		}
		if w.kind == "account_deleted" && !w.ignored {
			if s.gone == nil {
				s.gone = make(map[string]bool)
			}
			s.gone[w.account] = true
		}
		b.put(&w)
		if !w.ignored {
			byMonth(b.turns, j.sessions.take(&w))
		}
		taken++
		j.next = records[i].Offset + 1
	}
	return taken, nil
}

func (b *block) put(w *row) {
	in := month(w.at)
	if b.months[in] == nil {
		b.months[in] = tables.Get().(*table)
	}
	b.months[in].add(w)
	b.rows++
	if w.ignored {
		b.ignored++
	}
	if w.kind == garbage {
		b.garbage++
	}
}

// seal ends the making of b: it has its spans then, with the marks behind them
// and at times the sessions, and the accounts that it deletes.
func (b *block) seal() error {
	for _, partition := range slices.Sorted(maps.Keys(b.shares)) {
		s := b.shares[partition]
		if s.judge.next == s.first {
			continue
		}
		marks, err := s.judge.marks.AppendBinary(nil)
		if err != nil {
			return fmt.Errorf("marks of partition %d: %w", partition, err)
		}
		sessions, err := s.judge.keep(len(s.gone) > 0)
		if err != nil {
			return fmt.Errorf("sessions of partition %d: %w", partition, err)
		}
		b.spans = append(b.spans, span{partition: partition, first: s.first, next: s.judge.next, marks: marks, sessions: sessions})
		for _, name := range slices.Sorted(maps.Keys(s.gone)) {
			b.deleted = append(b.deleted, deletion{name, uint64(s.judge.next - 1)})
		}
	}
	b.shares = nil
	return nil
}

// keepEvery is judge.keepEvery of a writer, and keepEach how many more records
// there are for each session: what is kept costs less than what is copied.
const keepEvery, keepEach = 50_000, 10

// keep gives the encoded sessions if it is time to keep them. Where accounts
// were deleted it is, for the archive does not tell then how their sessions
// ended.
func (j *judge) keep(deleted bool) ([]byte, error) {
	if j.keepEvery == 0 || !deleted && j.next-j.kept < int64(j.keepEvery+keepEach*j.sessions.count) {
		return nil, nil
	}
	j.kept = j.next
	return j.sessions.MarshalBinary()
}

// release ends the use of b's rows.
func (b *block) release() {
	for _, t := range b.months {
		t.reset()
		tables.Put(t)
	}
	b.months, b.turns = nil, nil
}

func createsAccount(value []byte) bool {
	e, err := event.Decode(value)
	return err == nil && e.GetAccountCreated() != nil
}

// errShort means that this version cuts a block where the one that planned it did not.
var errShort = errors.New("history: a planned block stops before its end")

// rebuild gives the block of a plan again from the records of its spans.
// records and judges are by partition.
func rebuild(p plan, judges map[int32]*judge, records map[int32][]Fetched) (*block, error) {
	b := &block{plan: plan{id: p.id}}
	for _, planned := range p.spans {
		j := judges[planned.partition]
		_, err := b.add(j, records[planned.partition])
		if err == nil && j.next != planned.next {
			err = errShort
		}
		if err != nil {
			return nil, fmt.Errorf("rebuild block %s, partition %d from %d to %d: %w",
				p.id, planned.partition, planned.first, planned.next, err)
		}
	}
	return b, b.seal()
}
