package store

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// copyAbove is the number of rows of one table above which COPY into a session
// table and one INSERT … SELECT beat arrays.
const copyAbove = 2000

// statements are the SQL of one schema, made once.
type statements struct {
	schema                                                                    string
	putAccounts, putItems, putResources, putDirected, putInbox                string
	removeAccounts, removeItems, removeResources, removeDirected, removeInbox string
	loadAccounts, loadItems, loadResources, loadDirected, loadInbox           string
	putNodes, putNodeItems, putStorage                                        string
	putEnded, removeEnded, loadEnded                                          string
	putOrigins, removeOrigins, loadOrigins                                    string
	removeNodes, removeNodeItems, removeStorage                               string
	loadNodes, loadNodeItems, loadStorage                                     string
	putPrivacy, putHidden, putRefused                                         string
	removePrivacy, removeHidden, removeRefused                                string
	loadPrivacy, loadHidden, loadRefused                                      string
	putPush, removePush, loadPush                                             string
	putArchive, removeArchive, loadArchive                                    string
	fence, open, stands, ofEdge                                               string
}

func statementsFor(schema string) statements {
	const named = "WHERE account = ANY($1)"
	in := func(sql string) string { return strings.ReplaceAll(sql, "SCHEMA.", schema+".") }
	return statements{
		schema:          schema,
		putAccounts:     accountTable.upsert(schema),
		putItems:        itemTable.upsert(schema),
		putResources:    resourceTable.upsert(schema),
		putDirected:     directedTable.upsert(schema),
		putInbox:        inboxTable.upsert(schema),
		removeAccounts:  accountTable.remove(schema, 1),
		removeItems:     itemTable.remove(schema, 2),
		removeResources: resourceTable.remove(schema, 2),
		removeDirected:  directedTable.remove(schema, 2),
		removeInbox:     inboxTable.remove(schema, 2),
		loadAccounts:    accountTable.all(schema, named),
		loadItems:       itemTable.all(schema, named),
		loadResources:   resourceTable.all(schema, named),
		loadDirected:    directedTable.all(schema, named),
		loadInbox:       inboxTable.all(schema, named),
		putEnded:        endedTable.upsert(schema),
		removeEnded:     endedTable.remove(schema, 2),
		loadEnded:       endedTable.all(schema, named),
		putOrigins:      originsTable.upsert(schema),
		removeOrigins:   originsTable.remove(schema, 1),
		loadOrigins:     originsTable.all(schema, named),
		putNodes:        nodeTable.upsert(schema),
		putNodeItems:    nodeItemTable.upsert(schema),
		putPrivacy:      privacyTable.upsert(schema),
		putHidden:       hiddenTable.upsert(schema),
		putRefused:      refusedTable.upsert(schema),
		removePrivacy:   privacyTable.remove(schema, 1),
		removeHidden:    hiddenTable.remove(schema, 3),
		removeRefused:   refusedTable.remove(schema, 2),
		loadPrivacy:     privacyTable.all(schema, named),
		loadHidden:      hiddenTable.all(schema, named),
		loadRefused:     refusedTable.all(schema, named),
		putPush:         pushTable.upsert(schema),
		removePush:      pushTable.remove(schema, 3),
		loadPush:        pushTable.all(schema, named),
		putArchive:      archiveTable.upsert(schema),
		removeArchive:   archiveTable.remove(schema, 1),
		loadArchive:     archiveTable.all(schema, named),
		putStorage:      storageTable.upsert(schema),
		removeNodes:     nodeTable.remove(schema, 2),
		removeNodeItems: nodeItemTable.remove(schema, 3),
		removeStorage:   storageTable.remove(schema, 3),
		loadNodes:       nodeTable.all(schema, named),
		loadNodeItems:   nodeItemTable.withoutPayload(schema, named),
		loadStorage:     storageTable.withoutPayload(schema, named),
		fence:           in(fence),
		open:            in(open),
		stands:          in(stands),
		ofEdge:          in(ofEdge),
	}
}

func (u *Unit) large() bool {
	p := &u.Put
	return max(len(p.Accounts), len(p.Items), len(p.Resources), len(p.Directed), len(p.Inbox),
		len(p.Ended), len(p.Origins), len(p.Nodes), len(p.NodeItems), len(p.Storage), len(p.Privacy), len(p.Hidden), len(p.Refused), len(p.Push), len(p.Archive)) > copyAbove
}

func (q *statements) queueRemove(b *pgx.Batch, k *Keys) {
	if len(k.Accounts) > 0 {
		b.Queue(q.removeAccounts, k.Accounts)
	}
	if len(k.Items) > 0 {
		b.Queue(q.removeItems, each(k.Items, func(k ItemKey) string { return k.Account }), each(k.Items, func(k ItemKey) string { return k.Contact }))
	}
	if len(k.Resources) > 0 {
		b.Queue(q.removeResources, each(k.Resources, func(k ResourceKey) string { return k.Account }), each(k.Resources, func(k ResourceKey) string { return k.Resource }))
	}
	if len(k.Directed) > 0 {
		b.Queue(q.removeDirected, each(k.Directed, func(k ResourceKey) string { return k.Account }), each(k.Directed, func(k ResourceKey) string { return k.Resource }))
	}
	if len(k.Inbox) > 0 {
		b.Queue(q.removeInbox, each(k.Inbox, func(k InboxKey) string { return k.Account }), each(k.Inbox, func(k InboxKey) int64 { return k.Offset }))
	}
	if len(k.Ended) > 0 {
		b.Queue(q.removeEnded, each(k.Ended, func(k EndedKey) string { return k.Account }),
			each(k.Ended, func(k EndedKey) pgtype.UUID { return pgtype.UUID{Bytes: k.Binding, Valid: true} }))
	}
	if len(k.Origins) > 0 {
		b.Queue(q.removeOrigins, k.Origins)
	}
	if len(k.Nodes) > 0 {
		b.Queue(q.removeNodes, each(k.Nodes, func(k NodeKey) string { return k.Account }), each(k.Nodes, func(k NodeKey) string { return k.Node }))
	}
	if len(k.NodeItems) > 0 {
		b.Queue(q.removeNodeItems, each(k.NodeItems, func(k NodeItemKey) string { return k.Account }),
			each(k.NodeItems, func(k NodeItemKey) string { return k.Node }), each(k.NodeItems, func(k NodeItemKey) string { return k.ID }))
	}
	if len(k.Storage) > 0 {
		b.Queue(q.removeStorage, each(k.Storage, func(k StorageKey) string { return k.Account }),
			each(k.Storage, func(k StorageKey) int16 { return k.Space }), each(k.Storage, func(k StorageKey) string { return k.Name }))
	}
	if len(k.Privacy) > 0 {
		b.Queue(q.removePrivacy, k.Privacy)
	}
	if len(k.Hidden) > 0 {
		b.Queue(q.removeHidden, hiddenTable.arrays(k.Hidden)...)
	}
	q.queueRemovePush(b, k.Push)
	if len(k.Archive) > 0 {
		b.Queue(q.removeArchive, k.Archive)
	}
	if len(k.Refused) > 0 {
		b.Queue(q.removeRefused, refusedTable.arrays(k.Refused)...)
	}
}

func (q *statements) queuePut(b *pgx.Batch, p *Rows) {
	queueTable(b, &accountTable, q.putAccounts, p.Accounts)
	queueTable(b, &itemTable, q.putItems, p.Items)
	queueTable(b, &resourceTable, q.putResources, p.Resources)
	queueTable(b, &directedTable, q.putDirected, p.Directed)
	queueTable(b, &inboxTable, q.putInbox, p.Inbox)
	queueTable(b, &endedTable, q.putEnded, p.Ended)
	queueTable(b, &originsTable, q.putOrigins, p.Origins)
	queueTable(b, &nodeTable, q.putNodes, p.Nodes)
	queueTable(b, &nodeItemTable, q.putNodeItems, p.NodeItems)
	queueTable(b, &storageTable, q.putStorage, p.Storage)
	queueTable(b, &privacyTable, q.putPrivacy, p.Privacy)
	queueTable(b, &hiddenTable, q.putHidden, p.Hidden)
	queueTable(b, &refusedTable, q.putRefused, p.Refused)
	queueTable(b, &pushTable, q.putPush, p.Push)
	queueTable(b, &archiveTable, q.putArchive, p.Archive)
}

func queueTable[R any](b *pgx.Batch, t *table[R], upsert string, rows []R) {
	if len(rows) > 0 {
		b.Queue(upsert, t.arrays(rows)...)
	}
}

// commitLarge is commit for what COPY makes faster.
func (s *Store) commitLarge(ctx context.Context, u *Unit) error {
	q := &s.sql
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		b := s.batch(u)
		q.queueRemove(b, &u.Remove)
		queueReactions(b, u)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		b = new(pgx.Batch)
		p := &u.Put
		for _, put := range []func() error{
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &accountTable, q.putAccounts, p.Accounts) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &itemTable, q.putItems, p.Items) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &resourceTable, q.putResources, p.Resources) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &directedTable, q.putDirected, p.Directed) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &inboxTable, q.putInbox, p.Inbox) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &endedTable, q.putEnded, p.Ended) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &originsTable, q.putOrigins, p.Origins) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &nodeTable, q.putNodes, p.Nodes) },
			func() error {
				return copyOrQueue(ctx, tx, q.schema, b, &nodeItemTable, q.putNodeItems, p.NodeItems)
			},
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &storageTable, q.putStorage, p.Storage) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &privacyTable, q.putPrivacy, p.Privacy) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &hiddenTable, q.putHidden, p.Hidden) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &refusedTable, q.putRefused, p.Refused) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &pushTable, q.putPush, p.Push) },
			func() error { return copyOrQueue(ctx, tx, q.schema, b, &archiveTable, q.putArchive, p.Archive) },
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

func copyOrQueue[R any](ctx context.Context, tx pgx.Tx, schema string, b *pgx.Batch, t *table[R], upsert string, rows []R) error {
	if len(rows) <= copyAbove {
		queueTable(b, t, upsert, rows)
		return nil
	}
	staging := "pg_temp.staging_" + t.name
	// The table stays with the session, empty between commits. It goes by the
	// columns that this code knows, not by what views has.
	_, err := tx.Exec(ctx, "CREATE TEMP TABLE IF NOT EXISTS "+staging[len("pg_temp."):]+" ON COMMIT DELETE ROWS AS SELECT "+
		t.names("")+" FROM "+schema+"."+t.name+" LIMIT 0")
	if err != nil {
		return err
	}
	if err := copyText(ctx, tx.Conn().PgConn(), staging, t, rows, ""); err != nil {
		return err
	}
	b.Queue("INSERT INTO " + schema + "." + t.name + " (" + t.names("") + ") SELECT " + t.names("") + " FROM " + staging + t.conflict())
	return nil
}

// copyText writes rows to a table by COPY in text format.
func copyText[R any](ctx context.Context, conn *pgconn.PgConn, into string, t *table[R], rows []R, with string) error {
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
