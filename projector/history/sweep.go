package history

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/event"
)

// What MessageWithheld names no reader of the archive sees from the moment it
// is copied. What was said is taken out for good later, in batches: a mutation
// rewrites every part that has one of its rows, so there is one for many
// messages, and none where nothing is withheld. It starts after what it is for
// is in ClickHouse, ClickHouse keeps it over a restart, and to start it twice
// changes nothing: two writers, or one that died before it noted how far it
// came, do no harm.

// sweepAtOnce bounds the messages of one mutation.
const sweepAtOnce = 500

// sweepAll takes out what is withheld of the assigned partitions until ctx ends.
func (h *History) sweepAll(ctx context.Context) error {
	tick := time.NewTicker(h.options.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		partitions, _ := h.assignment()
		for _, partition := range partitions {
			if err := h.sweep(ctx, partition); err != nil && ctx.Err() == nil {
				h.log.Warn("withheld messages not taken out, later again", "partition", partition, "err", err)
			}
		}
	}
}

// sweep takes out what a partition withholds and what is not yet.
func (h *History) sweep(ctx context.Context, partition int32) error {
	var next, swept int64
	err := h.options.Postgres.QueryRow(ctx, `SELECT next_offset, swept_offset FROM run.history WHERE partition = $1`, partition).Scan(&next, &swept)
	if err == pgx.ErrNoRows {
		return nil
	}
	for err == nil && swept < next {
		var until int64
		if until, err = h.sweepSome(ctx, partition, swept, next); err == nil {
			// A crash before this has the same messages swept again.
			_, err = h.options.Postgres.Exec(ctx, `UPDATE run.history SET swept_offset = greatest(swept_offset, $2) WHERE partition = $1`, partition, until)
			swept = until
		}
	}
	if err != nil {
		return fmt.Errorf("sweep partition %d: %w", partition, err)
	}
	return nil
}

// sweepSome takes out what is named between two offsets, or the first part of
// it, and gives up to where that was.
func (h *History) sweepSome(ctx context.Context, partition int32, from, to int64) (until int64, err error) {
	conn := h.options.ClickHouse
	type named struct {
		Owner  string `ch:"owner"`
		ID     uint64 `ch:"id"`
		Offset uint64 `ch:"offset"`
	}
	var some []named
	err = conn.Select(ctx, &some, `SELECT owner, id, offset FROM withheld
WHERE partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?`, partition, uint64(from), uint64(to), uint64(sweepAtOnce))
	if err != nil || len(some) == 0 {
		return to, err
	}
	if until = to; len(some) == sweepAtOnce {
		until = int64(some[len(some)-1].Offset) + 1
	}
	keys := make([]clickhouse.GroupSet, len(some))
	for i, n := range some {
		keys[i] = clickhouse.GroupSet{Value: []any{n.Owner, n.ID}}
	}
	rows, err := conn.Query(ctx, `SELECT account, offset, raw FROM events WHERE (account, offset) IN (?) AND archived`, keys)
	if err != nil {
		return from, err
	}
	defer rows.Close()
	var offsets, stripped []string
	var found []clickhouse.GroupSet
	for rows.Next() {
		var account string
		var offset uint64
		var raw []byte
		if err := rows.Scan(&account, &offset, &raw); err != nil {
			return from, err
		}
		e, err := event.Decode(raw)
		if err != nil || message(e) == nil {
			continue // none of ours: MessageWithheld names only messages
		}
		found = append(found, clickhouse.GroupSet{Value: []any{account, offset}})
		offsets = append(offsets, fmt.Sprintf("toUInt64(%d)", offset))
		stripped = append(stripped, "unhex('"+hex.EncodeToString([]byte(withoutContent(e)))+"')")
	}
	if err := rows.Err(); err != nil {
		return from, err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"mutations_sync": 0, "lightweight_deletes_sync": 0, "max_query_size": 16 << 20,
	}))
	if err := conn.Exec(ctx, `DELETE FROM chat_log WHERE (owner, id) IN (?)`, keys); err != nil {
		return from, err
	}
	if len(found) == 0 {
		return until, nil
	}
	// All are of one partition, so that an offset names one of them.
	err = conn.Exec(ctx, `ALTER TABLE events UPDATE archived = false, body = '',
raw = transform(offset, [`+strings.Join(offsets, ",")+`], [`+strings.Join(stripped, ",")+`], raw) WHERE (account, offset) IN (?)`, found)
	if err != nil {
		return from, err
	}
	h.metrics.swept.Add(float64(len(found)))
	return until, nil
}
