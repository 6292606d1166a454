package main

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

// Two `rollcall dev` on one database would each end what the other's parts do.
func TestOneDevOnADatabase(t *testing.T) {
	url := localtest.Postgres(t)
	first, err := claimPostgres(t.Context(), url, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claimPostgres(t.Context(), url, func(string) {}); !errors.Is(err, errClaimed) {
		t.Errorf("a second one gets %v", err)
	}
	elsewhere, err := claimPostgres(t.Context(), localtest.Postgres(t), func(string) {})
	if err != nil {
		t.Fatalf("on another database: %v", err)
	}
	elsewhere.release()
	first.release()
	second, err := claimPostgres(t.Context(), url, func(string) {})
	if err != nil {
		t.Fatalf("after the first one ended: %v", err)
	}
	second.release()
}

// A claim is taken again after its connection was lost.
func TestClaimOutlivesPostgres(t *testing.T) {
	url := localtest.Postgres(t)
	c := &claim{url: url, say: func(string) {}, every: time.Millisecond}
	if err := c.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended := c.conn.PgConn().PID()
	other, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(t.Context())
	if _, err := other.Exec(t.Context(), `SELECT pg_terminate_backend($1)`, ended); err != nil {
		t.Fatal(err)
	}
	c.begin(t.Context())
	defer c.release()
	var holder uint32
	for deadline := time.Now().Add(20 * time.Second); holder == 0 || holder == ended; {
		if time.Now().After(deadline) {
			t.Fatal("it is not taken again")
		}
		if err := other.QueryRow(t.Context(), `SELECT coalesce(max(pid), 0) FROM pg_locks
			WHERE locktype = 'advisory' AND granted AND objid = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
			claimLock).Scan(&holder); err != nil {
			t.Fatal(err)
		}
	}
}
