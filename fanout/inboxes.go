package fanout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/message"
)

// inboxes loads the inboxes of accounts that have got their first resource,
// once the projection has reached its ResourceBound; many in one query.
type inboxes struct {
	options *Options

	mu      sync.Mutex
	waiting []wantedInbox
	wake    chan struct{}
}

type wantedInbox struct {
	partition *partition
	account   *acct
	offset    int64 // of the ResourceBound
}

const (
	// maxInboxes is how many are loaded in one query.
	maxInboxes = 1000
	// slowestInbox is the longest pause between looks, in units of InboxEvery.
	slowestInbox = 25
)

func newInboxes(o *Options) *inboxes { return &inboxes{options: o, wake: make(chan struct{}, 1)} }

// ask has the account's inbox loaded; the partition is told by loadedInbox.
// It does not wait.
func (b *inboxes) ask(p *partition, a *acct, offset int64) {
	b.mu.Lock()
	b.waiting = append(b.waiting, wantedInbox{p, a, offset})
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run loads until ctx ends.
func (b *inboxes) run(ctx context.Context) {
	var pause time.Duration
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.wake:
			pause = b.options.InboxEvery
		}
		for {
			left, loaded, err := b.round(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				b.options.Logger.Warn("inboxes not loaded", "err", err)
			}
			if left == 0 {
				break
			}
			if loaded > 0 {
				pause = b.options.InboxEvery
			} else {
				if !sleep(ctx, pause) {
					return
				}
				pause = min(2*pause, slowestInbox*b.options.InboxEvery)
			}
		}
	}
}

// round loads what the projection has reached. It tells how many are left.
func (b *inboxes) round(ctx context.Context) (left, loaded int, err error) {
	b.mu.Lock()
	waiting := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	var later []wantedInbox
	defer func() {
		b.mu.Lock()
		b.waiting = append(later, b.waiting...)
		left = len(b.waiting)
		b.mu.Unlock()
	}()
	next, err := projectedNext(ctx, b.options.Postgres)
	if err != nil {
		later = waiting
		return 0, 0, err
	}
	var due []wantedInbox
	for _, w := range waiting {
		switch {
		case w.partition.ctx.Err() != nil: // no longer ours
		case next[w.partition.number] > w.offset && len(due) < maxInboxes:
			due = append(due, w)
		default:
			later = append(later, w)
		}
	}
	if len(due) == 0 {
		return 0, 0, nil
	}
	if err := b.load(ctx, due); err != nil {
		later = append(due, later...)
		return 0, 0, err
	}
	return 0, len(due), nil
}

// load reads inboxes and hands each to its partition.
func (b *inboxes) load(ctx context.Context, due []wantedInbox) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	names := make([]string, len(due))
	for i, w := range due {
		names[i] = w.account.name
	}
	rows := make(map[string][]*stored)
	origins := make(map[string]message.Origins)
	created := make(map[string]int64)
	next := make(map[int32]int64)
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, b.options.Postgres, options, func(tx pgx.Tx) error {
		batch := new(pgx.Batch)
		batch.Queue(`SELECT partition, next_offset FROM views.projected`).Query(func(found pgx.Rows) error {
			var n int32
			var at int64
			_, err := pgx.ForEachRow(found, []any{&n, &at}, func() error { next[n] = at; return nil })
			return err
		})
		batch.Queue(`SELECT account, created_offset FROM views.account WHERE account = ANY($1)`, names).Query(func(found pgx.Rows) error {
			var name string
			var at int64
			_, err := pgx.ForEachRow(found, []any{&name, &at}, func() error { created[name] = at; return nil })
			return err
		})
		batch.Queue(`
			SELECT account, "offset", at, accepted FROM views.inbox
			WHERE account = ANY($1) ORDER BY account, "offset"`, names).Query(func(found pgx.Rows) error {
			for found.Next() {
				name, s, err := readStored(found)
				if err != nil {
					return err
				}
				rows[name] = append(rows[name], s)
			}
			return found.Err()
		})
		batch.Queue(`SELECT account, latest FROM views.origins WHERE account = ANY($1)`, names).Query(func(found pgx.Rows) error {
			return readOrigins(found, func(name string, o message.Origins) { origins[name] = o })
		})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("load inboxes: %w", err)
	}
	for _, w := range due {
		name := w.account.name
		snapshot := next[w.partition.number]
		if snapshot <= w.offset {
			return fmt.Errorf("load inboxes: %v went back to offset %d", w.partition, snapshot)
		}
		at, exists := created[name]
		if !exists {
			at = snapshot
		}
		w.partition.post(func() { w.partition.loadedInbox(w.account, rows[name], at, snapshot, origins[name]) })
	}
	return nil
}
