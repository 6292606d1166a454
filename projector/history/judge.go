package history

import (
	"errors"
	"fmt"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
)

// A judge tells which records of a partition count, as the fold of the
// projector does: it reads them by the same code and in the same order.
type judge struct {
	partition int32
	of        int   // partitions of the topic
	next      int64 // the first offset that is in no block yet
	marks     account.Marks
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
	return eventRow(j.partition, r, record.Event, !j.marks.Admit(record.Event)), nil
}

// A deletion is an account whose rows must go, up to an offset.
type deletion struct {
	account string
	offset  uint64 // of the last row of the block in its partition
}

// A block is a plan with its rows.
type block struct {
	plan
	rows    []row
	deleted []deletion
}

// add judges records, which are the next of their partition, and appends
// their rows. It stops before a record of a newer kind, with the error, and
// before an account that was deleted in this block is created again, so that
// what is deleted after the block is all of the old one. The span is what was
// taken; it is empty if nothing was.
func (b *block) add(j *judge, records []Fetched) (span, error) {
	s := span{partition: j.partition, first: j.next, next: j.next}
	gone := make(map[string]bool)
	var stop error
	for i := range records {
		// The marks change with what is read, so look before.
		if len(gone) > 0 && gone[string(records[i].Key)] && createsAccount(records[i].Value) {
			break
		}
		w, err := j.row(&records[i])
		if err != nil {
			stop = err
			break
		}
		if w.kind == "account_deleted" && !w.ignored {
			gone[w.account] = true
		}
		b.rows = append(b.rows, w)
		s.next = records[i].Offset + 1
	}
	if s.first == s.next {
		return span{}, stop
	}
	for name := range gone {
		b.deleted = append(b.deleted, deletion{name, uint64(s.next - 1)})
	}
	marks, err := j.marks.AppendBinary(nil)
	if err != nil {
		return span{}, fmt.Errorf("marks of partition %d: %w", j.partition, err)
	}
	s.marks, j.next = marks, s.next
	return s, stop
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
		s, err := b.add(judges[planned.partition], records[planned.partition])
		if err == nil && s.next != planned.next {
			err = errShort
		}
		if err != nil {
			return nil, fmt.Errorf("rebuild block %s, partition %d from %d to %d: %w",
				p.id, planned.partition, planned.first, planned.next, err)
		}
		b.spans = append(b.spans, s)
	}
	return b, nil
}
