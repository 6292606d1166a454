package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

func opened(t testing.TB) (*Store, *pgxpool.Pool) {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return New(pool), pool
}

var hard = []string{"", `\N`, `a"b\c,{}`, "tab\tnewline\nreturn\r", "日本", "NULL", " "}

// unit writes n rows of every table, different ones in another round.
func unit(n, round int, from, to int64) *Unit {
	u := &Unit{Advances: []Advance{{Partition: 1, From: from, To: to, Marks: []byte{1, byte(round)}}}}
	for i := range n {
		name, text := fmt.Sprintf("u%d@localhost", i), hard[(i+round)%len(hard)]
		u.Put.Accounts = append(u.Put.Accounts, AccountRow{name, 1, int64(round), 1_790_000_000_000_001, int64(i % 2 * 1_790_000_000), text})
		u.Put.Items = append(u.Put.Items, ItemRow{name, "c@localhost", text, textArray([]string{"g", text}), 3, int64(round), false, text})
		u.Put.Resources = append(u.Put.Resources, ResourceRow{name, "r" + text, 1, uuid.UUID{byte(i), 7}, "e", 1, true, "away", text, -5, "\x00\xff" + text, "en", "id", 2, 1, 1_790_000_000_000_002, true, uuid.UUID{byte(i), 8}, 1, -1, "\x00\xff" + text, i%2 == 0})
		u.Put.Ended = append(u.Put.Ended, EndedRow{name, uuid.UUID{byte(i), byte(len(text))}, uuid.UUID{7}, text, 1, 5, text, i%2 == 0, strings.Repeat(text, 1-i%2), 9, 1_790_000_000_000_005, i%2 == 0})
		u.Put.Directed = append(u.Put.Directed, DirectedRow{name, "r", "t@localhost/" + text})
		u.Put.Inbox = append(u.Put.Inbox, InboxRow{name, int64(i), uuid.UUID{byte(i), 9}, 1_790_000_000_000_003, "s@localhost/x", text, ""})
		u.Put.Origins = append(u.Put.Origins, OriginsRow{name, strings.Repeat("\x00\xff\\hash\n\x02", 1+i%3+round)})
		u.Put.Nodes = append(u.Put.Nodes, NodeRow{name, "n" + text, 3, 1 << 31, true, false, int64(round)})
		u.Put.NodeItems = append(u.Put.NodeItems, NodeItemRow{name, "n", "i" + text, int64(i), 1_790_000_000_000_004, "\x00\xff" + text})
		u.Put.Privacy = append(u.Put.Privacy, PrivacyRow{name, 1, textArray([]string{"b", text}), text, "", "\x00\xff" + text})
		u.Put.Hidden = append(u.Put.Hidden, HiddenRow{name, "r" + text, text})
		u.Put.Refused = append(u.Put.Refused, RefusedRow{name, "c" + text})
		u.Put.Push = append(u.Put.Push, PushRow{name, "push.x", "n" + text, int64(i), "<x/>" + text})
		u.Put.Archive = append(u.Put.Archive, ArchiveRow{name, int64(round), 3, clean(strings.ReplaceAll(text, "\n", "")), "a@localhost\nb@localhost/r r"})
		u.Put.Storage = append(u.Put.Storage, StorageRow{name, 2, "{ns}" + text, int64(i), "<x/>" + text})
	}
	return u
}

// Arrays and COPY write the same rows, and reading gives what was written.
func TestWritesAndReadsRows(t *testing.T) {
	for _, n := range []int{14, copyAbove + 1} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s, pool := opened(t)
			if _, err := s.Open(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if err := s.Commit(t.Context(), unit(n, 0, 0, 10)); err != nil {
				t.Fatal(err)
			}
			second := unit(n, 1, 10, 20)
			for i := range n { // other keys by the text: the first ones go
				second.Remove.Resources = append(second.Remove.Resources, ResourceKey{fmt.Sprintf("u%d@localhost", i), "r" + hard[i%len(hard)]})
				second.Remove.Directed = append(second.Remove.Directed, ResourceKey{fmt.Sprintf("u%d@localhost", i), "r"})
				gone := hard[i%len(hard)]
				second.Remove.Ended = append(second.Remove.Ended, EndedKey{fmt.Sprintf("u%d@localhost", i), uuid.UUID{byte(i), byte(len(gone))}})
				second.Remove.Hidden = append(second.Remove.Hidden, HiddenRow{fmt.Sprintf("u%d@localhost", i), "r" + gone, gone})
				second.Remove.Push = append(second.Remove.Push, PushKey{fmt.Sprintf("u%d@localhost", i), "push.x", "n" + gone})
				second.Remove.Refused = append(second.Remove.Refused, RefusedRow{fmt.Sprintf("u%d@localhost", i), "c" + gone})
				second.Remove.Nodes = append(second.Remove.Nodes, NodeKey{fmt.Sprintf("u%d@localhost", i), "n" + gone})
				second.Remove.NodeItems = append(second.Remove.NodeItems, NodeItemKey{fmt.Sprintf("u%d@localhost", i), "n", "i" + gone})
				second.Remove.Storage = append(second.Remove.Storage, StorageKey{fmt.Sprintf("u%d@localhost", i), 2, "{ns}" + gone})
			}
			if err := s.Commit(t.Context(), second); err != nil {
				t.Fatal(err)
			}
			var got *Rows
			if err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
				got, err = ReadPartition(t.Context(), tx, 1)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			same(t, "account", got.Accounts, second.Put.Accounts)
			same(t, "roster_item", got.Items, second.Put.Items)
			same(t, "resource", got.Resources, second.Put.Resources)
			same(t, "directed", got.Directed, second.Put.Directed)
			same(t, "inbox", got.Inbox, second.Put.Inbox)
			same(t, "origins", got.Origins, second.Put.Origins)
			same(t, "node", got.Nodes, second.Put.Nodes)
			same(t, "node_item", got.NodeItems, second.Put.NodeItems)
			same(t, "privacy", got.Privacy, second.Put.Privacy)
			same(t, "hidden", got.Hidden, second.Put.Hidden)
			same(t, "refused", got.Refused, second.Put.Refused)
			same(t, "push", got.Push, second.Put.Push)
			same(t, "archive", got.Archive, second.Put.Archive)
			same(t, "storage", got.Storage, second.Put.Storage)

			var last Unit
			last.Advances = []Advance{{Partition: 1, From: 20, To: 30, Marks: []byte{}}}
			for i := range n {
				name := fmt.Sprintf("u%d@localhost", i)
				last.Remove.Accounts = append(last.Remove.Accounts, name)
				last.Remove.Privacy = append(last.Remove.Privacy, name)
				last.Remove.Items = append(last.Remove.Items, ItemKey{name, "c@localhost"})
				last.Remove.Inbox = append(last.Remove.Inbox, InboxKey{name, int64(i)})
				if i > 0 {
					last.Remove.Origins = append(last.Remove.Origins, name)
				}
			}
			if err := s.Commit(t.Context(), &last); err != nil {
				t.Fatal(err)
			}
			states, err := s.Load(t.Context(), []jid.Bare{jid.MustBare("u1@localhost")})
			if one := states["u1@localhost"]; err != nil || one.Exists || len(one.Roster)+len(one.Inbox) != 0 || len(one.Resources) != 1 {
				t.Errorf("left %+v, %v", one, err)
			}
			states, err = s.Load(t.Context(), []jid.Bare{jid.MustBare("u0@localhost"), jid.MustBare("u1@localhost")})
			if err != nil || len(states["u0@localhost"].Origins) != 2 || states["u0@localhost"].Origins[1].Offset != 2 || len(states["u1@localhost"].Origins) != 0 {
				t.Errorf("origins %+v %+v, %v", states["u0@localhost"].Origins, states["u1@localhost"].Origins, err)
			}
		})
	}
}

func same[R comparable](t *testing.T, table string, got, want []R) {
	t.Helper()
	left := make(map[R]bool)
	for _, r := range want {
		left[r] = true
	}
	for _, r := range got {
		if !left[r] {
			t.Fatalf("%s: unexpected %+v", table, r)
		}
		delete(left, r)
	}
	for r := range left {
		t.Fatalf("%s: missing %+v", table, r)
	}
}

func TestCommitIsFenced(t *testing.T) {
	s, _ := opened(t)
	if _, err := s.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), unit(3, 0, 0, 10)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3, copyAbove + 1} {
		if err := s.Commit(t.Context(), unit(n, 1, 0, 11)); !errors.Is(err, ErrFenced) {
			t.Errorf("%d rows: %v", n, err)
		}
	}
	// Of two partitions one is enough, and nothing is written.
	if _, err := s.Open(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	both := unit(3, 2, 10, 20)
	both.Advances = append(both.Advances, Advance{Partition: 2, From: 5, To: 6, Marks: []byte{}})
	if err := s.Commit(t.Context(), both); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if at, err := s.Open(t.Context(), 1); err != nil || at.Next != 10 {
		t.Errorf("partition 1 stands at %d, %v", at.Next, err)
	}
}

func TestReactionsStayUntilAcked(t *testing.T) {
	s, _ := opened(t)
	var all []Reaction
	for i := range 6 {
		all = append(all, Reaction{Partition: 1, Offset: int64(i / 2), Index: int32(i % 2), Topic: "account", Key: []byte("a@localhost"), Kind: "k", Record: []byte{0, byte(i)}})
	}
	all = append(all, Reaction{Partition: 1, Offset: 9, Topic: "dead-letter", Key: []byte("\xff"), Error: "bad\x00", Record: []byte("\xff")})
	if err := s.Commit(t.Context(), &Unit{Reactions: all}); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), &Unit{Acked: []Acked{{1, Before, Place{1, 0}}, {2, Before, Place{100, 0}}}}); err != nil {
		t.Fatal(err)
	}
	all[6].Error = "bad"
	got, err := s.Pending(t.Context(), 1)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(all[3:]) {
		t.Errorf("pending %v, %v", got, err)
	}
}

// counted returns when all that was done is in the statistics: what a connection
// counted is there when it has ended.
func counted(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	pool.Reset()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var others int
		err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil {
			t.Fatal(err)
		}
		if others == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections have not ended", others)
		}
	}
}

// TestCommitsReadNoWholeTable: tables whose rows come and go have many dead ones.
func TestCommitsReadNoWholeTable(t *testing.T) {
	s, pool := opened(t)
	if _, err := s.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	scans := func() (all map[string]int64) {
		all = make(map[string]int64)
		rows, err := pool.Query(t.Context(), `SELECT relname, seq_scan FROM pg_stat_user_tables WHERE schemaname IN ('views', 'run')`)
		if err != nil {
			t.Fatal(err)
		}
		var name string
		var n int64
		if _, err := pgx.ForEachRow(rows, []any{&name, &n}, func() error { all[name] = n; return nil }); err != nil {
			t.Fatal(err)
		}
		return all
	}
	commits := func(units ...*Unit) {
		t.Helper()
		for _, u := range units {
			if err := s.Commit(t.Context(), u); err != nil {
				t.Fatal(err)
			}
		}
		counted(t, pool)
	}
	if _, err := pool.Exec(t.Context(), `VACUUM ANALYZE`); err != nil {
		t.Fatal(err)
	}
	commits()
	before := scans()
	const n = 20
	var units []*Unit
	for i := range int64(n) {
		u := unit(7, int(i), i, i+1)
		u.Reactions = []Reaction{{Partition: 1, Offset: i, Topic: "account", Key: []byte("a@x"), Record: []byte("x")}}
		last := &Unit{Acked: []Acked{{1, Place{i - 1, 0}, Place{i, 0}}}}
		if i%2 == 0 {
			u.Acked = []Acked{{1, Place{i - 2, 0}, Place{i - 1, 0}}}
			last = &Unit{}
		}
		for _, r := range u.Put.Inbox {
			u.Remove.Inbox = append(u.Remove.Inbox, InboxKey{r.Account, r.Offset + 100})
		}
		for _, r := range u.Put.Resources {
			u.Remove.Resources = append(u.Remove.Resources, ResourceKey{r.Account, "none"})
		}
		units = append(units, u, last)
	}
	commits(units...)
	for name, scanned := range scans() {
		// Where a partition stands is a row for each, and they all change.
		if scanned > before[name] && name != "projected" {
			t.Errorf("%s was read whole %d times", name, scanned-before[name])
		}
	}
}

// TestForgettingLooksAtNothingTwice: reactions that are gone lie there as long as
// anybody may see them, and are not looked at again.
func TestForgettingLooksAtNothingTwice(t *testing.T) {
	s, pool := opened(t)
	if _, err := s.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	old, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Rollback(t.Context())
	const n = 200
	for i := range int64(n) {
		if i == 1 { // its snapshot has the first
			if _, err := old.Exec(t.Context(), `SELECT count(*) FROM run.reaction`); err != nil {
				t.Fatal(err)
			}
		}
		u := &Unit{Advances: []Advance{{Partition: 1, From: i, To: i + 1, Marks: []byte{}}},
			Reactions: []Reaction{{Partition: 1, Offset: i, Topic: "account", Key: []byte("a@x"), Record: []byte("x")}}}
		if i > 0 {
			u.Acked = []Acked{{1, Place{i - 2, 0}, Place{i - 1, 0}}}
		}
		if err := s.Commit(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted(t, pool)
	var read int64
	err = pool.QueryRow(t.Context(), `SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'reaction_key'`).Scan(&read)
	if err != nil || read < n-1 || read > 2*n {
		t.Errorf("%d reactions were looked at for %d, %v", read, n-1, err)
	}
}

func TestTextArrays(t *testing.T) {
	if got := textOf(textArray(hard)); !slices.Equal(got, hard) {
		t.Errorf("got %q", got)
	}
	if textArray(nil) != "{}" || textOf("{}") != nil {
		t.Error("the empty array")
	}
}
