package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// KeeperOptions say whose lease a Keeper keeps.
type KeeperOptions struct {
	Postgres *pgxpool.Pool
	Kind     string // Edge, Worker or HTTP
	ID       string // the same in every life of the process
	Address  string // host:port where others reach it
	Domain   string // that an edge serves; empty for others
	Times    Times
	Logger   *slog.Logger // slog.Default()
}

// A Keeper holds one lease. Its methods may be called by any goroutine.
type Keeper struct {
	options KeeperOptions
	epoch   uint64
	start   time.Time    // monotonic zero of until
	until   atomic.Int64 // valid until then, nanoseconds after start; -1 when it is over
	lost    chan struct{}
	once    sync.Once
}

// Acquire takes a new epoch and its lease, and marks earlier epochs of the
// same kind and id lost: their sessions are gone, since this process is not
// theirs. The lease is valid from here on; Run renews it.
func Acquire(ctx context.Context, o KeeperOptions) (*Keeper, error) {
	if err := o.Times.check(); err != nil {
		return nil, err
	}
	if o.Postgres == nil || o.Kind == "" || o.ID == "" {
		return nil, errors.New("lease: a keeper needs Postgres, a kind and an id")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	k := &Keeper{options: o, start: time.Now(), lost: make(chan struct{})}
	err := pgx.BeginFunc(ctx, o.Postgres, func(tx pgx.Tx) error {
		before := time.Since(k.start)
		err := tx.QueryRow(ctx, `
			INSERT INTO run.lease (kind, id, epoch, address, domain, expires_at)
			VALUES ($1, $2, nextval('run.epoch'), $3, $4, clock_timestamp() + $5::bigint * interval '1 microsecond')
			RETURNING epoch`, o.Kind, o.ID, o.Address, o.Domain, o.Times.Valid.Microseconds()).Scan(&k.epoch)
		if err != nil {
			return err
		}
		k.until.Store(int64(before + o.Times.Valid))
		// Rows of a crash before the reaper's end stay marked until it has said so.
		_, err = tx.Exec(ctx, `
			UPDATE run.lease SET lost = true WHERE kind = $1 AND id = $2 AND epoch < $3 AND NOT lost`,
			o.Kind, o.ID, int64(k.epoch))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lease: acquire for %s %s: %w", o.Kind, o.ID, err)
	}
	return k, nil
}

// Epoch is the number of this life, higher than that of every earlier one.
func (k *Keeper) Epoch() uint64 { return k.epoch }

// Valid tells whether the lease holds now, by this process's monotonic clock
// and counted from before the last renewal was sent: while it is true nobody
// has been told that this process is dead.
func (k *Keeper) Valid() bool { return int64(time.Since(k.start)) < k.until.Load() }

// Lost is closed when the lease was found marked lost, or is no longer there.
func (k *Keeper) Lost() <-chan struct{} { return k.lost }

// Run renews the lease until ctx ends, which gives nil, or it is lost, which
// gives ErrLost. While Postgres is away it tries on. It does not release.
func (k *Keeper) Run(ctx context.Context) error {
	ticks := time.NewTicker(k.options.Times.Renew)
	defer ticks.Stop()
	log := k.options.Logger.With("kind", k.options.Kind, "id", k.options.ID, "epoch", k.epoch)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		switch err := k.renew(ctx); {
		case errors.Is(err, ErrLost):
			k.over()
			return err
		case err != nil && ctx.Err() == nil:
			log.Warn("lease not renewed", "err", err)
		}
	}
}

func (k *Keeper) renew(ctx context.Context) error {
	// A renewal that hangs must not keep the next from being tried.
	ctx, cancel := context.WithTimeout(ctx, k.options.Times.Renew)
	defer cancel()
	before := time.Since(k.start)
	tag, err := k.options.Postgres.Exec(ctx, `
		UPDATE run.lease SET expires_at = clock_timestamp() + $4::bigint * interval '1 microsecond'
		WHERE kind = $1 AND id = $2 AND epoch = $3 AND NOT lost`,
		k.options.Kind, k.options.ID, int64(k.epoch), k.options.Times.Valid.Microseconds())
	if err != nil {
		return fmt.Errorf("lease: renew: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrLost
	}
	k.until.Store(int64(before + k.options.Times.Valid))
	return nil
}

func (k *Keeper) over() {
	k.until.Store(-1)
	k.once.Do(func() { close(k.lost) })
}

// Release gives the lease back, as the last thing that a stopping process
// does: for an edge once its EdgeLost is stored in every partition. Without
// it the reaper does the same when the lease has expired.
func (k *Keeper) Release(ctx context.Context) error {
	k.until.Store(-1)
	_, err := k.options.Postgres.Exec(ctx, `DELETE FROM run.lease WHERE kind = $1 AND id = $2 AND epoch = $3`,
		k.options.Kind, k.options.ID, int64(k.epoch))
	if err != nil {
		return fmt.Errorf("lease: release %s %s/%d: %w", k.options.Kind, k.options.ID, k.epoch, err)
	}
	return nil
}
