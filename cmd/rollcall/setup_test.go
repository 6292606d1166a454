package main

import (
	"context"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

// TestMigrateWaits: while one process migrates ClickHouse another waits.
func TestMigrateWaits(t *testing.T) {
	url, dsn := localtest.Postgres(t), localtest.ClickHouse(t)
	parsed, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	other, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.Background())
	if _, err := other.Exec(t.Context(), "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- migrate(t.Context(), url, clickhouseFlags{ClickhouseAddr: dsn, ClickhouseDatabase: parsed.Auth.Database})
	}()
	for waits := false; !waits; time.Sleep(10 * time.Millisecond) {
		if err := other.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND NOT granted)", int64(migrateLock)).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		if len(done) > 0 {
			t.Fatalf("it did not wait: %v", <-done)
		}
	}
	conn, err := driver.Open(parsed)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	tables := func() (n uint64) {
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM system.tables WHERE database = ?", parsed.Auth.Database).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := tables(); n > 0 {
		t.Errorf("%d tables while it should wait", n)
	}
	other.Close(t.Context()) // as when the other is killed
	if err := <-done; err != nil || tables() == 0 {
		t.Errorf("%d tables, %v", tables(), err)
	}
}
