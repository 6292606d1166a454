package awaited_test

import (
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/awaited"
	"github.com/rollcall/rollcall/schema/awaited/awaitedtest"
)

func TestHints(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), localtest.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	told := awaitedtest.Hear(t, pool)
	if err := awaited.Tell(t.Context(), pool, nil); err != nil {
		t.Fatal(err)
	}
	if err := awaited.Tell(t.Context(), pool, map[int32]int64{3: 1 << 60, 4: 5}); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `SELECT pg_notify('rollcall_history_awaited', x) FROM unnest('{"", "7", "x 1", "1 x"}'::text[]) AS x`); err != nil {
		t.Fatal(err)
	}
	got := told()
	slices.Sort(got)
	if want := []string{"3 1152921504606846976", "4 5"}; !slices.Equal(got, want) {
		t.Errorf("told %q", got)
	}
}
