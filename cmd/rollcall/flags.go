package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

type logFlags struct {
	LogLevel  slog.Level `help:"debug, info, warn or error." default:"info"`
	LogFormat string     `help:"text or json." enum:"text,json" default:"text"`
}

// setUp makes the default logger write to w.
func (f logFlags) setUp(w io.Writer) error {
	options := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		slog.SetDefault(slog.New(slog.NewJSONHandler(w, options)))
	} else {
		slog.SetDefault(slog.New(slog.NewTextHandler(w, options)))
	}
	return nil
}

type kafkaFlags struct {
	KafkaBrokers []string `help:"host:port of some Kafka brokers." required:"" placeholder:"HOST:PORT"`
}

type postgresFlags struct {
	PostgresURL string `name:"postgres-url" help:"Connection string of the Postgres database; better in the environment than on the command line, for it holds the password." required:"" placeholder:"URL"`
}

// pool connects to Postgres. It waits, while ctx lasts, for a server that is
// starting.
func (f postgresFlags) pool(ctx context.Context, most int32) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(f.PostgresURL)
	if err != nil {
		return nil, fmt.Errorf("postgres-url: %w", err)
	}
	config.MaxConns = most
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	for {
		if err = pool.Ping(ctx); err == nil {
			return pool, nil
		}
		slog.Warn("postgres does not answer yet", "err", err)
		select {
		case <-ctx.Done():
			pool.Close()
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

type clickhouseFlags struct {
	ClickhouseAddr     string `help:"host:port of ClickHouse's native protocol, or clickhouse://USER:PASSWORD@HOST:PORT." required:"" placeholder:"HOST:PORT"`
	ClickhouseDatabase string `help:"Database in ClickHouse." default:"rollcall"`
}
