package fanout

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// loadTime is the longest that the load of a partition may take.
const loadTime = 2 * time.Minute

// load takes a claim on the partition, and what the projection has of it, in
// one snapshot. The tail goes on from there.
func (p *partition) load() error {
	w := p.worker
	select {
	case w.loads <- struct{}{}:
		defer func() { <-w.loads }()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
	ctx, cancel := context.WithTimeout(p.ctx, loadTime)
	defer cancel()
	var claim int64
	if err := w.options.Postgres.QueryRow(ctx, `SELECT nextval('run.claim')`).Scan(&claim); err != nil {
		return fmt.Errorf("claim %v: %w", p, err)
	}
	// The end is found after the claim: who listens to this claim misses
	// nothing that was there before it.
	ends, err := w.options.Offsets.Ends(ctx, topic.Account)
	if err != nil {
		return fmt.Errorf("find the end of %v: %w", p, err)
	}
	first, err := w.options.Offsets.Starts(ctx, topic.Account)
	if err != nil {
		return fmt.Errorf("find the start of %v: %w", p, err)
	}
	starts, err := w.options.Offsets.Starts(ctx, topic.Outbox)
	if err != nil {
		return fmt.Errorf("find the outbox of %v: %w", p, err)
	}
	committed, err := w.options.Member.Committed(ctx, topic.Outbox)
	if err != nil {
		return fmt.Errorf("find the outbox of %v: %w", p, err)
	}
	p.claim, p.end = uint64(claim), ends[p.number]
	// Without a commit everything that is kept is sent; edges drop copies.
	p.outbox.next = max(committed[p.number], starts[p.number])
	p.settleOutbox()
	if err := p.snapshot(ctx); err != nil {
		return err
	}
	p.from = min(p.next, max(p.next-repeatRecords, first[p.number]))
	return nil
}

// snapshot reads the projection.
func (p *partition) snapshot(ctx context.Context) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, p.worker.options.Postgres, options, func(tx pgx.Tx) error {
		clear(p.accounts)
		clear(p.waiting)
		p.next = 0
		var marks []byte
		batch := new(pgx.Batch)
		batch.Queue(`SELECT next_offset, marks FROM views.projected WHERE partition = $1`, p.number).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := rows.Scan(&p.next, &marks); err != nil {
					return err
				}
			}
			return rows.Err()
		})
		batch.Queue(`
			SELECT account, resource, binding, edge, epoch, available, show, status, priority, payload, lang, stanza_id, version, bound_offset, began_offset, since, inherited AND available
			FROM views.resource WHERE partition = $1`, p.number).Query(p.readResources)
		batch.Queue(`SELECT account, state, policy FROM views.privacy WHERE partition = $1`, p.number).Query(p.readGuards)
		batch.Queue(`
			SELECT i.account, i."offset", i.at, i.accepted FROM views.inbox i
			WHERE i.account IN (SELECT account FROM views.resource WHERE partition = $1)
			ORDER BY i.account, i."offset"`, p.number).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				name, s, err := readStored(rows)
				if err != nil {
					return err
				}
				if a := p.accounts[name]; a != nil {
					a.inbox = append(a.inbox, s)
					p.waiting[a] = struct{}{}
				}
			}
			return rows.Err()
		})
		batch.Queue(`
			SELECT account, latest FROM views.origins WHERE account IN (SELECT account FROM views.resource WHERE partition = $1)`,
			p.number).Query(func(rows pgx.Rows) error {
			return readOrigins(rows, func(name string, o message.Origins) {
				if a := p.accounts[name]; a != nil {
					a.origins = o
				}
			})
		})
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if p.next < 0 {
			return fmt.Errorf("the projection is being replaced")
		}
		p.known = p.next
		return p.marks.UnmarshalBinary(marks)
	})
	if err != nil {
		return fmt.Errorf("load %v: %w", p, err)
	}
	return nil
}

func (p *partition) readResources(rows pgx.Rows) error {
	for rows.Next() {
		var name string
		var r presence.Resource
		var priority int16
		var epoch int64
		var binding [16]byte
		if err := rows.Scan(&name, &r.Name, &binding, &r.Edge, &epoch, &r.Available, &r.Show, &r.Status, &priority,
			&r.Payload, &r.Lang, &r.ID, &r.Version, &r.Bound, &r.Began, &r.Since, &r.Inherited); err != nil {
			return err
		}
		r.Binding, r.Epoch, r.Priority = uuid.UUID(binding), uint64(epoch), int8(priority)
		a := p.accounts[name]
		if a == nil {
			a = &acct{name: name, resources: make(map[string]presence.Resource, 1), said: make(map[string][]byte, 1)}
			p.accounts[name] = a
		}
		if r.Available {
			a.said[r.Name] = marshal(&wire.Presence{
				Account: name, Resource: r.Name, Version: r.Version, Available: true, At: r.Since.UnixMicro(),
				Presence: &event.Presence{
					Show: r.Show, Status: r.Status, Priority: int32(r.Priority), Payload: r.Payload, Lang: r.Lang, Id: r.ID,
				},
			})
		}
		r.Content = presence.Content{Show: r.Show, Priority: r.Priority}
		a.resources[r.Name] = r
	}
	return rows.Err()
}

// readStored reads account, offset, at, accepted.
func readStored(rows pgx.Rows) (string, *stored, error) {
	var name string
	var at time.Time
	var accepted []byte
	s := &stored{accepted: new(event.MessageAccepted)}
	if err := rows.Scan(&name, &s.offset, &at, &accepted); err != nil {
		return "", nil, err
	}
	s.at = at.UnixMicro()
	if err := proto.Unmarshal(accepted, s.accepted); err != nil {
		return "", nil, fmt.Errorf("inbox of %s at %d: %w", name, s.offset, err)
	}
	return name, s, nil
}

// projectedNext gives the next offset of every partition that is projected.
func projectedNext(ctx context.Context, pool *pgxpool.Pool) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	rows, err := pool.Query(ctx, `SELECT partition, next_offset FROM views.projected`)
	if err != nil {
		return nil, fmt.Errorf("read the projection's position: %w", err)
	}
	next := make(map[int32]int64)
	var n int32
	var at int64
	if _, err := pgx.ForEachRow(rows, []any{&n, &at}, func() error { next[n] = at; return nil }); err != nil {
		return nil, fmt.Errorf("read the projection's position: %w", err)
	}
	return next, nil
}
