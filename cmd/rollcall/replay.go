package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/projector/history"
	"github.com/rollcall/rollcall/projector/replay"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

type replayCommand struct {
	Verify  replayVerify  `cmd:"" help:"Fold the log from its start to where the live views are, and compare row by row. Exit code 1 if there is a difference."`
	Rebuild replayRebuild `cmd:"" help:"Write the views anew into the schema views_rebuild; with --swap put them live."`
	Show    replayShow    `cmd:"" help:"Show an account's history."`
	State   replayState   `cmd:"" help:"Show what an account was at a moment."`
}

type replayFlags struct {
	kafkaFlags
	ClickhouseAddr     string `help:"host:port of ClickHouse, for what Kafka no longer keeps." placeholder:"HOST:PORT"`
	ClickhouseDatabase string `help:"Database in ClickHouse." default:"rollcall"`
}

// with calls do with the options of a replay, without Postgres.
func (f replayFlags) with(ctx context.Context, do func(replay.Options) error) error {
	admin, err := eventlog.NewAdmin(f.KafkaBrokers)
	if err != nil {
		return err
	}
	defer admin.Close()
	partitions, err := partitionsSoon(ctx, admin)
	if err != nil {
		return err
	}
	o := replay.Options{Log: replayLog{f.KafkaBrokers, admin}, Partitions: partitions, Progress: progress()}
	if f.ClickhouseAddr != "" {
		conn, err := clickhouseFlags{f.ClickhouseAddr, f.ClickhouseDatabase}.open()
		if err != nil {
			return err
		}
		defer conn.Close()
		o.Archive = history.NewArchive(conn)
	}
	return do(o)
}

// progress gives a Progress that logs at most once a second.
func progress() func(replay.Progress) {
	last := time.Now()
	return func(p replay.Progress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		slog.Info("replaying", "partition", p.Partition, "nextOffset", p.Next, "to", p.To, "done", p.Done, "of", p.Partitions)
	}
}

type replayVerify struct {
	replayFlags
	postgresFlags
	Most int `help:"Differences that are described." default:"100"`
}

// Run verifies.
func (c *replayVerify) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	return c.with(ctx, func(o replay.Options) error {
		o.Postgres, o.MaxDiffs = pool, c.Most
		began := time.Now()
		report, err := replay.Verify(ctx, o)
		if err != nil {
			return err
		}
		for _, d := range report.Diffs {
			fmt.Fprintln(out, d)
		}
		fmt.Fprintf(out, "%d partitions, %d records folded, %d rows compared in %s: %d differences\n",
			report.Partitions, report.Records, report.Rows, time.Since(began).Round(time.Millisecond), report.Different)
		if report.Different > 0 {
			return fmt.Errorf("the live views differ from the log in %d rows", report.Different)
		}
		return nil
	})
}

type replayRebuild struct {
	replayFlags
	postgresFlags
	Swap bool `help:"Put what was made in the place of the live views."`
}

// Run rebuilds.
func (c *replayRebuild) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	return c.with(ctx, func(o replay.Options) error {
		o.Postgres, o.Swap = pool, c.Swap
		began := time.Now()
		made, err := replay.Rebuild(ctx, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%d partitions (%d kept from an unfinished rebuild), %d records folded, %d rows written, %d records to catch up in %s",
			made.Partitions, made.Kept, made.Records, made.Rows, made.Tail, time.Since(began).Round(time.Millisecond))
		if made.Swapped {
			fmt.Fprintln(out, "; they are live")
		} else {
			fmt.Fprintln(out, "; they are in views_rebuild, add --swap to put them live")
		}
		return nil
	})
}

type untilFlags struct {
	UntilOffset int64     `help:"Records of the account's partition below this offset." placeholder:"OFFSET"`
	UntilTime   time.Time `help:"Records up to this time." placeholder:"2026-01-31T15:04:05Z"`
}

func (f untilFlags) until() replay.Until {
	return replay.Until{Offset: f.UntilOffset, Time: f.UntilTime}
}

type replayShow struct {
	JID string `arg:"" name:"jid" help:"Bare JID of the account."`
	replayFlags
	untilFlags
}

// Run prints a line for each record.
func (c *replayShow) Run(ctx context.Context, out io.Writer) error {
	account, err := jid.ParseBare(c.JID)
	if err != nil {
		return err
	}
	return c.with(ctx, func(o replay.Options) error {
		table, records := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0), 0
		if err := replay.History(ctx, o, account, c.until(), func(e replay.Entry) error {
			records++
			note := ""
			if e.Copy {
				note = "(a copy, not folded) "
			}
			_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s%s\n", e.At, moment(e.Time), e.Kind, note, e.Text)
			return err
		}); err != nil {
			return err
		}
		if records == 0 {
			fmt.Fprintln(out, "no records of", account)
		}
		return table.Flush()
	})
}

// moment writes the time of a record as --until-time reads it, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

type replayState struct {
	JID string `arg:"" name:"jid" help:"Bare JID of the account."`
	replayFlags
	untilFlags
}

// Run prints the state.
func (c *replayState) Run(ctx context.Context, out io.Writer) error {
	account, err := jid.ParseBare(c.JID)
	if err != nil {
		return err
	}
	return c.with(ctx, func(o replay.Options) error {
		s, at, err := replay.StateAt(ctx, o, account, c.until())
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s before %s: exists %t\n", account, at, s.Exists)
		for _, contact := range slices.SortedFunc(maps.Keys(s.Roster), jid.Compare) {
			i := s.Roster[contact]
			fmt.Fprintf(out, "  contact   %s: %s, name %q, groups %q, version %d, removed %t\n", contact, i.State, i.Name, i.Groups, i.Version, i.Removed)
		}
		for _, name := range slices.Sorted(maps.Keys(s.Resources)) {
			r := s.Resources[name]
			fmt.Fprintf(out, "  resource  %s: available %t, show %q, status %q, priority %d, on %s since %s\n",
				name, r.Available, r.Show, r.Status, r.Priority, r.Edge, r.Since.UTC().Format(time.RFC3339))
		}
		for _, offset := range slices.Sorted(maps.Keys(s.Inbox)) {
			fmt.Fprintf(out, "  inbox     %d from %s at %s\n", offset, s.Inbox[offset].Accepted.GetFrom(), s.Inbox[offset].At.UTC().Format(time.RFC3339))
		}
		for _, name := range slices.Sorted(maps.Keys(s.Nodes)) {
			n := s.Nodes[name]
			fmt.Fprintf(out, "  node      %s: access %s, %d of %d items\n", name, strings.ToLower(strings.TrimPrefix(event.Access(n.Access).String(), "ACCESS_")), len(n.Items), n.Keeps())
			for _, i := range n.Items {
				fmt.Fprintf(out, "    item    %s, version %d, %d bytes\n", i.ID, i.Version, len(i.Payload))
			}
		}
		var kept []string
		for key, e := range s.Storage {
			space := strings.ToLower(strings.TrimPrefix(key.Space.String(), "SPACE_"))
			kept = append(kept, fmt.Sprintf("  kept      %s, version %d, %d bytes\n", strings.TrimSpace(space+" "+key.Name), e.Version, len(e.Payload)))
		}
		slices.Sort(kept)
		fmt.Fprint(out, strings.Join(kept, ""))
		if s.Departed.At != 0 {
			fmt.Fprintf(out, "  left at   %s, status %q\n", time.UnixMicro(s.Departed.At).UTC().Format(time.RFC3339), s.Departed.Status)
		}
		return nil
	})
}

// replayLog reads ranges of the topic account.
type replayLog struct {
	brokers []string
	admin   *eventlog.Admin
}

// Starts gives the first offsets.
func (l replayLog) Starts(ctx context.Context) (map[int32]int64, error) {
	return l.admin.Starts(ctx, topic.Account)
}

// Ends gives the offsets after the last records.
func (l replayLog) Ends(ctx context.Context) (map[int32]int64, error) {
	return l.admin.Ends(ctx, topic.Account)
}

// errMet ends the reading of a range.
var errMet = errors.New("end of the range")

// Read reads one range.
func (l replayLog) Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key, value []byte) error) error {
	if from >= to {
		return nil
	}
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: l.brokers, Topic: topic.Account})
	if err != nil {
		return err
	}
	tail.Assign(partition, from)
	err = tail.Run(ctx, func(_ context.Context, b eventlog.Batch) error {
		for _, r := range b.Records {
			if r.Offset >= to {
				return errMet
			}
			if err := fn(r.Offset, r.Key, r.Value); err != nil {
				return err
			}
			if r.Offset == to-1 {
				return errMet
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errMet):
		return nil
	case err == nil:
		return ctx.Err() // Run ends without an error only when ctx does
	}
	return err
}
