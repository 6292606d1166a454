package rosters

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

func TestRosterAsOfAnOffset(t *testing.T) {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO views.projected VALUES (3, 10, '', 1, now())`)
	exec(`INSERT INTO views.account VALUES ('a@localhost', 3, 2, '2026-11-24 12:00:00.000007+00')`)
	exec(`INSERT INTO views.resource SELECT 'a@localhost', r, 3, '01930000-0000-7000-8000-000000000000', 'e1', 1, false, '', '', 0, '', '', '', 3, 3, now() FROM unnest(ARRAY['x', 'y']) r`)
	exec(`INSERT INTO run.roster_purged VALUES ('a@localhost', 5)`)
	exec(`INSERT INTO views.roster_item VALUES
		('a@localhost', 'b@localhost', 'B', '{Friends}', 3, 7, false, NULL),
		('a@localhost', 'd@localhost', '', '{}', 17, 8, false, NULL),
		('a@localhost', 'c@localhost', '', '{}', 8, 0, true, '')`)
	r := New(pool)
	a := jid.MustBare("a@localhost")

	roster, err := r.Roster(t.Context(), a, 3, 10)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Date(2026, 11, 24, 12, 0, 0, 7000, time.UTC).UnixMicro()
	if roster.NextOffset != 10 || len(roster.Items) != 3 || roster.Created != 2 || roster.CreatedAt != created || roster.Purged != 5 || roster.Resources != 2 {
		t.Fatalf("got %v", roster)
	}
	for _, it := range roster.Items {
		switch it.GetContact() {
		case "b@localhost":
			if it.GetName() != "B" || len(it.GetGroups()) != 1 || !it.GetTo() || !it.GetFrom() || it.GetRemoved() || it.Version != 7 || it.Request != nil {
				t.Errorf("got %v", it)
			}
		case "d@localhost":
			if !it.GetTo() || !it.GetApproved() || it.GetFrom() {
				t.Errorf("got %v", it)
			}
		case "c@localhost":
			if !it.GetPendingIn() || !it.GetRemoved() || it.Request == nil {
				t.Errorf("got %v", it)
			}
		}
	}
	if roster, err := r.Roster(t.Context(), jid.MustBare("z@localhost"), 3, 0); err != nil || len(roster.Items) != 0 || roster.NextOffset != 10 {
		t.Errorf("of nobody: %v, %v", roster, err)
	}
	if roster, err := r.Roster(t.Context(), a, 4, 0); err != nil || len(roster.Items) != 3 || roster.NextOffset != 0 {
		t.Errorf("before anything is projected: %v, %v", roster, err)
	}

	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Roster(short, a, 3, 11); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		_, err := r.Roster(t.Context(), a, 3, 11)
		got <- err
	}()
	exec(`UPDATE views.projected SET next_offset = 11`)
	if err := <-got; err != nil {
		t.Errorf("once it is there: %v", err)
	}
}

func BenchmarkRoster(b *testing.B) {
	url := localtest.Postgres(b)
	if err := postgres.Migrate(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	// 180,000 items in all, so that those of an account are not all there is.
	if _, err := pool.Exec(b.Context(), `INSERT INTO views.projected VALUES (3, 10, '', 2, now())`); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{20, 200, 2000} {
		if _, err := pool.Exec(b.Context(), `INSERT INTO views.roster_item
SELECT 'a' || a || '.' || $1 || '@localhost', 'contact' || i || '@localhost', 'Contact ' || i, '{Friends}', 3, i, false, NULL
FROM generate_series(1, 60000 / $1::int) a, generate_series(1, $1::int) i`, n); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pool.Exec(b.Context(), "ANALYZE views.roster_item"); err != nil {
		b.Fatal(err)
	}
	r := New(pool)
	for _, n := range []int{20, 200, 2000} {
		b.Run(fmt.Sprintf("items=%d", n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				i = i%(60000/n) + 1
				roster, err := r.Roster(b.Context(), jid.MustBare(fmt.Sprintf("a%d.%d@localhost", i, n)), 3, 0)
				if err != nil || len(roster.Items) != n {
					b.Fatal(len(roster.Items), err)
				}
			}
		})
	}
}
