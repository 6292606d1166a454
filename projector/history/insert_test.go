package history

import (
	"context"
	"fmt"
	"net"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"

	"github.com/rollcall/rollcall/deploy/local/localtest"
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
			done <- b.conn.Exec(driver.Context(ctx, driver.WithQueryID(id)), "SELECT count() FROM numbers(600) WHERE sleepEachRow(0.1) = 1 SETTINGS max_block_size = 1")
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

// A block is one part in each table, whatever the settings of the connection
// and of the server are: or else a second try could find a part of it there.
func TestOneBlockIsOnePart(t *testing.T) {
	b := newBenchAt(t, localtest.ClickHouse(t)+"?max_block_size=100&max_insert_block_size=100&min_insert_block_size_rows=1&min_insert_block_size_bytes=1"+
		"&min_insert_block_size_rows_for_materialized_views=1&min_insert_block_size_bytes_for_materialized_views=1")
	fill(t, b.log, 25_000)
	loader := NewLoader(b.conn, partitions)
	load, err := loader.Judge(uuid.New(), b.log.parts[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := loader.Insert(t.Context(), load); err != nil {
		t.Fatal(err)
	}
	got := b.one(`SELECT arrayStringConcat(arraySort(groupArray(table || ' ' || parts)), ', ') FROM
(SELECT table, toString(count()) AS parts FROM system.parts WHERE database = currentDatabase() AND min_block_number = max_block_number AND table != 'rollcall_version' GROUP BY table)`)
	if want := "account_day 1, chat_log 1, events 1, inbox_change 1, minute_activity 1, minute_online 1, pair_day 1, presence_change 1, presence_span 1"; got != want {
		t.Errorf("parts: %s; want %s", got, want)
	}
}

// Nothing stays of a block whose writer fails, dies or is stopped between two
// pieces, and all of it is there when it goes again.
func TestBlockThatIsCutOff(t *testing.T) {
	for name, cut := range map[string]func(c net.Conn, cancel func(), columns []any){
		"failed":  func(_ net.Conn, _ func(), columns []any) { columns[0] = []bool{true} },
		"died":    func(c net.Conn, _ func(), _ []any) { c.Close() },
		"stopped": func(_ net.Conn, cancel func(), _ []any) { cancel() },
		"panics":  func(net.Conn, func(), []any) { panic("cut") },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := localtest.ClickHouse(t)
			b := newBenchAt(t, dsn)
			b.talk(300)
			rows := new(table)
			for p, records := range b.log.parts {
				j := &judge{partition: int32(p), of: partitions}
				for i := range records {
					w, err := j.row(&records[i])
					if err != nil {
						t.Fatal(err)
					}
					rows.add(&w)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var connection net.Conn
			options, err := driver.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			options.DialContext = func(ctx context.Context, addr string) (net.Conn, error) {
				connection, err = new(net.Dialer).DialContext(ctx, "tcp", addr)
				return connection, err
			}
			conn, err := driver.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			insert := func(ctx context.Context, s sink, columns func(from, to int) []any) (err error) {
				defer func() {
					if said := recover(); said != nil {
						err = fmt.Errorf("panic: %v", said)
					}
				}()
				return s.insertRows(ctx, "block/202611", "events ("+rowColumns+")", rows.rows, columns)
			}
			err = insert(ctx, sink{conn: conn, piece: 100}, func(from, to int) []any {
				columns := rows.columns(from, to)
				if from == 500 {
					cut(connection, cancel, columns)
				}
				return columns
			})
			if err == nil {
				t.Error("it went in")
			}
			again := sink{conn: b.conn, piece: 100}
			if err := again.endEarlier(t.Context(), "block/202611"); err != nil {
				t.Fatal(err)
			}
			if got := b.one("SELECT toString(count()) FROM events"); got != "0" {
				t.Errorf("%s rows stayed", got)
			}
			if err := insert(t.Context(), again, rows.columns); err != nil {
				t.Fatal(err)
			}
			b.whole(300)
		})
	}
}
