package postgres_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/subscription"
)

// migrated gives a connection to an empty database that several processes
// migrated at once.
func migrated(t *testing.T) *pgx.Conn {
	url := localtest.Postgres(t)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Error(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(t.Context()) })
	return conn
}

func TestStateBits(t *testing.T) {
	if subscription.To != 1 || subscription.From != 2 || subscription.PendingOut != 4 || subscription.PendingIn != 8 || subscription.Approved != 16 {
		t.Error("views and indexes of the migrations take the bits to be 1, 2, 4, 8 and 16")
	}
}

func TestOnlineFriends(t *testing.T) {
	conn := migrated(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, item := range []struct {
		account, contact string
		state            subscription.State
		removed          bool
	}{
		{"both@localhost", "a@localhost", subscription.Both, false},
		{"from@localhost", "a@localhost", subscription.From, false},
		{"to@localhost", "a@localhost", subscription.To, false},
		{"asked@localhost", "a@localhost", subscription.PendingIn, true},
		{"away@localhost", "a@localhost", subscription.Both, false},
		{"other@localhost", "b@localhost", subscription.Both, false},
		// What a's own roster says does not count.
		{"a@localhost", "to@localhost", subscription.Both, false},
		{"a@localhost", "gone@localhost", subscription.Both, false},
	} {
		if _, err := conn.Exec(t.Context(), `INSERT INTO roster_item VALUES ($1, $2, '', '{}', $3, 1, $4, NULL)`,
			item.account, item.contact, int16(item.state), item.removed); err != nil {
			t.Fatal(err)
		}
	}
	for _, account := range []string{"both", "from", "to", "asked", "other"} {
		exec(`INSERT INTO resource VALUES ('` + account + `@localhost', 'desk', 0, gen_random_uuid(), 'e', 1, true, 'dnd', 'busy', 5, '', '', '', 2, 1, '2026-11-24T10:00:00Z')`)
		exec(`INSERT INTO resource VALUES ('` + account + `@localhost', 'phone', 0, gen_random_uuid(), 'e', 1, false, '', '', 0, '', '', '', 2, 1, now())`)
	}
	rows, err := conn.Query(t.Context(), `SELECT concat_ws(' ', contact, resource, show, status, priority, since AT TIME ZONE 'UTC') FROM online_friends WHERE owner = 'a@localhost' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	friends, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	const want = "both@localhost desk dnd busy 5 2026-11-24 10:00:00, from@localhost desk dnd busy 5 2026-11-24 10:00:00"
	if got := strings.Join(friends, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// Both directions are found by an index.
	exec(`SET enable_seqscan = off`)
	for _, query := range []string{
		`SELECT * FROM online_friends WHERE owner = 'a@localhost'`,
		`SELECT * FROM audience WHERE account = 'a@localhost'`,
		`SELECT * FROM audience WHERE contact = 'a@localhost'`,
	} {
		rows, err := conn.Query(t.Context(), "EXPLAIN "+query)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if text := strings.Join(plan, "\n"); err != nil || strings.Contains(text, "Seq Scan") || !strings.Contains(text, "Index Cond") && !strings.Contains(text, "Recheck Cond") {
			t.Errorf("%s:\n%s (%v)", query, text, err)
		}
	}
}
