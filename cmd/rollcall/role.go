package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/topic"
)

type roleFlags struct {
	ID string `help:"Name of this process, the same after every start and unlike any other's." required:"" placeholder:"NAME"`
	kafkaFlags
	postgresFlags
	adminFlags
}

// A role is what every role's process has.
type role struct {
	flags      *roleFlags
	log        *slog.Logger
	admin      *admin
	pool       *pgxpool.Pool
	offsets    *eventlog.Admin
	partitions int // of the topic account
	appender   *eventlog.Appender
	serves     atomic.Bool // see started

	inner     errgroup.Group // what outlives the role's own work: appender, admin port
	stopInner context.CancelFunc
}

// begin opens the admin port, connects to Postgres and Kafka, and waits for
// both while ctx lasts. The role is not ready until it has started, and is to
// be ended.
func (f *roleFlags) begin(ctx context.Context, connections int32) (*role, error) {
	listener, err := f.listen()
	if err != nil {
		return nil, err
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	r := &role{flags: f, log: slog.Default().With("id", f.ID), admin: newAdmin(), stopInner: stop}
	r.admin.want("start", r.start)
	if listener != nil {
		r.inner.Go(func() error { return r.admin.serve(inner, listener) })
	}
	if err := r.connect(ctx, connections); err != nil {
		return nil, r.end(err)
	}
	r.inner.Go(func() error { return r.appender.Run(inner) })
	r.admin.want("postgres", r.pool.Ping)
	return r, nil
}

// started says that the role's ports are open, and that all else that its
// readiness depends on is wanted.
func (r *role) started() { r.serves.Store(true) }

// start tells what is missing until then.
func (r *role) start(context.Context) error {
	if !r.serves.Load() {
		return errors.New("still starting")
	}
	return nil
}

func (r *role) connect(ctx context.Context, connections int32) (err error) {
	if r.pool, err = r.flags.pool(ctx, connections); err != nil {
		return err
	}
	if r.offsets, err = eventlog.NewAdmin(r.flags.KafkaBrokers); err != nil {
		return err
	}
	if r.partitions, err = r.offsets.Partitions(ctx, topic.Account); err != nil {
		return fmt.Errorf("topic %s: %w (run rollcall topics)", topic.Account, err)
	}
	r.appender, err = eventlog.New(eventlog.Options{Brokers: r.flags.KafkaBrokers, Logger: r.log, Registerer: r.admin.registry})
	return err
}

// end closes what begin opened and gives err, or what else went wrong.
func (r *role) end(err error) error {
	r.stopInner()
	if innerErr := r.inner.Wait(); err == nil {
		err = innerErr
	}
	if r.offsets != nil {
		r.offsets.Close()
	}
	if r.pool != nil {
		r.pool.Close()
	}
	return err
}

// The least time between two polls of the log: while it is busy, a fraction of
// the polls for the broker, and fewer and larger units for who reads and for
// Postgres (BENCHMARKS.md, Chat). Only a worker's is on the way of a message.
const (
	workerPace    = 3 * time.Millisecond
	projectorPace = 15 * time.Millisecond
	historyPace   = 20 * time.Millisecond // of the 200 that a block waits at least after the one before
)

// tail gives a reader of one topic, which polls it no faster than at a pace.
func (r *role) tail(name string, pace time.Duration) (*eventlog.Tail, error) {
	t, err := eventlog.NewTail(eventlog.TailOptions{
		Brokers: r.flags.KafkaBrokers, Topic: name, Pace: pace, Logger: r.log, Registerer: r.admin.registry,
	})
	if err != nil {
		return nil, err
	}
	r.admin.want("log of "+name, func(context.Context) error { return t.Health() })
	return t, nil
}

// member gives a membership in the group of this kind of role, which shares out
// the partitions of the topics.
func (r *role) member(group string, topics ...string) (*eventlog.Member, error) {
	return eventlog.NewMember(eventlog.MemberOptions{
		Brokers: r.flags.KafkaBrokers, Group: group, ID: r.flags.ID, Topics: topics, Logger: r.log,
	})
}
