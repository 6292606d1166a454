package main

import (
	"context"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/projector/history"
	schema "github.com/rollcall/rollcall/schema/clickhouse"
	"github.com/rollcall/rollcall/schema/topic"
)

type historyCommand struct {
	roleFlags
	clickhouseFlags
}

// Run copies until ctx ends.
func (c *historyCommand) Run(ctx context.Context) error {
	r, err := c.begin(ctx, 4)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

func (c *historyCommand) serve(ctx context.Context, r *role) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer conn.Close()
	tail, err := r.tail(topic.Account, historyPace)
	if err != nil {
		return err
	}
	member, err := r.member("rollcall-history", topic.Account)
	if err != nil {
		return err
	}
	h, err := history.New(history.Options{
		Postgres: r.pool, ClickHouse: conn, Tail: historyTail{tail}, Member: member, Partitions: r.partitions,
		Starts: func(ctx context.Context) (map[int32]int64, error) { return r.offsets.Starts(ctx, topic.Account) },
		Logger: r.log, Registerer: r.admin.registry,
	})
	if err != nil {
		return err
	}
	r.admin.want("clickhouse", conn.Ping)
	r.admin.want("history", func(context.Context) error { return h.Health() })
	r.started()
	return h.Run(ctx)
}

func (f clickhouseFlags) open() (clickhouse.Conn, error) {
	o, err := schema.Options(f.ClickhouseAddr, f.ClickhouseDatabase)
	if err != nil {
		return nil, err
	}
	return clickhouse.Open(o)
}
