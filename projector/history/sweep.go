package history

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
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

// sweepAtOnce bounds the messages of one mutation: what it writes in place of
// theirs is in its text, about 500 bytes each.
const sweepAtOnce = 5000

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
	var named, last uint64
	var database string // a mutation is done later, by the server itself
	err = conn.QueryRow(ctx, `SELECT count(), max(offset), currentDatabase() FROM (SELECT offset FROM withheld
WHERE partition = ? AND offset >= ? AND offset < ? ORDER BY offset LIMIT ?)`, partition, uint64(from), uint64(to), uint64(h.sweepAtOnce)).Scan(&named, &last, &database)
	if err != nil || named == 0 {
		return to, err
	}
	if until = to; named == uint64(h.sweepAtOnce) {
		until = int64(last) + 1
	}
	some := fmt.Sprintf("(SELECT owner, id FROM `%s`.withheld WHERE partition = %d AND offset >= %d AND offset < %d)", database, partition, from, until)
	rows, err := conn.Query(ctx, "SELECT offset, raw FROM events WHERE (account, offset) IN "+some+" AND archived")
	if err != nil {
		return from, err
	}
	defer rows.Close()
	var offsets, stripped []string
	for rows.Next() {
		var offset uint64
		var raw []byte
		if err := rows.Scan(&offset, &raw); err != nil {
			return from, err
		}
		e, err := event.Decode(raw)
		if err != nil || message(e) == nil {
			continue // none of ours: MessageWithheld names only messages
		}
		offsets = append(offsets, strconv.FormatUint(offset, 10))
		stripped = append(stripped, hex.EncodeToString([]byte(withoutContent(e))))
	}
	if err := rows.Err(); err != nil {
		return from, err
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"mutations_sync": 0, "lightweight_deletes_sync": 0, "max_query_size": 64 << 20,
	}))
	if err := conn.Exec(ctx, "DELETE FROM chat_log WHERE (owner, id) IN "+some); err != nil {
		return from, err
	}
	if len(offsets) == 0 {
		return until, nil
	}
	// All are of one partition, so that an offset names one of them. Lists in
	// text: a literal of each would be too much for the parser.
	err = conn.Exec(ctx, "ALTER TABLE events UPDATE archived = false, body = '', raw = transform(offset, "+
		"arrayMap(o -> toUInt64(o), splitByChar(',', '"+strings.Join(offsets, ",")+"')), "+
		"arrayMap(r -> unhex(r), splitByChar(',', '"+strings.Join(stripped, ",")+"')), raw) "+
		"WHERE (account, offset) IN "+some+" AND kind IN ('message_accepted', 'message_sent')")
	if err != nil {
		return from, err
	}
	h.metrics.swept.Add(float64(len(offsets)))
	return until, nil
}
