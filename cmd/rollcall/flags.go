package main

import (
	"context"
	"errors"
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

// patience is how long a command that does one thing waits for a server; a
// role waits as long as it lives.
const patience = 10 * time.Second

// poolSoon is pool with patience.
func (f postgresFlags) poolSoon(ctx context.Context, most int32) (*pgxpool.Pool, error) {
	soon, cancel := context.WithTimeoutCause(ctx, patience, errors.New("postgres did not answer"))
	defer cancel()
	return f.pool(soon, most)
}

// pool connects to Postgres. It waits, while ctx lasts, for a server that is
// starting; then the error is ctx's cause with what the server said last.
func (f postgresFlags) pool(ctx context.Context, most int32) (*pgxpool.Pool, error) {
	if f.PostgresURL == "" {
		return nil, errors.New("--postgres-url is empty")
	}
	config, err := pgxpool.ParseConfig(f.PostgresURL)
	if err != nil {
		return nil, fmt.Errorf("postgres-url: %w", err)
	}
	config.MaxConns = most
	// The pool outlives ctx, which only bounds the wait for it.
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
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
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(time.Second):
		}
	}
}

// archiveFlags are clickhouseFlags of who does without.
type archiveFlags struct {
	ClickhouseAddr     string `help:"host:port of ClickHouse's native protocol, or clickhouse://USER:PASSWORD@HOST:PORT, from which message archives are read (XEP-0313); empty: there are none." placeholder:"HOST:PORT"`
	ClickhouseDatabase string `help:"Database in ClickHouse." default:"rollcall"`
}

type clickhouseFlags struct {
	ClickhouseAddr     string `help:"host:port of ClickHouse's native protocol, or clickhouse://USER:PASSWORD@HOST:PORT." required:"" placeholder:"HOST:PORT"`
	ClickhouseDatabase string `help:"Database in ClickHouse." default:"rollcall"`
}
