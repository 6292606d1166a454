package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// reaperLock is the advisory lock that the one reaper holds.
const reaperLock = 0x726f6c6c72656170 // "rollreap"

// Log is what the reaper says an edge's end in.
type Log interface {
	// AppendEdgeLost stores EdgeLost in every partition; it returns when all
	// have acknowledged it.
	AppendEdgeLost(ctx context.Context, edge string, epoch uint64) error
}

// ReaperOptions say what a Reaper works on.
type ReaperOptions struct {
	Postgres *pgxpool.Pool
	Log      Log
	Times    Times                 // those that the keepers have
	Logger   *slog.Logger          // slog.Default()
	Registry prometheus.Registerer // nil: metrics are kept, not shown
}

// A Reaper ends the leases of the dead. Any number of processes may run one:
// one works, the others wait for its end.
type Reaper struct {
	options ReaperOptions
	reaped  *prometheus.CounterVec
	active  prometheus.Gauge
}

// NewReaper gives a Reaper that works once Run runs.
func NewReaper(o ReaperOptions) (*Reaper, error) {
	if err := o.Times.check(); err != nil {
		return nil, err
	}
	if o.Postgres == nil || o.Log == nil {
		return nil, errors.New("lease: a reaper needs Postgres and Log")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	r := &Reaper{
		options: o,
		reaped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rollcall_lease_reaped_total", Help: "Leases that the reaper ended, by kind."}, []string{"kind"}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_lease_reaper", Help: "1 in the process whose reaper works."}),
	}
	if o.Registry != nil {
		o.Registry.MustRegister(r.reaped, r.active)
	}
	return r, nil
}

// Run reaps until ctx ends. While Postgres or the log is away it tries on.
func (r *Reaper) Run(ctx context.Context) error {
	for {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			r.options.Logger.Warn("reaper interrupted", "err", err)
		}
		if !sleep(ctx, r.options.Times.Reap) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// session reaps on one connection, as long as it lives: who holds the lock
// loses it with the connection, and the watch begins anew.
func (r *Reaper) session(ctx context.Context) error {
	pooled, err := r.options.Postgres.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("lease: reaper: %w", err)
	}
	conn := pooled.Hijack() // the lock belongs to the connection: it must not go back
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	// Who waits for the lock watches Postgres too, and may judge at once when
	// the reaper before it has died.
	watched := time.Now()
	locked := false
	for !locked {
		if err := r.ask(ctx, func(ctx context.Context) error {
			return conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(reaperLock)).Scan(&locked)
		}); err != nil {
			return err
		}
		if !locked && !sleep(ctx, r.options.Times.Reap) {
			return nil
		}
	}
	r.active.Set(1)
	defer r.active.Set(0)
	for {
		if err := r.round(ctx, conn, time.Since(watched) >= r.options.Times.Watch); err != nil {
			return err
		}
		if !sleep(ctx, r.options.Times.Reap) {
			return nil
		}
	}
}

// ask bounds one question to Postgres: if it takes as long as a renewal may,
// holders were kept from renewing too, and the watch must begin anew.
func (r *Reaper) ask(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.options.Times.Renew)
	defer cancel()
	if err := question(ctx); err != nil {
		return fmt.Errorf("lease: reaper: %w", err)
	}
	return nil
}

// round marks what has expired, if it may judge, and ends what is marked.
func (r *Reaper) round(ctx context.Context, conn *pgx.Conn, judge bool) error {
	var lost []Row
	err := r.ask(ctx, func(ctx context.Context) error {
		if judge {
			// From here on a renewal fails: the holder is dead by decision.
			if _, err := conn.Exec(ctx, `
				UPDATE run.lease SET lost = true WHERE NOT lost AND expires_at < clock_timestamp()`); err != nil {
				return err
			}
		}
		rows, err := conn.Query(ctx, `SELECT kind, id, epoch, address FROM run.lease WHERE lost ORDER BY epoch`)
		if err != nil {
			return err
		}
		lost, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Row])
		return err
	})
	if err != nil {
		return err
	}
	// A crash after this line leaves rows marked: the next reaper ends them.
	for _, row := range lost {
		if err := r.end(ctx, conn, row); err != nil {
			return err
		}
	}
	return nil
}

// end says in the log that an edge is lost, then removes the row. A crash in
// between has it said again, which changes nothing.
func (r *Reaper) end(ctx context.Context, conn *pgx.Conn, row Row) error {
	if row.Kind == Edge {
		if err := r.options.Log.AppendEdgeLost(ctx, row.ID, row.Epoch); err != nil {
			return fmt.Errorf("lease: end edge %s/%d: %w", row.ID, row.Epoch, err)
		}
	}
	if err := r.ask(ctx, func(ctx context.Context) error {
		_, err := conn.Exec(ctx, `DELETE FROM run.lease WHERE kind = $1 AND id = $2 AND epoch = $3`,
			row.Kind, row.ID, int64(row.Epoch))
		return err
	}); err != nil {
		return err
	}
	r.reaped.WithLabelValues(row.Kind).Inc()
	r.options.Logger.Info("lease ended", "kind", row.Kind, "id", row.ID, "epoch", row.Epoch)
	return nil
}
