package history

import (
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Before a block goes again, an earlier try of it runs no more; those of other
// blocks do.
func TestEarlierTriesAreEnded(t *testing.T) {
	b := newBench(t)
	ended := map[string]chan error{"block/202611/1": make(chan error, 1), "other/202611/1": make(chan error, 1)}
	ctx := t.Context()
	for id, done := range ended {
		go func() {
			done <- b.conn.Exec(clickhouse.Context(ctx, clickhouse.WithQueryID(id)), "SELECT count() FROM numbers(600) WHERE sleepEachRow(0.1) = 1 SETTINGS max_block_size = 1")
		}()
	}
	running := func() (n uint64) {
		if err := b.conn.QueryRow(ctx, "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow(0.1)%' AND query_id LIKE '%/202611/%'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for running() < 2 {
	}
	if err := (sink{conn: b.conn}).endEarlier(ctx, "block/202611"); err != nil {
		t.Fatal(err)
	}
	if n := running(); n != 1 {
		t.Errorf("%d run, want the other alone", n)
	}
	if err := <-ended["block/202611/1"]; err == nil {
		t.Error("it was not ended")
	}
	if err := (sink{conn: b.conn}).endEarlier(ctx, "other/202611"); err != nil {
		t.Fatal(err)
	}
	<-ended["other/202611/1"]
}
