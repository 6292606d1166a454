// Package eventlog is the client of the log, the only code of Rollcall that
// speaks Kafka. An Appender writes records, a Writer writes the events of one
// origin through it, a Tail reads partitions from given offsets, a Member
// takes its share of the partitions among the members of a group, and Admin
// creates topics and tells where they begin and end.
//
// Requests carry many partitions each: one in flight per broker that leads
// some, so that few bytes and few system calls are spent on a record even
// when load is spread over all partitions. Kafka-go's own Writer and Reader
// are not used: the one reorders after its last attempt, the other skips what
// the log no longer has without a word.
package eventlog

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go/protocol"
)

// A Header is a named value beside a record's own.
type Header = protocol.Header

// A Record is what an Appender writes. Its bytes belong to the Appender from
// then on: nobody may change them.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte // nil for none
	Value     []byte
	Headers   []Header
	Chain     *Chain // nil for none
}

// size is what r counts for in bounds, in bytes: its own and about what the
// format adds.
func (r *Record) size() int {
	n := len(r.Key) + len(r.Value) + 24
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 4
	}
	return n
}

// The ways in which an append fails. Each error that an Appender gives is one
// of them, wrapped with its cause.
var (
	// ErrUnavailable tells that a record is not known to be stored within
	// the time it had. It may be stored, even later than now; readers drop
	// such late copies by the marks of their origin.
	ErrUnavailable = errors.New("eventlog: not known to be stored in time")
	// ErrFull tells that the queue is at its bound and the record was not
	// taken.
	ErrFull = errors.New("eventlog: queue is full")
	// ErrRefused tells that the brokers will never take the record: it is too
	// large, or they do not permit it.
	ErrRefused = errors.New("eventlog: record refused")
	// ErrBroken tells that an earlier record of the chain was not stored.
	ErrBroken = errors.New("eventlog: an earlier record of the chain failed")
	// ErrClosed tells that the Appender no longer runs. A record that it was
	// sending may be stored.
	ErrClosed = errors.New("eventlog: appender is closed")
)

// An OffsetError tells that a partition does not have the offset asked for:
// what lies between is lost to this reader, who must decide what to do. A Tail
// never skips it silently.
type OffsetError struct {
	Topic     string
	Partition int32
	Asked     int64 // the offset that is not there
	First     int64 // the first offset kept
	End       int64 // the offset after the last one
}

// Error names the partition and the offsets.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("eventlog: %s/%d has offsets %d to before %d, not %d", e.Topic, e.Partition, e.First, e.End, e.Asked)
}
