package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge/link"
	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/fanout/lease"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/topic"
)

type fanoutCommand struct {
	roleFlags
	Listen    string `help:"Serve edges here (default: a free port of 127.0.0.1)." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
	Advertise string `help:"Where edges reach this worker; the address it listens on if empty." placeholder:"HOST:PORT"`
}

// Run serves edges until ctx ends.
func (c *fanoutCommand) Run(ctx context.Context) error {
	r, err := c.begin(ctx, 12)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

func (c *fanoutCommand) serve(ctx context.Context, r *role) error {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen for edges: %w", err)
	}
	address := c.Advertise
	if address == "" {
		address = listener.Addr().String()
	}
	keeper, err := lease.Acquire(ctx, lease.KeeperOptions{Postgres: r.pool, Kind: lease.Worker, ID: c.ID, Address: address, Logger: r.log})
	if err != nil {
		return err
	}
	account, err := r.tail(topic.Account, workerPace)
	if err != nil {
		return err
	}
	outbox, err := r.tail(topic.Outbox, 0)
	if err != nil {
		return err
	}
	member, err := r.member("rollcall-fanout", topic.Account, topic.Outbox)
	if err != nil {
		return err
	}
	worker, err := fanout.New(fanout.Options{
		ID: c.ID, Postgres: r.pool, Account: fanoutTail{account}, Outbox: fanoutTail{outbox},
		Offsets: r.offsets, Member: member, Listener: listener,
		Attachable: func(ctx context.Context, edge string, epoch uint64) (bool, error) {
			return lease.Held(ctx, r.pool, lease.Edge, edge, epoch)
		},
		Logger: r.log, Registry: r.admin.registry,
	})
	if err != nil {
		return err
	}
	writer := eventlog.NewWriter(r.appender, fmt.Sprintf("worker/%s/%d", c.ID, keeper.Epoch()), r.partitions)
	reaper, err := lease.NewReaper(lease.ReaperOptions{Postgres: r.pool, Log: writer, Logger: r.log, Registry: r.admin.registry})
	if err != nil {
		return err
	}
	r.started()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return worker.Run(ctx) })
	g.Go(func() error { return keeper.Run(ctx) })
	g.Go(func() error { return reaper.Run(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return keeper.Release(last)
}

// workers finds the workers by their leases.
type workers struct{ pool *pgxpool.Pool }

// Workers gives those that live now.
func (w workers) Workers(ctx context.Context) ([]link.Worker, error) {
	rows, err := lease.Discover(ctx, w.pool, lease.Worker)
	found := make([]link.Worker, len(rows))
	for i, row := range rows {
		found[i] = link.Worker{ID: row.ID, Epoch: row.Epoch, Address: row.Address}
	}
	return found, err
}
