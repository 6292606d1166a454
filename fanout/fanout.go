// Package fanout tells the edges what their clients must hear. A Worker is a
// member of a consumer group; of each partition that it is given it keeps in
// memory who is connected and which edges follow whom, tails the log, and
// streams presence, messages and outbox records to the edges. What it keeps
// is loaded from the projection and the log, so a worker that dies costs a
// pause and nothing else.
package fanout

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// What the worker wants of the log. The command hands in the event log's own
// client (ingest/eventlog) through adapters.

// A Fetched is a record that was read. Its slices are not used after the
// handler has returned.
type Fetched struct {
	Offset int64
	Key    []byte
	Value  []byte
}

// A Batch is what one fetch brought of a partition, in order.
type Batch struct {
	Partition int32
	Records   []Fetched
	HighWater int64 // the partition's next offset at that time
}

// A Tail reads partitions of one topic.
type Tail interface {
	// Assign starts partition at offset.
	Assign(partition int32, offset int64)
	// Unassign ends it. No call of handle for it runs when Unassign has
	// returned, and none comes after. It is never called by handle.
	Unassign(partition int32)
	// Run reads until ctx ends. Calls of handle for one partition are in
	// order and never skip an offset; a call may wait.
	Run(ctx context.Context, handle func(context.Context, Batch) error) error
}

// Offsets tells where the partitions of a topic begin and end.
type Offsets interface {
	// Ends gives the offset after the last record of each partition.
	Ends(ctx context.Context, topic string) (map[int32]int64, error)
	// Starts gives the first offset that each partition still has.
	Starts(ctx context.Context, topic string) (map[int32]int64, error)
}

// A Member is the membership in the consumer group of the workers.
type Member interface {
	// Run joins, over the topic account, and calls assigned with the whole
	// assignment each time it changes, one call at a time, until ctx ends.
	Run(ctx context.Context, assigned func(ctx context.Context, partitions []int32)) error
	// Commit stores next offsets of a topic in the group. An error only means
	// that records are read again.
	Commit(ctx context.Context, topic string, next map[int32]int64) error
	// Committed gives the stored next offsets; those without one are not in it.
	Committed(ctx context.Context, topic string) (map[int32]int64, error)
}

// Options say what a Worker is made of.
type Options struct {
	ID       string // of the worker, for logs
	Postgres *pgxpool.Pool
	Account  Tail // of the topic account
	Outbox   Tail // of the topic outbox
	Offsets  Offsets
	Member   Member
	Listener net.Listener // where edges attach; Run closes it

	// Attachable tells whether an edge's epoch may attach: its lease is not
	// marked lost. nil: any may.
	Attachable func(ctx context.Context, edge string, epoch uint64) (bool, error)

	Credentials credentials.TransportCredentials // nil: plain TCP

	MaxQueuedBytes  int           // messages, outputs and the like that wait for one edge; 16 MiB. Past it the stream is closed.
	MaxFramesBytes  int           // of frames in one message to an edge; 128 KiB
	MaxUntakenBytes int           // outputs of a partition that an edge has not taken; 8 MiB
	MaxHeldOutputs  int           // outputs of a partition that are ahead of its tail before the outbox is read no further; 10000
	HoldIq          time.Duration // how long an iq waits for the tail; 5s
	CommitEvery     time.Duration // between two commits of outbox offsets; 1s
	Heartbeat       time.Duration // between two signs of life to an edge; 1s
	RetryEvery      time.Duration // between tries when Postgres or the brokers fail; 500ms
	InboxEvery      time.Duration // first pause between looks whether an inbox can be loaded; 20ms
	PairsPerQuery   int           // admissions checked in one query; 10000
	ParallelQueries int           // such queries at a time; 2
	ParallelLoads   int           // partitions that are loaded at a time; 4
	ProjectedEvery  time.Duration // between looks at the projection's position, to forget old revocations; 5s
	AnswerAccounts  int           // accounts in one Answer; 2000
	ConflateAbove   int           // frames that wait in a lane before presence is conflated; 64

	Logger   *slog.Logger          // slog.Default()
	Registry prometheus.Registerer // nil: metrics are kept, not shown
}

func (o *Options) check() error {
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num(&o.MaxQueuedBytes, 16<<20)
	num(&o.MaxFramesBytes, 128<<10)
	num(&o.MaxUntakenBytes, 8<<20)
	num(&o.MaxHeldOutputs, 10000)
	num(&o.PairsPerQuery, 10000)
	num(&o.ParallelQueries, 2)
	num(&o.ParallelLoads, 4)
	num(&o.AnswerAccounts, 2000)
	num(&o.ConflateAbove, 64)
	def(&o.HoldIq, 5*time.Second)
	def(&o.CommitEvery, time.Second)
	def(&o.Heartbeat, time.Second)
	def(&o.RetryEvery, 500*time.Millisecond)
	def(&o.InboxEvery, 20*time.Millisecond)
	def(&o.ProjectedEvery, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	if o.Postgres == nil || o.Account == nil || o.Outbox == nil || o.Offsets == nil || o.Member == nil || o.Listener == nil {
		return errors.New("fanout: Postgres, Account, Outbox, Offsets, Member and Listener must be given")
	}
	return nil
}
