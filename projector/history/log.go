package history

import (
	"context"
	"time"
)

// What history wants of the log. The command hands in the event log's own
// client (ingest/eventlog) through adapters.

// A Fetched is a record that was read. Its slices may share memory with others
// of its batch: history keeps copies.
type Fetched struct {
	Offset int64
	Time   time.Time // by Kafka; counts for records that nobody can decode
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
	// Assign starts partition at offset.
	Assign(partition int32, offset int64)
	// Unassign ends it. No call of handle for it runs when Unassign has
	// returned, and none comes after. It does nothing if it is not assigned.
	Unassign(partition int32)
	// Run reads until ctx ends. Calls of handle for one partition are in order
	// and never skip an offset; a call may wait. An offset that the log does
	// not have any more ends Run with an error.
	Run(ctx context.Context, handle func(context.Context, Batch) error) error
}

// A Member is the membership in the consumer group of the history writers.
type Member interface {
	// Run joins and calls assigned with the whole assignment each time it
	// changes, until ctx ends.
	Run(ctx context.Context, assigned func(ctx context.Context, partitions []int32)) error
}
