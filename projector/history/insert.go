package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A sink writes blocks to ClickHouse.
type sink struct{ conn clickhouse.Conn }

// insert writes b, one INSERT for each month. Whatever a try before this one
// left behind, all of b is there once afterwards, in events and in the tables
// that are fed from it: ClickHouse knows the tokens of the last 10,000 blocks
// (the window that the migrations set) and drops, table by table, what it has.
// Never ask what is there instead: a block can be in events and not in a table
// that is fed from it.
func (s sink) insert(ctx context.Context, b *block) error {
	months := make(map[int][]*row)
	for i := range b.rows {
		m := b.rows[i].month()
		months[m] = append(months[m], &b.rows[i])
	}
	for _, month := range slices.Sorted(maps.Keys(months)) {
		if err := s.insertMonth(ctx, b.id.String()+"/"+strconv.Itoa(month), months[month]); err != nil {
			return fmt.Errorf("insert block %s, month %d, %d rows: %w", b.id, month, len(months[month]), err)
		}
	}
	return nil
}

func (s sink) insertMonth(ctx context.Context, token string, rows []*row) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"async_insert":               0, // 26.x has it on; its blocks would not be ours
		"insert_deduplicate":         1,
		"insert_deduplication_token": token,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"materialized_views_ignore_errors":                   0,
		"insert_null_as_default":                             0,
	}))
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO events ("+rowColumns+")")
	if err != nil {
		return err
	}
	defer batch.Close()
	for _, r := range rows {
		if err := batch.Append(r.values()...); err != nil {
			return err
		}
	}
	return batch.Send()
}

// The tables that hold rows of an account, and how they go. From events and
// its projection rows go for good, by a mutation that rewrites the parts that
// have some. The others are masked at once and lose the rows when their parts
// are merged; "ALTER TABLE t APPLY DELETED MASK" makes sure.
//
// Each is bound by the last offset of the block, so that a writer that was
// stopped here and goes on much later takes nothing of an account that was
// created again meanwhile. account_day, whose rows are sums, has no offset of
// each event: its bound is the last that was counted.
var deletions = []string{
	"ALTER TABLE events DELETE WHERE ",
	"DELETE FROM chat_log WHERE ",
	"DELETE FROM presence_change WHERE ",
	"DELETE FROM account_day WHERE ",
}

var deletionColumns = [][2]string{{"account", "offset"}, {"owner", "id"}, {"account", "offset"}, {"account", "last_offset"}}

// forget starts the deletion of accounts; ClickHouse keeps it over a restart
// and goes on by itself. Too many that wait are an error: try again later.
func (s sink) forget(ctx context.Context, deleted []deletion) error {
	if len(deleted) == 0 {
		return nil
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"mutations_sync": 0, "lightweight_deletes_sync": 0,
	}))
	for i, statement := range deletions {
		var where strings.Builder
		args := make([]any, 0, 2*len(deleted))
		for n, d := range deleted {
			if n > 0 {
				where.WriteString(" OR ")
			}
			fmt.Fprintf(&where, "(%s = ? AND %s <= ?)", deletionColumns[i][0], deletionColumns[i][1])
			args = append(args, d.account, d.offset)
		}
		if err := s.conn.Exec(ctx, statement+where.String(), args...); err != nil {
			return fmt.Errorf("delete the rows of %d accounts: %w", len(deleted), err)
		}
	}
	return nil
}
