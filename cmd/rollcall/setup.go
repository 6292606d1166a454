package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/clickhouse"
	"github.com/rollcall/rollcall/schema/postgres"
)

type kafkaCommand struct {
	Listen     string `help:"Serve here; clients are told this address." default:"127.0.0.1:9092" placeholder:"HOST:PORT"`
	Dir        string `help:"Directory of the data." required:"" type:"path"`
	ClusterID  string `name:"cluster-id" help:"Told to clients." default:"rollcall"`
	SyncWrites bool   `help:"Wait for the disk at each write, to survive a power failure too."`
}

// Run serves until ctx ends.
func (c *kafkaCommand) Run(ctx context.Context) error {
	return local.ServeEmbeddedKafka(ctx, local.EmbeddedKafkaOptions{Listen: c.Listen, Dir: c.Dir, ClusterID: c.ClusterID, SyncWrites: c.SyncWrites})
}

type topicsCommand struct {
	kafkaFlags
	Partitions  int  `help:"Partitions of account and outbox, fixed for the life of a log." default:"64"`
	Replication int  `help:"Copies of each partition." default:"1"`
	KeepForever bool `help:"The topic account keeps records for ever instead of 30 days."`
}

// Run creates what is missing.
func (c *topicsCommand) Run(ctx context.Context) error { return c.ensure(ctx) }

func (c *topicsCommand) ensure(ctx context.Context) error {
	o := eventlog.TopicsOptions{Partitions: c.Partitions, Replication: c.Replication}
	if c.KeepForever {
		o.AccountRetention = -time.Second
	}
	return eventlog.EnsureTopics(ctx, c.KafkaBrokers, o)
}

type migrateCommand struct {
	postgresFlags
	clickhouseFlags
}

// Run applies what is new.
func (c *migrateCommand) Run(ctx context.Context) error {
	return migrate(ctx, c.PostgresURL, c.clickhouseFlags)
}

// migrateLock is an advisory lock in Postgres, which ClickHouse has none of: one
// process at a time migrates ClickHouse, so that none of an older release puts
// an older view in the place of a newer one.
const migrateLock = 0x6d696772 // "migr"

func migrate(ctx context.Context, postgresURL string, f clickhouseFlags) error {
	if err := postgres.Migrate(ctx, postgresURL); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, postgresURL)
	if err == nil {
		defer conn.Close(context.WithoutCancel(ctx))
		_, err = conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock))
	}
	if err != nil {
		return fmt.Errorf("wait for others that migrate ClickHouse: %w", err)
	}
	return clickhouse.Migrate(ctx, f.ClickhouseAddr, f.ClickhouseDatabase)
}
