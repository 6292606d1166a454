// Package pushes keeps in Postgres what push services are to be told of
// messages that wait (XEP-0357): the projector writes it with what it folds,
// and the edge that a service is connected to takes it from here.
package pushes

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
)

// A Store may be used by any goroutine.
type Store struct{ pool *pgxpool.Pool }

// New gives the Store of the schemas views and run.
func New(pool *pgxpool.Pool) *Store { return &Store{pool} }

// What is claimed, or put off, is due later. While anything of a node of an
// account is, the rest of it waits as well and goes with it: so a service is
// asked one thing at a time, and what came meanwhile is told together.
const take = `
WITH due AS (
	SELECT p.account, p.service, p.node, min(p.due_at) AS since FROM run.push p
	WHERE p.domain = ANY($1) AND p.due_at <= now() AND NOT EXISTS (
		SELECT FROM run.push f WHERE f.account = p.account AND f.service = p.service AND f.node = p.node AND f.due_at > now())
	GROUP BY p.account, p.service, p.node ORDER BY since LIMIT $2
), locked AS (
	SELECT p.account, p.service, p.node, p."offset" FROM run.push p JOIN due d USING (account, service, node)
	ORDER BY p.account, p.service, p.node, p."offset" FOR UPDATE OF p SKIP LOCKED
), taken AS (
	UPDATE run.push p SET due_at = now() + $3::bigint * interval '1 microsecond', attempts = p.attempts + 1 FROM locked l
	WHERE p.account = l.account AND p.service = l.service AND p.node = l.node AND p."offset" = l."offset" AND p.due_at <= now()
	RETURNING p.account, p.service, p.node, p."offset", p.attempts
), told AS (
	SELECT account, service, node, max("offset") AS newest, max(attempts) AS attempt, array_agg("offset") AS offsets
	FROM taken GROUP BY account, service, node
)
SELECT t.account, t.service, t.node, t.newest, t.attempt, v.options,
	(SELECT count(*) FROM views.inbox i WHERE i.account = t.account), m.accepted
FROM told t
LEFT JOIN views.push v USING (account, service, node)
LEFT JOIN LATERAL (
	SELECT i.accepted FROM views.inbox i WHERE i.account = t.account AND i."offset" = ANY(t.offsets) ORDER BY i."offset" DESC LIMIT 1
) m ON true
ORDER BY t.newest`

// Take implements edge.Pushes.
func (s *Store) Take(ctx context.Context, domains []string, most int, claim time.Duration) ([]edge.Push, error) {
	rows, err := s.pool.Query(ctx, take, domains, most, claim.Microseconds())
	if err != nil {
		return nil, fmt.Errorf("take pushes: %w", err)
	}
	all, err := pgx.CollectRows(rows, read)
	if err != nil {
		return nil, fmt.Errorf("take pushes: %w", err)
	}
	return all, nil
}

func read(row pgx.CollectableRow) (p edge.Push, err error) {
	var accepted []byte
	if err := row.Scan(&p.Account, &p.Service, &p.Node, &p.Newest, &p.Attempt, &p.Options, &p.Waiting, &accepted); err != nil {
		return p, err
	}
	if p.Options == nil || accepted == nil {
		p.Moot = true
		return p, nil
	}
	m := new(event.MessageAccepted)
	if err := proto.Unmarshal(accepted, m); err != nil {
		return p, fmt.Errorf("message of %s: %w", p.Account, err)
	}
	p.Sender, p.Body = m.GetFrom(), m.GetMessage().GetBody()
	return p, nil
}

// What came after it was taken stays, and so does what another took when the
// claim was over.
const (
	forget = `
DELETE FROM run.push p USING unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int4[]) AS u(account, service, node, newest, attempt)
WHERE p.account = u.account AND p.service = u.service AND p.node = u.node AND p."offset" <= u.newest AND p.attempts > 0 AND p.attempts <= u.attempt`
	putOff = `
UPDATE run.push p SET due_at = now() + u.after * interval '1 microsecond'
FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::int4[], $6::int8[]) AS u(account, service, node, newest, attempt, after)
WHERE p.account = u.account AND p.service = u.service AND p.node = u.node AND p."offset" <= u.newest AND p.attempts > 0 AND p.attempts <= u.attempt`
)

// Settle implements edge.Pushes.
func (s *Store) Settle(ctx context.Context, settled []edge.SettledPush) error {
	var done, again columns
	for i := range settled {
		if settled[i].Again {
			again.add(&settled[i])
		} else {
			done.add(&settled[i])
		}
	}
	b := new(pgx.Batch)
	if len(done.accounts) > 0 {
		b.Queue(forget, done.accounts, done.services, done.nodes, done.newest, done.attempts)
	}
	if len(again.accounts) > 0 {
		b.Queue(putOff, again.accounts, again.services, again.nodes, again.newest, again.attempts, again.after)
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("settle pushes: %w", err)
	}
	return nil
}

// columns are settled pushes as arrays.
type columns struct {
	accounts, services, nodes []string
	newest, after             []int64
	attempts                  []int32
}

func (c *columns) add(s *edge.SettledPush) {
	c.accounts, c.services, c.nodes = append(c.accounts, s.Account), append(c.services, s.Service), append(c.nodes, s.Node)
	c.newest, c.attempts, c.after = append(c.newest, s.Newest), append(c.attempts, int32(s.Attempt)), append(c.after, s.After.Microseconds())
}

const (
	domainOf = `substring(split_part($, '/', 1) FROM '[^@]*$')` // of a JID in its canonical form

	isEarly = `
SELECT u.n FROM unnest($1::int4[], $2::int8[]) WITH ORDINALITY AS u(partition, "offset", n)
JOIN views.projected p ON p.partition = u.partition WHERE p.next_offset <= u."offset"`
)

// What a service says itself wakes nobody through it: push.Wakes.
var add = `
INSERT INTO run.push (account, service, node, "offset", domain, due_at)
SELECT v.account, v.service, v.node, i."offset", ` + strings.ReplaceAll(domainOf, "$,", "v.service,") + `, now() + $3::bigint * interval '1 microsecond'
FROM unnest($1::text[], $2::int8[]) AS u(account, "offset")
JOIN views.push v ON v.account = u.account
JOIN views.inbox i ON i.account = u.account AND i."offset" = u."offset"
WHERE ` + strings.ReplaceAll(domainOf, "$,", "v.service,") + " <> " + strings.ReplaceAll(domainOf, "$,", "i.sender,") + `
ON CONFLICT DO NOTHING`

// Add implements edge.Pushes.
func (s *Store) Add(ctx context.Context, asleep []edge.Asleep, after time.Duration) ([]edge.Asleep, error) {
	var accounts []string
	var partitions []int32
	var offsets []int64
	for _, a := range asleep {
		accounts, partitions, offsets = append(accounts, a.Account), append(partitions, a.Partition), append(offsets, a.Offset)
	}
	var early []edge.Asleep
	b := new(pgx.Batch)
	// First what is early: what is projected between the two is added, and then
	// added again, which is once.
	b.Queue(isEarly, partitions, offsets).Query(func(rows pgx.Rows) error {
		var n int
		_, err := pgx.ForEachRow(rows, []any{&n}, func() error { early = append(early, asleep[n-1]); return nil })
		return err
	})
	b.Queue(add, accounts, offsets, after.Microseconds())
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("add pushes: %w", err)
	}
	return early, nil
}

// Expire implements edge.Pushes.
func (s *Store) Expire(ctx context.Context, older time.Duration) (int, error) {
	tag, err := s.pool.Exec(ctx, `DELETE FROM run.push WHERE created_at < now() - $1::bigint * interval '1 microsecond'`, older.Microseconds())
	if err != nil {
		return 0, fmt.Errorf("expire pushes: %w", err)
	}
	return int(tag.RowsAffected()), nil
}

// Waiting implements edge.Pushes.
func (s *Store) Waiting(ctx context.Context) (n int, err error) {
	if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM run.push`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count pushes: %w", err)
	}
	return n, nil
}
