package localtest

import (
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/schema/clickhouse"
)

// Tables brings the database of a connection string, as ClickHouse gives it, to
// the newest version of our tables, and gives a connection that ends with the test.
func Tables(t testing.TB, dsn string) driver.Conn {
	t.Helper()
	parsed, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := clickhouse.Migrate(t.Context(), dsn, parsed.Auth.Database); err != nil {
		t.Fatal(err)
	}
	options, err := clickhouse.Options(dsn, parsed.Auth.Database)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
