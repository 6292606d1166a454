package generate

import (
	"context"
	"errors"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/projector/history"
)

// database gives a migrated database.
func database(t testing.TB) clickhouse.Conn {
	t.Helper()
	return localtest.Tables(t, localtest.ClickHouse(t))
}

// sums tells what is in the tables.
func sums(t *testing.T, conn clickhouse.Conn) (rows, chat, sent uint64) {
	t.Helper()
	for query, into := range map[string]*uint64{
		"SELECT count() FROM events WHERE NOT ignored": &rows,
		"SELECT count() FROM chat_log":                 &chat,
		"SELECT sum(messages_sent) FROM account_day":   &sent,
	} {
		if err := conn.QueryRow(t.Context(), query).Scan(into); err != nil {
			t.Fatal(err)
		}
	}
	return rows, chat, sent
}

// What is inserted are the records of the history, whether it was made at one
// go or cut short and resumed; and rows of other tables come from it once.
func TestIntoArchive(t *testing.T) {
	o := small()
	want := archived(t, o)
	total := 0
	for p := range want {
		total += len(want[p])
	}
	conn := database(t)
	ctx, cancel := context.WithCancel(t.Context())
	cut := cancelAt{Conn: conn, at: 3, cancel: cancel}
	if err := intoArchive(ctx, o, &cut, partitions, false, new(Progress), 1_000); !errors.Is(err, context.Canceled) {
		t.Fatalf("cut short: %v", err)
	}
	if rows, _, _ := sums(t, conn); rows == 0 || rows >= uint64(total) {
		t.Fatalf("cut short it has %d rows of %d", rows, total)
	}
	if err := IntoArchive(t.Context(), o, conn, partitions, false, new(Progress)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into what is not empty: %v", err)
	}
	other := o
	other.Seed++
	if err := IntoArchive(t.Context(), other, conn, partitions, true, new(Progress)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("going on with another history: %v", err)
	}
	var progress Progress
	if err := intoArchive(t.Context(), o, conn, partitions, true, &progress, 1_000); err != nil {
		t.Fatal(err)
	}
	if written, skipped := progress.Records(); written != int64(total) || skipped < 1_000 {
		t.Errorf("it wrote %d records of %d, of which %d were there", written, total, skipped)
	}
	for p := range want {
		i := 0
		err := history.NewArchive(conn).Read(t.Context(), int32(p), 0, int64(total), func(offset int64, key string, value []byte) error {
			// The content of what must not be archived is not there.
			if i < len(want[p]) && (offset != want[p][i].Offset || key != string(want[p][i].Key) || len(value) > len(want[p][i].Value)) {
				t.Errorf("record %d of partition %d is that of %s at %d", i, p, key, offset)
			}
			i++
			return nil
		})
		if err != nil || i != len(want[p]) {
			t.Errorf("partition %d has %d records of %d, %v", p, i, len(want[p]), err)
		}
	}
	rows, chat, sent := sums(t, conn)
	fresh := database(t)
	if err := IntoArchive(t.Context(), o, fresh, partitions, false, new(Progress)); err != nil {
		t.Fatal(err)
	}
	if r, c, s := sums(t, fresh); r != rows || c != chat || s != sent || c < 100 || s < 50 {
		t.Errorf("at one go %d rows, %d of chat, %d sent; cut short %d, %d, %d", r, c, s, rows, chat, sent)
	}
}

// A cancelAt cancels when the INSERT of that number has begun.
type cancelAt struct {
	clickhouse.Conn
	at     int
	cancel func()
}

// PrepareBatch begins an INSERT.
func (c *cancelAt) PrepareBatch(ctx context.Context, query string, o ...driver.PrepareBatchOption) (driver.Batch, error) {
	b, err := c.Conn.PrepareBatch(ctx, query, o...)
	if c.at--; c.at == 0 {
		c.cancel()
	}
	return b, err
}
