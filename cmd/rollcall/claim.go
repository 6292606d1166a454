package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A claim is what one `rollcall dev` has on a Postgres database as long as it
// lives: the ids of its parts are those of every other, which would end its
// sessions and take its leases.
type claim struct {
	url  string
	say  func(line string)
	conn *pgx.Conn

	every   time.Duration // it is looked after
	cancel  context.CancelFunc
	running sync.WaitGroup
}

const (
	claimLock = 0x726f6c6c // "roll": an advisory lock, which ends with its connection
	claimTime = 10 * time.Second
)

var errClaimed = errors.New("another `rollcall dev` runs on this Postgres database, with parts of the same names: stop it, or say another --postgres-url (or unset ROLLCALL_POSTGRES_URL, if it comes from there)")

// claimPostgres takes the claim, or gives errClaimed, wrapped or not. What a
// dev that was just killed had is free within moments, and waited for.
func claimPostgres(ctx context.Context, url string, say func(line string)) (*claim, error) {
	c := &claim{url: url, say: say, every: 5 * time.Second}
	deadline := time.Now().Add(claimTime / 4)
	for err := c.take(ctx); err != nil; err = c.take(ctx) {
		if !errors.Is(err, errClaimed) || time.Now().After(deadline) || !wait(ctx, 100*time.Millisecond) {
			return nil, err
		}
	}
	c.begin(context.WithoutCancel(ctx))
	return c, nil
}

// begin looks after the claim until release.
func (c *claim) begin(ctx context.Context) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.running.Go(func() { c.keep(ctx) })
}

// take connects and takes the lock, once.
func (c *claim) take(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.url)
	if err != nil {
		return fmt.Errorf("claim the Postgres database: %w", err)
	}
	var taken bool
	if err = conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(claimLock)).Scan(&taken); err == nil && !taken {
		err = errClaimed
	}
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return err
	}
	c.conn = conn
	return nil
}

// keep takes the claim again after Postgres was away.
func (c *claim) keep(ctx context.Context) {
	warned := false
	for wait(ctx, c.every) {
		if c.conn != nil && c.conn.Ping(ctx) == nil {
			continue
		}
		c.drop()
		err := c.take(ctx)
		if errors.Is(err, errClaimed) && !warned {
			c.say(err.Error())
		}
		warned = errors.Is(err, errClaimed)
	}
}

// wait tells whether d has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (c *claim) drop() {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.conn.Close(ctx)
		c.conn = nil
	}
}

// release gives the claim back.
func (c *claim) release() {
	c.cancel()
	c.running.Wait()
	c.drop()
}
