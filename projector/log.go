package projector

import (
	"context"
	"time"

	"github.com/rollcall/rollcall/schema/topic"
)

// What the projector wants of the log. The command hands in the event log's
// own client (ingest/eventlog) through adapters.

// A Header is a header of a record.
type Header struct {
	Key   string
	Value []byte
}

// A Fetched is a record that was read.
type Fetched struct {
	Offset int64
	Time   time.Time
	Key    []byte
	Value  []byte
}

// A Batch is what one fetch brought of a partition, in order.
type Batch struct {
	Partition int32
	Records   []Fetched
	HighWater int64 // the partition's next offset at that time
}

// A Tail reads partitions of the topic account.
type Tail interface {
	// Assign starts partition at offset. A partition that is assigned already
	// is unassigned first.
	Assign(partition int32, offset int64)
	// Unassign ends it. No call of handle for it runs when Unassign has
	// returned, and none comes after.
	Unassign(partition int32)
	// Run reads until ctx ends. Calls of handle for one partition are in order
	// and never skip an offset; a call may wait.
	Run(ctx context.Context, handle func(context.Context, Batch) error) error
}

// A Record is a record to be written.
type Record struct {
	Topic     string
	Partition int32
	Key       []byte
	Value     []byte
	Headers   []Header
}

// An Appender writes records.
type Appender interface {
	// TryAppend stores r and calls done once, from any goroutine, perhaps
	// before it returns; or it gives false, and done is not called: its queue
	// is full, try again when others have gone. With keep it is tried as long
	// as the process lives. Records of a partition are stored in the order of
	// the calls; one that is kept fails only if the log will never take it
	// (Refused(err)) or the process ends.
	TryAppend(r Record, keep bool, done func(topic.Position, error)) bool
	// Refused tells that err means: the log will never take this record.
	Refused(err error) bool
}

// A Member is the membership in the consumer group of the projectors.
type Member interface {
	// Run joins and calls assigned with the whole assignment each time it
	// changes, until ctx ends.
	Run(ctx context.Context, assigned func(ctx context.Context, partitions []int32)) error
}
