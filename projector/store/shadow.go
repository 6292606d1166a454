package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Shadow is the schema in which views are made anew.
const Shadow = "views_rebuild"

// retired is the name of the schema that was live, until it is dropped.
const retired = "views_old"

// CreateShadow makes the tables of the shadow schema: those of views without
// keys and indexes, which come when the rows are there (IndexShadow). What an
// earlier, unfinished rebuild left stays, if it still fits: its partitions are
// given by Shadowed.
func CreateShadow(ctx context.Context, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var fits bool
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL AND NOT EXISTS (
	(SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'views'
	 EXCEPT SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $2)
	UNION ALL
	(SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $2
	 EXCEPT SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'views'))`,
			Shadow+".online_friends", Shadow).Scan(&fits); err != nil || fits {
			return err
		}
		if _, err := tx.Exec(ctx, `DROP SCHEMA IF EXISTS `+Shadow+` CASCADE; CREATE SCHEMA `+Shadow); err != nil {
			return err
		}
		tables, err := pairs(ctx, tx, `SELECT relname, coalesce(array_to_string(reloptions, ', '), '') FROM pg_class
WHERE relnamespace = 'views'::regnamespace AND relkind = 'r' ORDER BY relname`)
		if err != nil {
			return err
		}
		for _, t := range tables {
			create := fmt.Sprintf(`CREATE TABLE %s.%s (LIKE views.%s INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMMENTS)`, Shadow, quoted(t[0]), quoted(t[0]))
			if t[1] != "" {
				create += " WITH (" + t[1] + ")"
			}
			if _, err := tx.Exec(ctx, create); err != nil {
				return err
			}
		}
		// With views in the path a definition names its tables without their
		// schema, and means those of whatever schema is in the path instead.
		defined, err := inPath(ctx, tx, "views", `SELECT relname, pg_get_viewdef(oid) FROM pg_class
WHERE relnamespace = 'views'::regnamespace AND relkind = 'v' ORDER BY oid`)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL search_path = `+Shadow); err != nil {
			return err
		}
		for _, v := range defined {
			if _, err := tx.Exec(ctx, "CREATE VIEW "+quoted(v[0])+" AS "+v[1]); err != nil {
				return err
			}
		}
		// The key by which a partition is done once.
		_, err = tx.Exec(ctx, `ALTER TABLE projected ADD CONSTRAINT projected_key PRIMARY KEY (partition)`)
		return err
	})
	if err != nil {
		return fmt.Errorf("create schema %s: %w", Shadow, err)
	}
	return nil
}

// Shadowed gives the partitions that are in the shadow schema, and how far.
func Shadowed(ctx context.Context, pool *pgxpool.Pool) (map[int32]Projected, error) {
	rows, err := pool.Query(ctx, `SELECT partition, next_offset, marks, fold_version FROM `+Shadow+`.projected`)
	if err != nil {
		return nil, fmt.Errorf("read schema %s: %w", Shadow, err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Projected])
	if err != nil {
		return nil, fmt.Errorf("read schema %s: %w", Shadow, err)
	}
	done := make(map[int32]Projected, len(all))
	for _, p := range all {
		done[p.Partition] = p
	}
	return done, nil
}

// FillShadow writes every row of a partition and how far it is folded, in one
// transaction: after a crash a partition is there as a whole or not at all.
func FillShadow(ctx context.Context, pool *pgxpool.Pool, at Projected, rows *Rows) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO `+Shadow+`.projected (partition, next_offset, marks, fold_version, updated_at)
VALUES ($1, $2, $3, $4, now())`, at.Partition, at.Next, at.Marks, at.FoldVersion)
		if err != nil {
			return err
		}
		conn := tx.Conn().PgConn()
		for _, fill := range []func() error{
			func() error { return copyText(ctx, conn, Shadow+".account", &accountTable, rows.Accounts, "") },
			func() error { return copyText(ctx, conn, Shadow+".roster_item", &itemTable, rows.Items, "") },
			func() error { return copyText(ctx, conn, Shadow+".resource", &resourceTable, rows.Resources, "") },
			func() error { return copyText(ctx, conn, Shadow+".directed", &directedTable, rows.Directed, "") },
			func() error { return copyText(ctx, conn, Shadow+".inbox", &inboxTable, rows.Inbox, "") },
			func() error { return copyText(ctx, conn, Shadow+".ended", &endedTable, rows.Ended, "") },
			func() error { return copyText(ctx, conn, Shadow+".origins", &originsTable, rows.Origins, "") },
			func() error { return copyText(ctx, conn, Shadow+".node", &nodeTable, rows.Nodes, "") },
			func() error { return copyText(ctx, conn, Shadow+".node_item", &nodeItemTable, rows.NodeItems, "") },
			func() error { return copyText(ctx, conn, Shadow+".storage", &storageTable, rows.Storage, "") },
			func() error { return copyText(ctx, conn, Shadow+".privacy", &privacyTable, rows.Privacy, "") },
			func() error { return copyText(ctx, conn, Shadow+".hidden", &hiddenTable, rows.Hidden, "") },
			func() error { return copyText(ctx, conn, Shadow+".refused", &refusedTable, rows.Refused, "") },
			func() error { return copyText(ctx, conn, Shadow+".push", &pushTable, rows.Push, "") },
			func() error { return copyText(ctx, conn, Shadow+".archive", &archiveTable, rows.Archive, "") },
		} {
			if err := fill(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fill partition %d of schema %s: %w", at.Partition, Shadow, err)
	}
	return nil
}

// IndexShadow gives the tables of the shadow schema the keys and indexes that
// those of views have, as far as they lack them, and analyzes them.
func IndexShadow(ctx context.Context, pool *pgxpool.Pool) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		keys, err := pairs(ctx, tx, `SELECT c.relname || '.' || k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
WHERE k.connamespace = 'views'::regnamespace AND k.contype IN ('p', 'u', 'c')
AND NOT EXISTS (SELECT FROM pg_constraint s WHERE s.connamespace = '`+Shadow+`'::regnamespace AND s.conname = k.conname) ORDER BY 1`)
		if err != nil {
			return err
		}
		indexes, err := inPath(ctx, tx, "views", `SELECT c.relname, pg_get_indexdef(c.oid, 0, true) FROM pg_class c
WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'i' AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)
AND NOT EXISTS (SELECT FROM pg_class s WHERE s.relnamespace = '`+Shadow+`'::regnamespace AND s.relname = c.relname) ORDER BY 1`)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL search_path = `+Shadow); err != nil {
			return err
		}
		for _, k := range keys {
			table, constraint, _ := strings.Cut(k[0], ".")
			if _, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE %s ADD CONSTRAINT %s %s`, quoted(table), quoted(constraint), k[1])); err != nil {
				return err
			}
		}
		for _, i := range indexes {
			if _, err := tx.Exec(ctx, i[1]); err != nil {
				return err
			}
		}
		_, err = tx.Exec(ctx, `ANALYZE account, roster_item, resource, directed, ended, inbox, origins, node, node_item, storage, privacy, hidden, refused, push, archive, projected`)
		return err
	})
	if err != nil {
		return fmt.Errorf("index schema %s: %w", Shadow, err)
	}
	return nil
}

// Swap puts the shadow schema in the place of views. Nobody can move a live
// partition from its start to its end; meanwhile catchUp brings the shadow to
// exactly the live offsets. A projector whose commit waited goes on in the new
// tables, for names are looked up again after a wait; a commit that should
// still reach the old ones finds offset -1 there, is fenced, and loads again.
// Readers wait for nothing. What was live is dropped afterwards: a crash
// before leaves a schema that nobody uses, and the next rebuild drops it.
func Swap(ctx context.Context, pool *pgxpool.Pool, catchUp func(live []Projected) error) error {
	if _, err := pool.Exec(ctx, `DROP SCHEMA IF EXISTS `+retired+` CASCADE`); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `LOCK TABLE views.projected IN SHARE ROW EXCLUSIVE MODE`); err != nil {
			return err
		}
		live, err := ReadProjected(ctx, tx)
		if err != nil {
			return err
		}
		if err := catchUp(live); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `UPDATE views.projected SET next_offset = -1; ALTER SCHEMA views RENAME TO `+retired+`; ALTER SCHEMA `+Shadow+` RENAME TO views`)
		return err
	})
	if err == nil {
		_, err = pool.Exec(ctx, `DROP SCHEMA `+retired+` CASCADE`)
	}
	if err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	return nil
}

// inPath is pairs with schema alone in the search path.
func inPath(ctx context.Context, tx pgx.Tx, schema, sql string) ([][2]string, error) {
	if _, err := tx.Exec(ctx, `SET LOCAL search_path = `+schema); err != nil {
		return nil, err
	}
	return pairs(ctx, tx, sql)
}

func pairs(ctx context.Context, tx pgx.Tx, sql string) (all [][2]string, err error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	var a, b string
	_, err = pgx.ForEachRow(rows, []any{&a, &b}, func() error {
		all = append(all, [2]string{a, b})
		return nil
	})
	return all, err
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
