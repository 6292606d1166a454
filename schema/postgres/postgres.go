// Package postgres holds the tables of Rollcall in Postgres as numbered SQL
// files, and the code that applies them. What each table means stands in the
// files.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// FencedState is the SQLSTATE with which run.fence ends a transaction.
const FencedState = "RC001"

// lockID is the advisory lock that a migrating process holds.
const lockID = 0x726f6c6c63616c6c // "rollcall"

// Migrate brings the database at url to the newest version of the tables. Any
// number of processes may call it at once: one works, the others wait. The
// role needs to own the database, for the database gets its search_path.
func Migrate(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("migrate postgres: %w", err)
	}
	// Before and after the first migration names mean the same.
	config.RuntimeParams["search_path"] = "public"
	config.RuntimeParams["application_name"] = "rollcall migrate"
	db := stdlib.OpenDB(*config)
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate postgres: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(
		lock.WithLockID(lockID),
		lock.WithLockTimeout(1, 300), // every second, 5 minutes in all
	)
	if err != nil {
		return fmt.Errorf("migrate postgres: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithTableName("public.rollcall_version"))
	if err != nil {
		return fmt.Errorf("migrate postgres: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate postgres: %w", err)
	}
	return nil
}
