// Package clickhouse holds the tables and views of Rollcall in ClickHouse as
// numbered SQL files, and the code that applies them. What each table means
// stands in the files. ClickHouse 26.x is meant.
package clickhouse

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// Database is the name of the database when nobody asks for another.
const Database = "rollcall"

//go:embed migrations/*.sql
var migrations embed.FS

// Options gives what clickhouse-go needs to reach database at addr: host:port
// of the native protocol, or a URL clickhouse://user:password@host:port whose
// parameters are clickhouse-go's. The database is always named, for the
// server's default one may be of another kind.
func Options(addr, database string) (*clickhouse.Options, error) {
	if database == "" || strings.ContainsAny(database, "`\\") {
		return nil, fmt.Errorf("clickhouse database %q: not a plain name", database)
	}
	o := &clickhouse.Options{Addr: []string{addr}}
	if strings.Contains(addr, "://") {
		var err error
		// The error of a bad URL may hold the password.
		if o, err = clickhouse.ParseDSN(addr); err != nil {
			return nil, errors.New("clickhouse address: not a URL that clickhouse-go reads")
		}
	}
	o.Auth.Database = database
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	return o, nil
}

// Migrate creates the database if it is not there and brings it to the newest
// version of the tables. Run it again after an error: every statement may run
// twice. Processes that migrate at once do the same work twice, to no harm; one
// that another disturbs begins again.
func Migrate(ctx context.Context, addr, database string) error {
	if err := create(ctx, addr, database); err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err)
	}
	o, err := Options(addr, database)
	if err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err)
	}
	db := clickhouse.OpenDB(o)
	defer db.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err)
	}
	if err := createVersions(ctx, db); err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectClickHouse, db, files, goose.WithTableName(versions))
	if err != nil {
		return fmt.Errorf("migrate clickhouse: %w", err)
	}
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil {
			return nil
		}
		if !disturbed(err) || try == maxTries {
			return fmt.Errorf("migrate clickhouse: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("migrate clickhouse: %w", err)
		case <-time.After(time.Duration(try) * 50 * time.Millisecond):
		}
	}
}

// maxTries is how often a migration is begun that others disturb.
const maxTries = 10

// disturbed tells that another process replaced the same view meanwhile, by one
// of a later migration perhaps. The server's errors for that are also those of a
// table or a column that never was: then it is one after the last try, too.
func disturbed(err error) bool {
	const noSuchColumn, tableExists, unknownTable, tableIsDropped, cannotAssignAlter, atomicRenameFail = 10, 57, 60, 218, 517, 521
	var e *clickhouse.Exception
	return errors.As(err, &e) && slices.Contains([]int32{noSuchColumn, tableExists, unknownTable, tableIsDropped, cannotAssignAlter, atomicRenameFail}, e.Code)
}

// versions is the table in which goose notes what was applied.
const versions = "rollcall_version"

// createVersions makes that table if it is not there, as goose would: but goose
// finds that out by a query that fails, which the server's log tells as an error.
func createVersions(ctx context.Context, db *sql.DB) error {
	var there int
	err := db.QueryRowContext(ctx, "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = ?", versions).Scan(&there)
	if there > 0 || err != nil {
		return err
	}
	store, err := database.NewStore(database.DialectClickHouse, versions)
	if err != nil {
		return err
	}
	if err := store.CreateVersionTable(ctx, db); err != nil {
		return err
	}
	return store.Insert(ctx, db, database.InsertRequest{Version: 0})
}

// create connects without our database, which may not be there yet.
func create(ctx context.Context, addr, database string) error {
	o, err := Options(addr, database)
	if err != nil {
		return err
	}
	o.Auth.Database = ""
	conn, err := clickhouse.Open(o)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS `"+database+"`")
}
