package sessions

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

// ends of a log.
type ends map[int32]int64

func (e ends) Ends(context.Context, string) (map[int32]int64, error) { return e, nil }

func opened(t *testing.T) *pgxpool.Pool {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func exec(t *testing.T, pool *pgxpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

func projected(t *testing.T, pool *pgxpool.Pool, partition int32, next int64) {
	t.Helper()
	exec(t, pool, `INSERT INTO views.projected VALUES ($1, $2, '', 2, now())
		ON CONFLICT (partition) DO UPDATE SET next_offset = EXCLUDED.next_offset`, partition, next)
}

// settles tells whether Settled returns, as things stand.
func settles(t *testing.T, r *Reader) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := r.Settled(ctx, 1)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil
}

func TestSettled(t *testing.T) {
	pool := opened(t)
	r := New(pool, ends{0: 5, 1: 9})
	projected(t, pool, 1, 9)
	if settles(t, r) {
		t.Error("a partition was never projected")
	}
	projected(t, pool, 0, 4)
	if settles(t, r) {
		t.Error("a partition is behind")
	}
	projected(t, pool, 0, 5)
	if !settles(t, r) {
		t.Error("all is projected")
	}
	exec(t, pool, `INSERT INTO run.reaction (partition, "offset", index, topic, key, kind, error, record) VALUES (0, 5, 0, 'account', '', '', '', '')`)
	if !settles(t, r) {
		t.Error("what is caused later does not matter")
	}
	exec(t, pool, `INSERT INTO run.reaction (partition, "offset", index, topic, key, kind, error, record) VALUES (0, 4, 0, 'account', '', '', '', '')`)
	if settles(t, r) {
		t.Error("a reaction is not published")
	}
}

func TestSession(t *testing.T) {
	pool := opened(t)
	r := New(pool, ends{})
	projected(t, pool, 1, 9)
	account := jid.MustBare("juliet@localhost")
	one, two, three := uuid.UUID{1}, uuid.UUID{2}, uuid.UUID{3}
	said, err := proto.Marshal(&event.Presence{Show: "away"})
	if err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `INSERT INTO views.resource (account, resource, partition, binding, edge, epoch, available, show, status, priority, payload, lang, stanza_id,
		version, bound_offset, since, session, began_offset, handled, copies) VALUES ($1, 'balcony', 1, $2, 'e1', 1, true, 'dnd', 's', 5, '<x/>', 'en', 'id', 8, 7, now(), $3, 4, 12, true)`,
		account.String(), [16]byte(two), [16]byte(one))
	exec(t, pool, `INSERT INTO views.ended (account, binding, session, resource, began_offset, handled, ahead, presence, ended_offset, ended_at) VALUES
		($1, $2, $2, 'balcony', 3, 1, '', $4, 6, now()), ($1, $3, $2, 'hall', 3, 5, '', $4, 6, now()), ($1, $5, $3, 'attic', 3, 6, '', NULL, 6, now())`,
		account.String(), [16]byte(three), [16]byte(two), said, [16]byte(one))
	for _, c := range []struct {
		name, resource string
		began          uuid.UUID
		want           string
	}{
		{"it goes on", "balcony", one, `show:"dnd" status:"s" priority:5 payload:"<x/>" lang:"en" id:"id"`},
		{"the resource has another", "balcony", three, "nil"},
		{"it ended with its edge", "hall", three, `show:"away"`},
		{"and was not available", "attic", two, ""},
		{"there is none", "cellar", one, "nil"},
	} {
		s, err := r.Session(t.Context(), account, 1, c.resource, c.began, 9)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.want == "nil":
			if s != nil {
				t.Errorf("%s: %+v", c.name, s)
			}
		case s == nil:
			t.Errorf("%s: none", c.name)
		case (s.Presence == nil) != (c.want == "") || c.want != "" && !proto.Equal(s.Presence, parse(t, c.want)):
			t.Errorf("%s: presence %v", c.name, s.Presence)
		case c.resource == "balcony" && (s.Binding != two || s.Began != 4 || s.Handled != 12 || !s.Copies || s.Over):
			t.Errorf("%s: %+v", c.name, s)
		case c.resource == "hall" && (s.Binding != two || s.Began != 3 || s.Handled != 5 || s.Copies || !s.Over):
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Session(ctx, account, 1, "balcony", one, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("what is not projected yet: %v", err)
	}
}

func parse(t *testing.T, text string) *event.Presence {
	t.Helper()
	p := new(event.Presence)
	if err := prototext.Unmarshal([]byte(text), p); err != nil {
		t.Fatal(err)
	}
	return p
}
