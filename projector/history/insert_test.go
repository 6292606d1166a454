package history

import (
	"fmt"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
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

// Of a block that goes again while an earlier try is on its way, every table has
// the rows once.
func TestTriesThatOverlap(t *testing.T) {
	const rows = 60_000
	b := newBench(t)
	for i := range rows {
		b.log.event(t, "juliet@rollcall.example", noon, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: "romeo@rollcall.example/desk", Message: chat(fmt.Sprint("message ", i)),
		}}})
	}
	loader, id := NewLoader(b.conn, partitions), uuid.New()
	load, err := loader.Judge(id, b.log.parts[:])
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() { first <- loader.Insert(t.Context(), load) }()
	for running := uint64(0); running == 0 && len(first) == 0; {
		if err := b.conn.QueryRow(t.Context(), "SELECT count() FROM system.processes WHERE startsWith(query_id, ?)", id.String()).Scan(&running); err != nil {
			t.Fatal(err)
		}
	}
	if err := loader.Insert(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first try ended with %v", <-first)
	for _, table := range []string{"events", "chat_log", "inbox_change"} {
		var n uint64
		if err := b.conn.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&n); err != nil || n != rows {
			t.Errorf("%s has %d rows, want %d; %v", table, n, rows, err)
		}
	}
}
