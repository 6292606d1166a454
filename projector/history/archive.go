package history

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An Archive reads back what was copied. It is safe for use by several goroutines.
type Archive struct{ conn clickhouse.Conn }

// NewArchive gives an archive on a database that is migrated (schema/clickhouse).
func NewArchive(conn clickhouse.Conn) *Archive { return &Archive{conn} }

// readStep is how many offsets one query covers: it bounds what ClickHouse
// sorts and how long a slow reader holds a connection.
const readStep = 100_000

// Read calls fn for every record of partition with from <= offset < to, in
// order, each once: copies, garbage and EdgeLost too, for who reads decides by
// the marks itself, as for records from Kafka. key is empty for EdgeLost. Below
// the partition's place in Positions an offset is missing only where the rows
// of a deleted account were; what is above may be there or not. A message that
// must not be archived comes without body and payload.
//
// An error of fn ends the reading and is returned as it is. value is fn's to keep.
func (a *Archive) Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key string, value []byte) error) error {
	first, next, err := a.bounds(ctx, partition, from, to)
	if err != nil {
		return fmt.Errorf("read archive of partition %d from %d to %d: %w", partition, from, to, err)
	}
	last := int64(-1)
	for ; first < next; first += readStep {
		if last, err = a.step(ctx, partition, first, min(first+readStep, next), last, fn); err != nil {
			return err
		}
	}
	return nil
}

// bounds narrows [from, to) to where rows are.
func (a *Archive) bounds(ctx context.Context, partition int32, from, to int64) (first, next int64, err error) {
	var low, high, count uint64
	err = a.conn.QueryRow(ctx, `SELECT min(offset), max(offset), count() FROM events
WHERE partition = ? AND offset >= ? AND offset < ?`, partition, uint64(max(from, 0)), uint64(max(to, 0))).Scan(&low, &high, &count)
	if err != nil || count == 0 {
		return 0, 0, err
	}
	return int64(low), int64(high) + 1, nil
}

// step reads at most readStep offsets; last is the last that fn has seen.
func (a *Archive) step(ctx context.Context, partition int32, from, to, last int64, fn func(int64, string, []byte) error) (int64, error) {
	failed := func(err error) error {
		return fmt.Errorf("read archive of partition %d from %d to %d: %w", partition, from, to, err)
	}
	rows, err := a.conn.Query(ctx, `SELECT offset, account, raw FROM events
WHERE partition = ? AND offset >= ? AND offset < ? ORDER BY offset`, partition, uint64(from), uint64(to))
	if err != nil {
		return last, failed(err)
	}
	defer rows.Close()
	var (
		offset uint64
		key    string
		value  []byte
	)
	for rows.Next() {
		value = nil
		if err := rows.Scan(&offset, &key, &value); err != nil {
			return last, failed(err)
		}
		// Postgres restored from an old backup makes history copy a range twice.
		if int64(offset) == last {
			continue
		}
		last = int64(offset)
		if err := fn(last, key, value); err != nil {
			return last, err
		}
	}
	if err := rows.Err(); err != nil {
		return last, failed(err)
	}
	return last, nil
}
