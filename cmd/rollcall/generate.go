package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge/accounts"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/projector/generate"
	"github.com/rollcall/rollcall/schema/clickhouse"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

type generateCommand struct {
	Kafka      generateKafka      `cmd:"" help:"Append the events to the log: a system that runs on it folds them like anybody's."`
	Clickhouse generateClickhouse `cmd:"" help:"Write events and reactions straight into a ClickHouse database that no log feeds; much faster."`
}

// generateFlags tell what a history is like; --start too, if the same bytes are
// wanted on another day.
type generateFlags struct {
	Seed     uint64 `help:"Another seed, another history. The same flags, --start too, give the same bytes." default:"1"`
	Accounts int    `help:"Accounts; memory grows with them and with --friends, not with --days." default:"1000"`
	Friends  int    `help:"Contacts of an account, on average." default:"20"`
	Days     int    `help:"Days of presence and chat." default:"7"`
	Messages int    `help:"Messages that an account sends on a day, roughly and on average." default:"20"`
	Start    string `help:"First of these days (UTC); unless given, so that the last one is yesterday." placeholder:"2026-01-31"`
	Domain   string `help:"Domain of the accounts." default:"localhost"`
	Origins  int    `name:"origins" help:"Edges that the events name as their origin." default:"2"`
	Records  int64  `help:"End the history early, once about so many records are written; 0: do not." default:"0"`
}

func (f *generateFlags) options(now time.Time) (generate.Options, error) {
	o := generate.Options{Seed: f.Seed, Accounts: f.Accounts, Friends: f.Friends, Days: f.Days, Messages: f.Messages,
		Domain: f.Domain, Edges: f.Origins, Records: f.Records}
	if f.Start == "" {
		o.Start = now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -f.Days)
	} else {
		start, err := time.Parse(time.DateOnly, f.Start)
		if err != nil {
			return o, fmt.Errorf("--start %s: say a day, such as 2026-01-31", f.Start)
		}
		o.Start = start
	}
	return o, o.Check()
}

// run makes a history by make and tells, every five seconds, how far it is.
func (f *generateFlags) run(ctx context.Context, out io.Writer, make func(context.Context, generate.Options, *generate.Progress) error) error {
	o, err := f.options(time.Now())
	if err != nil {
		return err
	}
	slog.Info("generating", "seed", o.Seed, "accounts", o.Accounts, "friends", o.Friends, "days", o.Days, "start", o.Start.Format(time.DateOnly))
	var progress generate.Progress
	began := time.Now()
	g, inner := errgroup.WithContext(ctx)
	telling, made := context.WithCancel(inner)
	g.Go(func() error {
		defer made()
		return make(inner, o, &progress)
	})
	g.Go(func() error {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-telling.Done():
				return nil
			case <-tick.C:
				slog.Info("generating", "progress", progress.String())
			}
		}
	})
	if err := g.Wait(); err != nil {
		return err
	}
	written, skipped := progress.Records()
	_, err = fmt.Fprintf(out, "%d records from %s on (--start %s), %d of them were there, in %s\n",
		written, o.Start.AddDate(0, 0, -1).Format(time.DateOnly), o.Start.Format(time.DateOnly), skipped, time.Since(began).Round(time.Millisecond))
	return err
}

type generateKafka struct {
	generateFlags
	kafkaFlags
	Add         bool   `help:"Into a log that has records: add the history." xor:"mode"`
	Resume      bool   `help:"Into a log that has part of this history: go on with it. All flags as before, --start too." xor:"mode"`
	Logins      bool   `help:"The accounts can log in, all with the password that is read from standard input; needs --postgres-url."`
	PostgresURL string `name:"postgres-url" help:"Connection string of the Postgres database, for --logins." placeholder:"URL"`
}

// Run generates into the log.
func (c *generateKafka) Run(ctx context.Context, out io.Writer) error {
	password := ""
	if c.Logins {
		if c.PostgresURL == "" {
			return errors.New("--logins needs --postgres-url")
		}
		var err error
		if password, err = readPassword(os.Stdin); err != nil {
			return err
		}
	}
	admin, err := eventlog.NewAdmin(c.KafkaBrokers)
	if err != nil {
		return err
	}
	defer admin.Close()
	partitions, err := partitionsSoon(ctx, admin)
	if err != nil {
		return err
	}
	appender, err := eventlog.New(eventlog.Options{Brokers: c.KafkaBrokers})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	g := new(errgroup.Group)
	g.Go(func() error { return appender.Run(running) })
	mode := generate.Fresh
	switch {
	case c.Add:
		mode = generate.Add
	case c.Resume:
		mode = generate.Resume
	}
	err = c.run(ctx, out, func(ctx context.Context, o generate.Options, p *generate.Progress) error {
		if err := generate.IntoLog(ctx, o, generateLog{replayLog{c.KafkaBrokers, admin}, appender}, partitions, mode, p); err != nil || !c.Logins {
			return instead(err, "--add puts the history beside what is there")
		}
		return c.logins(ctx, o, password)
	})
	stop()
	return errors.Join(err, g.Wait())
}

// logins makes keys for the accounts, whose AccountCreated the log has.
func (c *generateKafka) logins(ctx context.Context, o generate.Options, password string) error {
	names, err := generate.Accounts(o)
	if err != nil {
		return err
	}
	pool, err := postgresFlags{c.PostgresURL}.poolSoon(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	store := accounts.New(pool, o.Domain, inLog{})
	slog.Info("making keys to log in with", "accounts", len(names))
	for _, name := range names {
		if err := store.Create(ctx, name, password); err != nil && !errors.Is(err, stream.ErrConflict) {
			return err
		}
	}
	return nil
}

// inLog is a log that has every event already.
type inLog struct{}

// AppendWait does nothing.
func (inLog) AppendWait(context.Context, jid.Bare, *event.Event) (topic.Position, error) {
	return topic.Position{}, nil
}

// generateLog is the event log with the types of a generated history.
type generateLog struct {
	replayLog
	appender *eventlog.Appender
}

// Append hands the record over. It is kept: a history has no use for a hole.
func (l generateLog) Append(r generate.Record, done func(int64, error)) {
	l.appender.Append(eventlog.Record{Topic: topic.Account, Partition: r.Partition, Key: r.Key, Value: r.Value,
		Headers: []eventlog.Header{{Key: topic.HeaderKind, Value: []byte(r.Kind)}}},
		true, func(at topic.Position, err error) { done(at.Offset, err) })
}

// Empty tells that there are no records.
func (l generateLog) Empty(ctx context.Context) (bool, error) {
	ends, err := l.Ends(ctx)
	for _, end := range ends {
		if end > 0 {
			return false, err
		}
	}
	return true, err
}

// Read reads every partition.
func (l generateLog) Read(ctx context.Context, fn func(partition int32, offset int64, value []byte) error) error {
	starts, err := l.Starts(ctx)
	if err != nil {
		return err
	}
	ends, err := l.Ends(ctx)
	if err != nil {
		return err
	}
	for p, end := range ends {
		if err := l.replayLog.Read(ctx, p, starts[p], end, func(offset int64, _, value []byte) error { return fn(p, offset, value) }); err != nil {
			return err
		}
	}
	return nil
}

type generateClickhouse struct {
	generateFlags
	clickhouseFlags
	Partitions int  `help:"Partitions of the log that the offsets pretend to come from." default:"8"`
	Resume     bool `help:"Into a database that has part of this history: go on with it. All flags as before, --start too."`
}

// Run generates into ClickHouse; the database is made if it is not there.
func (c *generateClickhouse) Run(ctx context.Context, out io.Writer) error {
	if _, err := c.options(time.Now()); err != nil {
		return err
	}
	if err := clickhouse.Migrate(ctx, c.ClickhouseAddr, c.ClickhouseDatabase); err != nil {
		return err
	}
	conn, err := c.open()
	if err != nil {
		return err
	}
	defer conn.Close()
	return c.run(ctx, out, func(ctx context.Context, o generate.Options, p *generate.Progress) error {
		err := generate.IntoArchive(ctx, o, conn, c.Partitions, c.Resume, p)
		return instead(err, "else say another --clickhouse-database")
	})
}

// instead says what to do where there is something already.
func instead(err error, other string) error {
	if errors.Is(err, generate.ErrNotEmpty) {
		return fmt.Errorf("%w (--resume goes on with this same history; %s)", err, other)
	}
	return err
}
