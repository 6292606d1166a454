package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// copyAbove is the number of rows of one table above which COPY into a session
// table and one INSERT … SELECT beat arrays.
const copyAbove = 2000

// The statements, made once from the tables.
var (
	upsertAccounts  = accountTable.upsert()
	upsertItems     = itemTable.upsert()
	upsertResources = resourceTable.upsert()
	upsertDirected  = directedTable.upsert()
	upsertInbox     = inboxTable.upsert()

	removeAccounts  = accountTable.remove(1)
	removeItems     = itemTable.remove(2)
	removeResources = resourceTable.remove(2)
	removeDirected  = directedTable.remove(2)
	removeInbox     = inboxTable.remove(2)
)

func (u *Unit) large() bool {
	p := &u.Put
	return max(len(p.Accounts), len(p.Items), len(p.Resources), len(p.Directed), len(p.Inbox)) > copyAbove
}

func queueRemove(b *pgx.Batch, k *Keys) {
	if len(k.Accounts) > 0 {
		b.Queue(removeAccounts, k.Accounts)
	}
	if len(k.Items) > 0 {
		b.Queue(removeItems, each(k.Items, func(k ItemKey) string { return k.Account }), each(k.Items, func(k ItemKey) string { return k.Contact }))
	}
	if len(k.Resources) > 0 {
		b.Queue(removeResources, each(k.Resources, func(k ResourceKey) string { return k.Account }), each(k.Resources, func(k ResourceKey) string { return k.Resource }))
	}
	if len(k.Directed) > 0 {
		b.Queue(removeDirected, each(k.Directed, func(k ResourceKey) string { return k.Account }), each(k.Directed, func(k ResourceKey) string { return k.Resource }))
	}
	if len(k.Inbox) > 0 {
		b.Queue(removeInbox, each(k.Inbox, func(k InboxKey) string { return k.Account }), each(k.Inbox, func(k InboxKey) int64 { return k.Offset }))
	}
}

func queuePut(b *pgx.Batch, p *Rows) {
	queueTable(b, &accountTable, upsertAccounts, p.Accounts)
	queueTable(b, &itemTable, upsertItems, p.Items)
	queueTable(b, &resourceTable, upsertResources, p.Resources)
	queueTable(b, &directedTable, upsertDirected, p.Directed)
	queueTable(b, &inboxTable, upsertInbox, p.Inbox)
}

func queueTable[R any](b *pgx.Batch, t *table[R], upsert string, rows []R) {
	if len(rows) > 0 {
		b.Queue(upsert, t.arrays(rows)...)
	}
}

// commitLarge is commit for what COPY makes faster.
func (s *Store) commitLarge(ctx context.Context, u *Unit) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		b := s.batch(u)
		queueRemove(b, &u.Remove)
		queueReactions(b, u)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		b = new(pgx.Batch)
		p := &u.Put
		for _, put := range []func() error{
			func() error { return copyOrQueue(ctx, tx, b, &accountTable, upsertAccounts, p.Accounts) },
			func() error { return copyOrQueue(ctx, tx, b, &itemTable, upsertItems, p.Items) },
			func() error { return copyOrQueue(ctx, tx, b, &resourceTable, upsertResources, p.Resources) },
			func() error { return copyOrQueue(ctx, tx, b, &directedTable, upsertDirected, p.Directed) },
			func() error { return copyOrQueue(ctx, tx, b, &inboxTable, upsertInbox, p.Inbox) },
		} {
			if err := put(); err != nil {
				return err
			}
		}
		if b.Len() == 0 {
			return nil
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func copyOrQueue[R any](ctx context.Context, tx pgx.Tx, b *pgx.Batch, t *table[R], upsert string, rows []R) error {
	if len(rows) <= copyAbove {
		queueTable(b, t, upsert, rows)
		return nil
	}
	staging := "pg_temp.staging_" + t.name
	// The table stays with the session, empty between commits. It goes by the
	// columns that this code knows, not by what views has.
	_, err := tx.Exec(ctx, "CREATE TEMP TABLE IF NOT EXISTS "+staging[len("pg_temp."):]+" ON COMMIT DELETE ROWS AS SELECT "+
		t.names("")+" FROM views."+t.name+" LIMIT 0")
	if err != nil {
		return err
	}
	if err := CopyText(ctx, tx.Conn().PgConn(), staging, t, rows, ""); err != nil {
		return err
	}
	b.Queue("INSERT INTO views." + t.name + " (" + t.names("") + ") SELECT " + t.names("") + " FROM " + staging + t.conflict())
	return nil
}

// CopyText writes rows to a table by COPY in text format.
func CopyText[R any](ctx context.Context, conn *pgconn.PgConn, into string, t *table[R], rows []R, with string) error {
	_, err := conn.CopyFrom(ctx, &lines[R]{t: t, rows: rows}, "COPY "+into+" ("+t.names("")+") FROM STDIN "+with)
	if err != nil {
		return fmt.Errorf("copy into %s: %w", into, err)
	}
	return nil
}

// lines reads rows as the lines of COPY's text format.
type lines[R any] struct {
	t    *table[R]
	rows []R
	buf  bytes.Buffer
	line []byte
}

func (l *lines[R]) Read(p []byte) (int, error) {
	for l.buf.Len() < len(p) && len(l.rows) > 0 {
		l.line = append(l.t.line(l.line[:0], l.rows[0]), '\n')
		l.buf.Write(l.line)
		l.rows = l.rows[1:]
	}
	return l.buf.Read(p)
}
