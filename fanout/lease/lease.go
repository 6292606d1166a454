// Package lease tells which edges and workers live. Each process holds a row
// in Postgres, named by its kind, its id and an epoch that no other life of it
// had, and renews it; a Reaper ends the rows of those that no longer do, and
// for an edge says so in the log. The clock that decides is Postgres' own.
package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The kinds of processes that hold leases.
const (
	Edge   = "edge"
	Worker = "worker"
	HTTP   = "http" // the door for services that speak HTTP
)

// Times say how long a lease lives. The zero value of a field means its default.
type Times struct {
	Valid time.Duration // how long a lease is valid after a renewal; 10s
	Renew time.Duration // between two renewals; 2s
	Reap  time.Duration // between two looks of the reaper; 500ms
	Watch time.Duration // how long the reaper must have seen Postgres without a break before it judges; Valid
}

func (t *Times) check() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Valid, 10*time.Second)
	def(&t.Renew, 2*time.Second)
	def(&t.Reap, 500*time.Millisecond)
	def(&t.Watch, t.Valid)
	if t.Renew <= 0 || t.Reap <= 0 || t.Renew >= t.Valid {
		return fmt.Errorf("lease: renewed every %v, valid for %v, reaped every %v", t.Renew, t.Valid, t.Reap)
	}
	if t.Watch < t.Valid {
		return fmt.Errorf("lease: the reaper watches for %v, a lease is valid for %v", t.Watch, t.Valid)
	}
	return nil
}

// ErrLost tells that a lease was marked lost: its holder is dead to all others.
var ErrLost = errors.New("lease: marked lost")

// A Row is one lease that was live when it was read.
type Row struct {
	Kind    string
	ID      string
	Epoch   uint64
	Address string // host:port where the holder is reached
}

// Discover gives the live leases of a kind, ordered by id and epoch: neither
// expired nor marked lost.
func Discover(ctx context.Context, pool *pgxpool.Pool, kind string) ([]Row, error) {
	rows, err := pool.Query(ctx, `
		SELECT id, epoch, address FROM run.lease
		WHERE kind = $1 AND NOT lost AND expires_at > clock_timestamp()
		ORDER BY id, epoch`, kind)
	if err != nil {
		return nil, fmt.Errorf("lease: discover %s: %w", kind, err)
	}
	defer rows.Close()
	var found []Row
	for rows.Next() {
		r := Row{Kind: kind}
		if err := rows.Scan(&r.ID, &r.Epoch, &r.Address); err != nil {
			return nil, fmt.Errorf("lease: discover %s: %w", kind, err)
		}
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("lease: discover %s: %w", kind, err)
	}
	return found, nil
}

// Domains gives the domains that live edges serve, ordered, each once.
func Domains(ctx context.Context, pool *pgxpool.Pool) ([]string, error) {
	rows, err := pool.Query(ctx, `
		SELECT DISTINCT domain FROM run.lease
		WHERE kind = $1 AND domain <> '' AND NOT lost AND expires_at > clock_timestamp()
		ORDER BY domain`, Edge)
	if err == nil {
		var found []string
		if found, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			return found, nil
		}
	}
	return nil, fmt.Errorf("lease: find the domains: %w", err)
}

// Held tells whether a lease is there and not marked lost. One that is merely
// expired is held: whether its holder is dead is for the reaper to say.
func Held(ctx context.Context, pool *pgxpool.Pool, kind, id string, epoch uint64) (bool, error) {
	var held bool
	err := pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM run.lease WHERE kind = $1 AND id = $2 AND epoch = $3 AND NOT lost)`,
		kind, id, int64(epoch)).Scan(&held)
	if err != nil {
		return false, fmt.Errorf("lease: look up %s %s/%d: %w", kind, id, epoch, err)
	}
	return held, nil
}
