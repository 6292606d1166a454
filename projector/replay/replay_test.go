package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

const partitions = 3

// A bench is a log that a live projector folds into a database.
type bench struct {
	*testing.T
	log    *logtest.Log
	writer *logtest.Writer
	pool   *pgxpool.Pool
	o      Options
	stop   func()
}

func newBench(t *testing.T, seed uint64) *bench {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	l := logtest.New(partitions)
	b := &bench{T: t, log: l, writer: logtest.NewWriter(l, seed, 9), pool: pool,
		o: Options{Postgres: pool, Log: l, Partitions: partitions}}
	b.writer.Create()
	b.writer.Write(600)
	b.start()
	return b
}

func (b *bench) start() {
	group := logtest.NewGroup()
	group.Give("a", 0, 1, 2)
	p, err := projector.New(projector.Options{Postgres: b.pool, Partitions: partitions, Tail: b.log.Tail(100), Appender: b.log.Appender(),
		Member: group.Member("a"), CacheRows: 100, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		b.stop = func() {}
	}
	b.Cleanup(func() { b.stop() })
}

func (b *bench) settle() {
	b.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		ends, _ := b.log.Ends(b.Context())
		live, err := liveOffsets(b.Context(), &b.o)
		var pending int
		if err == nil {
			err = b.pool.QueryRow(b.Context(), "SELECT count(*) FROM run.reaction").Scan(&pending)
		}
		if again, _ := b.log.Ends(b.Context()); err == nil && pending == 0 && reflect.DeepEqual(ends, again) && reflect.DeepEqual(ends, live) {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("not projected: the log ends at %v, projected to %v (%v)", ends, live, err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *bench) exec(sql string, args ...any) {
	b.Helper()
	if _, err := b.pool.Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) verify() Report {
	b.Helper()
	report, err := Verify(b.Context(), b.o)
	if err != nil {
		b.Fatal(err)
	}
	return report
}

func (b *bench) clean() {
	b.Helper()
	report := b.verify()
	for _, d := range report.Diffs {
		b.Error(d)
	}
	if report.Different != 0 || report.Rows == 0 {
		b.Errorf("%d of %d rows differ", report.Different, report.Rows)
	}
}

// dump gives every row of views that is the fold's, in order.
func (b *bench) dump() string {
	b.Helper()
	var all strings.Builder
	for _, table := range []string{"account", "roster_item", "resource", "directed", "inbox", "online_friends", "audience"} {
		var rows string
		if err := b.pool.QueryRow(b.Context(), "SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM "+table+" t").Scan(&rows); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, rows)
	}
	return all.String()
}

func TestVerifyWhileProjectionGoesOn(t *testing.T) {
	b := newBench(t, 1)
	b.settle()
	for range 5 {
		b.writer.Write(100)
		b.clean()
	}
	b.settle()
	b.clean()
}

func TestVerifyFindsPlantedDifferences(t *testing.T) {
	b := newBench(t, 2)
	b.settle()
	b.stop()
	for _, plant := range []struct{ name, sql, table, want string }{
		{"changed", `UPDATE resource SET status = 'planted' WHERE ctid = (SELECT min(ctid) FROM resource)`, "resource", `Status: live "planted", log "`},
		{"missing", `DELETE FROM roster_item WHERE ctid = (SELECT min(ctid) FROM roster_item WHERE NOT removed)`, "roster_item", "missing"},
		{"too much", `INSERT INTO directed SELECT account, 'no such', 'x@localhost' FROM account LIMIT 1`, "directed", "too much"},
		{"of no account", `INSERT INTO inbox VALUES ('nobody@localhost', 1, gen_random_uuid(), now(), 'a@localhost/x', '', '')`, "inbox", "too much"},
		{"forgotten", `DELETE FROM origins WHERE ctid = (SELECT min(ctid) FROM origins)`, "origins", "missing"},
		{"marks", `UPDATE projected SET marks = '' WHERE partition = 1`, "projected", "marks differ"},
	} {
		t.Run(plant.name, func(t *testing.T) {
			tx := fmt.Sprintf("CREATE TABLE IF NOT EXISTS public.saved_%[1]s AS TABLE views.%[1]s", plant.table)
			b.exec(tx)
			b.exec(plant.sql)
			report := b.verify()
			b.exec(fmt.Sprintf("TRUNCATE views.%[1]s; INSERT INTO views.%[1]s TABLE public.saved_%[1]s", plant.table))
			if report.Different != 1 || len(report.Diffs) != 1 || report.Diffs[0].Table != plant.table || !strings.Contains(report.Diffs[0].What, plant.want) {
				t.Errorf("report %+v", report)
			}
			if report.Err() == nil {
				t.Error("the report gives no error")
			}
		})
	}
	b.clean()
}

func TestVerifyIgnoresPurgedTombstones(t *testing.T) {
	b := newBench(t, 3)
	b.settle()
	b.stop()
	b.exec("UPDATE run.day SET day = day - 40")
	var before, after int
	count := "SELECT count(*) FROM roster_item WHERE removed AND state = 0"
	if err := b.pool.QueryRow(t.Context(), count).Scan(&before); err != nil {
		t.Fatal(err)
	}
	newest := "SELECT coalesce(string_agg(account || ' ' || version, ', ' ORDER BY account), '') FROM "
	var missing, noted string
	if err := b.pool.QueryRow(t.Context(), newest+"(SELECT account, max(version) AS version FROM roster_item WHERE removed AND state = 0 GROUP BY account)").Scan(&missing); err != nil {
		t.Fatal(err)
	}
	// The days were noted at the first commit; purge as if at the last.
	b.exec("UPDATE run.day d SET next_offset = p.next_offset FROM projected p WHERE p.partition = d.partition")
	s := store.New(b.pool)
	var gone int64
	for p := range int32(partitions) {
		n, err := s.PurgeTombstones(t.Context(), p, time.Now(), 30*24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		gone += n
	}
	if err := b.pool.QueryRow(t.Context(), count).Scan(&after); err != nil {
		t.Fatal(err)
	}
	if before == 0 || after != 0 || gone != int64(before) {
		t.Errorf("%d tombstones before, %d purged, %d after", before, gone, after)
	}
	// Who answers what changed since knows what it cannot tell (RFC 6121, section 2.6.3).
	if err := b.pool.QueryRow(t.Context(), newest+"run.roster_purged").Scan(&noted); err != nil {
		t.Fatal(err)
	}
	if noted != missing {
		t.Errorf("noted %q, missing %q", noted, missing)
	}
	b.clean()
}

func TestRebuildAndSwapUnderALiveProjector(t *testing.T) {
	b := newBench(t, 4)
	b.writer.Write(400)
	// More comes while it works, and after.
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				b.writer.Write(5)
				time.Sleep(time.Millisecond)
			}
		}
	}()
	b.o.Swap = true
	for range 3 {
		made, err := Rebuild(t.Context(), b.o)
		if err != nil {
			t.Fatal(err)
		}
		if !made.Swapped || made.Rows == 0 {
			t.Errorf("made %+v", made)
		}
	}
	close(stop)
	<-done
	b.writer.Write(200)
	b.settle()
	b.clean()
	var left bool
	if err := b.pool.QueryRow(t.Context(), "SELECT to_regnamespace('views_old') IS NOT NULL OR to_regnamespace('views_rebuild') IS NOT NULL").Scan(&left); err != nil || left {
		t.Errorf("a schema was left behind: %v, %v", left, err)
	}
}

// A rebuild repairs what somebody broke, and gives the same rows, keys, indexes
// and settings as the live views had.
func TestRebuildGivesTheSame(t *testing.T) {
	b := newBench(t, 5)
	b.settle()
	want := b.dump()
	shape := `SELECT string_agg(x, E'\n' ORDER BY x) FROM (
SELECT pg_get_indexdef(indexrelid) x FROM pg_index i JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'views'::regnamespace
UNION ALL SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'views'::regnamespace
UNION ALL SELECT relname || coalesce(reloptions::text, '') FROM pg_class WHERE relnamespace = 'views'::regnamespace
UNION ALL SELECT table_name || column_name || data_type || coalesce(collation_name, '') || is_nullable FROM information_schema.columns WHERE table_schema = 'views'
UNION ALL SELECT pg_get_viewdef(oid) FROM pg_class WHERE relnamespace = 'views'::regnamespace AND relkind = 'v') s`
	var before, after string
	if err := b.pool.QueryRow(t.Context(), shape).Scan(&before); err != nil {
		t.Fatal(err)
	}
	b.exec("DELETE FROM roster_item; UPDATE resource SET status = 'broken'")
	b.o.Swap = true
	if _, err := Rebuild(t.Context(), b.o); err != nil {
		t.Fatal(err)
	}
	if got := b.dump(); got != want {
		t.Errorf("rebuilt:\n%s\nlive:\n%s", got, want)
	}
	if err := b.pool.QueryRow(t.Context(), shape).Scan(&after); err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("shape before:\n%s\nafter:\n%s", before, after)
	}
	b.clean()
	// The live projector's states are those of before: it goes on.
	b.writer.Write(200)
	b.settle()
	b.clean()
}

func TestRebuildGoesOnWhereItWasKilled(t *testing.T) {
	b := newBench(t, 6)
	b.settle()
	killed := errors.New("killed")
	for _, step := range []string{"filled", "indexed", "swap"} {
		o := b.o
		o.Swap = true
		o.fault = func(at string) error {
			if at == step {
				return killed
			}
			return nil
		}
		if _, err := Rebuild(t.Context(), o); !errors.Is(err, killed) {
			t.Fatalf("at %s: %v", step, err)
		}
		b.writer.Write(50)
	}
	b.o.Swap = true
	made, err := Rebuild(t.Context(), b.o)
	if err != nil || !made.Swapped || made.Kept != partitions {
		t.Fatalf("made %+v, %v", made, err)
	}
	b.writer.Write(50)
	b.settle()
	b.clean()
}

func TestReadsTheArchiveBelowTheLog(t *testing.T) {
	b := newBench(t, 7)
	b.settle()
	for p := range int32(partitions) {
		b.log.Forget(p, 50)
	}
	if _, err := Verify(t.Context(), b.o); err == nil {
		t.Error("verified a log without its beginning")
	}
	b.o.Archive = b.log.Whole()
	if report := b.verify(); report.Different != 0 || !report.Archived {
		t.Errorf("report %+v", report)
	}
}

// Every past state is what a fold of the account alone gives, and the last is
// what Postgres has.
func TestStateAt(t *testing.T) {
	b := newBench(t, 8)
	b.settle()
	of := b.writer.Accounts()[0]
	now, at, err := StateAt(t.Context(), b.o, of, Until{})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := store.New(b.pool).Load(t.Context(), []jid.Bare{of})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := rowsOf(now), rowsOf(loaded[of.String()]); got != want {
		t.Errorf("state at %s:\n%s\nin Postgres:\n%s", at, got, want)
	}
	var entries []Entry
	if err := History(t.Context(), b.o, of, Until{}, func(e Entry) error { entries = append(entries, e); return nil }); err != nil {
		t.Fatal(err)
	}
	s := account.New(of)
	for i, e := range entries {
		if e.Text == "" || e.Kind == "" {
			t.Errorf("entry %+v says nothing", e)
		}
		if e.Event != nil && !e.Copy {
			s.Apply(e.At.Offset, e.Event)
		}
		if i%20 != 0 {
			continue
		}
		past, at, err := StateAt(t.Context(), b.o, of, Until{Offset: e.At.Offset + 1})
		if err != nil {
			t.Fatal(err)
		}
		if at.Offset != e.At.Offset+1 || rowsOf(past) != rowsOf(s) {
			t.Errorf("state at %s:\n%s\nwant\n%s", at, rowsOf(past), rowsOf(s))
		}
	}
	if len(entries) < 50 || entries[0].Kind != "account_created" {
		t.Fatalf("%d entries, the first %+v", len(entries), entries[0])
	}
	// By time: the account was created at the time of its first event, and nothing before.
	created, _, err := StateAt(t.Context(), b.o, of, Until{Time: event.Time(entries[0].Event)})
	if err != nil || !created.Exists || len(created.Roster)+len(created.Resources) != 0 {
		t.Errorf("when created: %+v, %v", created, err)
	}
	before, _, err := StateAt(t.Context(), b.o, of, Until{Time: event.Time(entries[0].Event).Add(-time.Second)})
	if err != nil || before.Exists {
		t.Errorf("before: %+v, %v", before, err)
	}
}

func rowsOf(s *account.State) string {
	w := newWorld(0, partitions)
	w.states[s.Account.String()] = s
	rows := w.rows()
	var lines []string
	for _, r := range rows.Accounts {
		lines = append(lines, fmt.Sprint(r))
	}
	for _, r := range rows.Items {
		lines = append(lines, fmt.Sprint(r))
	}
	for _, r := range rows.Resources {
		lines = append(lines, fmt.Sprint(r))
	}
	for _, r := range rows.Directed {
		lines = append(lines, fmt.Sprint(r))
	}
	for _, r := range rows.Inbox {
		lines = append(lines, fmt.Sprint(r))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
