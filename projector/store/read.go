package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// ReadProjected gives how far every partition is folded, as tx sees it.
func ReadProjected(ctx context.Context, tx pgx.Tx) ([]Projected, error) {
	rows, err := tx.Query(ctx, `SELECT partition, next_offset, marks, fold_version FROM views.projected ORDER BY partition`)
	if err != nil {
		return nil, fmt.Errorf("read projected: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Projected])
}

// ReadPurged gives below which version the tombstones of each partition are
// purged, as tx sees it.
func ReadPurged(ctx context.Context, tx pgx.Tx) (map[int32]int64, error) {
	purged := make(map[int32]int64)
	rows, err := tx.Query(ctx, `SELECT partition, version FROM run.purged`)
	if err != nil {
		return nil, fmt.Errorf("read purged: %w", err)
	}
	var partition int32
	var version int64
	_, err = pgx.ForEachRow(rows, []any{&partition, &version}, func() error {
		purged[partition] = version
		return nil
	})
	return purged, err
}

// ReadPartition gives every row of the accounts of partition, as tx sees it.
func ReadPartition(ctx context.Context, tx pgx.Tx, partition int32) (*Rows, error) {
	const mine = "WHERE t.account IN (SELECT account FROM views.account WHERE partition = $1)"
	const own = "WHERE t.partition = $1"
	r := new(Rows)
	b := new(pgx.Batch)
	readInto(b, &accountTable, accountTable.all("views", own), &r.Accounts, partition)
	readInto(b, &itemTable, itemTable.all("views", mine), &r.Items, partition)
	readInto(b, &resourceTable, resourceTable.all("views", own), &r.Resources, partition)
	readInto(b, &directedTable, directedTable.all("views", mine), &r.Directed, partition)
	readInto(b, &inboxTable, inboxTable.all("views", mine), &r.Inbox, partition)
	readInto(b, &endedTable, endedTable.all("views", mine), &r.Ended, partition)
	readInto(b, &originsTable, originsTable.all("views", mine), &r.Origins, partition)
	readInto(b, &nodeTable, nodeTable.all("views", mine), &r.Nodes, partition)
	readInto(b, &nodeItemTable, nodeItemTable.all("views", mine), &r.NodeItems, partition)
	readInto(b, &storageTable, storageTable.all("views", mine), &r.Storage, partition)
	readInto(b, &privacyTable, privacyTable.all("views", own), &r.Privacy, partition)
	readInto(b, &hiddenTable, hiddenTable.all("views", mine), &r.Hidden, partition)
	readInto(b, &refusedTable, refusedTable.all("views", mine), &r.Refused, partition)
	readInto(b, &pushTable, pushTable.all("views", mine), &r.Push, partition)
	readInto(b, &archiveTable, archiveTable.all("views", mine), &r.Archive, partition)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("read partition %d: %w", partition, err)
	}
	return r, nil
}

// ReadStrays gives the rows of no account, as tx sees it: there should be none.
func ReadStrays(ctx context.Context, tx pgx.Tx) (*Rows, error) {
	const stray = "WHERE NOT EXISTS (SELECT FROM views.account a WHERE a.account = t.account)"
	r := new(Rows)
	b := new(pgx.Batch)
	readInto(b, &itemTable, itemTable.all("views", stray), &r.Items)
	readInto(b, &directedTable, directedTable.all("views", stray), &r.Directed)
	readInto(b, &inboxTable, inboxTable.all("views", stray), &r.Inbox)
	readInto(b, &endedTable, endedTable.all("views", stray), &r.Ended)
	readInto(b, &originsTable, originsTable.all("views", stray), &r.Origins)
	readInto(b, &nodeTable, nodeTable.all("views", stray), &r.Nodes)
	readInto(b, &nodeItemTable, nodeItemTable.all("views", stray), &r.NodeItems)
	readInto(b, &storageTable, storageTable.all("views", stray), &r.Storage)
	readInto(b, &hiddenTable, hiddenTable.all("views", stray), &r.Hidden)
	readInto(b, &refusedTable, refusedTable.all("views", stray), &r.Refused)
	readInto(b, &pushTable, pushTable.all("views", stray), &r.Push)
	readInto(b, &archiveTable, archiveTable.all("views", stray), &r.Archive)
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("read strays: %w", err)
	}
	return r, nil
}

// WithoutPurged leaves out tombstones whose version is below purged.
func (r *Rows) WithoutPurged(purged int64) {
	kept := r.Items[:0]
	for _, i := range r.Items {
		if !i.Removed || i.State != 0 || i.Version >= purged {
			kept = append(kept, i)
		}
	}
	r.Items = kept
}

// Expired gives at most so many messages that came before a time and wait for
// accounts of these partitions, in the order of their keys, after a key.
func (s *Store) Expired(ctx context.Context, partitions []int32, before time.Time, after InboxKey, most int) ([]InboxKey, error) {
	rows, err := s.pool.Query(ctx, `SELECT i.account, i."offset" FROM views.inbox i JOIN views.account a ON a.account = i.account
WHERE a.partition = ANY($1) AND i.at < $2 AND (i.account, i."offset") > ($3, $4) ORDER BY i.account, i."offset" LIMIT $5`,
		partitions, before, after.Account, after.Offset, most)
	if err != nil {
		return nil, fmt.Errorf("read messages that wait: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[InboxKey])
}
