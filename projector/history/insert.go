package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// A sink writes blocks to ClickHouse.
type sink struct {
	conn    clickhouse.Conn
	deleted prometheus.Counter // accounts
	piece   int                // rows that go out at a time
}

func newSink(conn clickhouse.Conn, deleted prometheus.Counter) sink {
	return sink{conn: conn, deleted: deleted, piece: 10_000}
}

// insert writes b, one INSERT for each month. Whatever a try before this one
// left behind, all of b is there once afterwards, in events and in the tables
// that are fed from it: ClickHouse knows the tokens of the last 10,000 blocks
// (the window that the migrations set) and drops, table by table, what it has.
// Never ask what is there instead: a block can be in events and not in a table
// that is fed from it.
func (s sink) insert(ctx context.Context, b *block) error {
	for _, month := range slices.Sorted(maps.Keys(b.months)) {
		if err := s.insertRows(ctx, b.id.String()+"/"+strconv.Itoa(month), "events ("+rowColumns+")", b.months[month].rows, b.months[month].columns); err != nil {
			return fmt.Errorf("insert block %s, month %d, %d rows: %w", b.id, month, b.months[month].rows, err)
		}
	}
	return s.insertTurns(ctx, b.id.String()+"/turns", b.turns)
}

// insertTurns writes what turns, by month, once like a block.
func (s sink) insertTurns(ctx context.Context, token string, by map[int][]turn) error {
	for _, month := range slices.Sorted(maps.Keys(by)) {
		for n, some := range inserts(by[month]) {
			if err := s.insertRows(ctx, fmt.Sprintf("%s/%d/%d", token, month, n), "presence_span ("+turnColumns+")", len(some), turnRows(some)); err != nil {
				return fmt.Errorf("insert spans %s, month %d, %d rows: %w", token, month, len(some), err)
			}
		}
	}
	return nil
}

// insertRows writes rows of one month, whose columns from one row to another
// columns gives. They go out in pieces, so that the server reads one while the
// next is made; it keeps them until it is told that there are no more, and drops
// them all if the connection ends before. So whatever fails, the connection must
// end: to close the batch instead would say that there are no more.
func (s sink) insertRows(ctx context.Context, token, into string, rows int, columns func(from, to int) []any) error {
	if err := s.endEarlier(ctx, token); err != nil {
		return fmt.Errorf("end an earlier try: %w", err)
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(insertSettings(token)), clickhouse.WithQueryID(token+"/"+uuid.NewString()))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+into)
	if err != nil {
		return err
	}
	defer batch.Abort()
	for from := 0; from < rows; from += s.piece {
		if from > 0 {
			if err := batch.Flush(); err != nil {
				return err
			}
		}
		for i, column := range columns(from, min(from+s.piece, rows)) {
			if err := batch.Column(i).Append(column); err != nil {
				return err
			}
		}
	}
	return batch.Send()
}

// insertSettings are those of the INSERT of a block: whatever the server's own
// are, it becomes one part in each table, once.
func insertSettings(token string) clickhouse.Settings {
	return clickhouse.Settings{
		"async_insert":               0, // 26.x has it on; its blocks would not be ours
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"materialized_views_ignore_errors":                   0,
		"insert_null_as_default":                             0,
		"min_insert_block_size_rows":                         2 * maxRows,
		"min_insert_block_size_bytes":                        16 << 30,
	}
}

// endEarlier ends an earlier try that still runs, and returns when it does so
// no more: the engine did not answer in time, or the writer died. So no two
// tries of a block are ever at work beside each other, for nobody promises that
// their tokens are told apart then in every table that is fed.
func (s sink) endEarlier(ctx context.Context, token string) error {
	return s.conn.Exec(ctx, "KILL QUERY WHERE startsWith(query_id, ?) SYNC", token+"/")
}

// The tables that hold rows of an account, and how they go. From events and
// its projection rows go for good, by a mutation that rewrites the parts that
// have some. The others are masked at once and lose the rows when their parts
// are merged; "ALTER TABLE t APPLY DELETED MASK" makes sure.
//
// Each is bound by the last offset of the block, so that a writer that was
// stopped here and goes on much later takes nothing of an account that was
// created again meanwhile. account_day and pair_day, whose rows are sums, have
// no offset of each event: their bound is the last that was counted.
var deletions = []struct{ statement, account, offset string }{
	{"ALTER TABLE events DELETE WHERE ", "account", "offset"},
	{"DELETE FROM chat_log WHERE ", "owner", "id"},
	{"DELETE FROM withheld WHERE ", "owner", "id"},
	{"DELETE FROM presence_change WHERE ", "account", "offset"},
	{"DELETE FROM presence_span WHERE ", "account", "begun"},
	{"DELETE FROM account_day WHERE ", "account", "last_offset"},
	{"DELETE FROM pair_day WHERE ", "account", "last_offset"},
	{"DELETE FROM inbox_change WHERE ", "account", "id"},
	{"DELETE FROM subscriber_change WHERE ", "account", "offset"},
}

// deletionsAtOnce bounds the accounts of one statement.
const deletionsAtOnce = 500

// forget starts the deletion of the accounts of b; ClickHouse keeps it over a
// restart and goes on by itself. What is started is taken out of b, so that
// another try begins with the rest: too many that wait are an error.
func (s sink) forget(ctx context.Context, b *block) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"mutations_sync": 0, "lightweight_deletes_sync": 0, "max_query_size": 16 << 20,
	}))
	for len(b.deleted) > 0 {
		some := b.deleted[:min(len(b.deleted), deletionsAtOnce)]
		names := make(map[uint64][]string) // by last offset: one for each partition
		for _, d := range some {
			names[d.offset] = append(names[d.offset], d.account)
		}
		for _, d := range deletions {
			var where []string
			var args []any
			for _, offset := range slices.Sorted(maps.Keys(names)) {
				where = append(where, d.account+" IN (?) AND "+d.offset+" <= ?")
				args = append(args, names[offset], offset)
			}
			if err := s.conn.Exec(ctx, d.statement+strings.Join(where, " OR "), args...); err != nil {
				return fmt.Errorf("delete the rows of %d accounts: %w", len(some), err)
			}
		}
		b.deleted = b.deleted[len(some):]
		s.deleted.Add(float64(len(some)))
	}
	return nil
}
