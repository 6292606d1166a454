package fanout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall/rollcall/schema/jid"
)

// queryTime is the longest that a question to Postgres may take.
const queryTime = 30 * time.Second

// checker asks Postgres who may see whom, for all partitions and edges
// together: what waits goes in one query.
type checker struct {
	options *Options

	mu      sync.Mutex
	waiting []check
	wake    chan struct{}
}

type check struct {
	partition *partition
	asked     *asked
}

func newChecker(o *Options) *checker {
	return &checker{options: o, wake: make(chan struct{}, 1)}
}

// ask has the pairs of an interest checked; the partition is told by checked.
// It does not wait.
func (c *checker) ask(p *partition, a *asked) {
	c.mu.Lock()
	c.waiting = append(c.waiting, check{p, a})
	c.mu.Unlock()
	c.signal()
}

func (c *checker) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// some gives checks of about as many pairs as one query takes.
func (c *checker) some() []check {
	c.mu.Lock()
	defer c.mu.Unlock()
	pairs, n := 0, 0
	for n < len(c.waiting) && (n == 0 || pairs+len(c.waiting[n].asked.pairs) <= c.options.PairsPerQuery) {
		pairs += len(c.waiting[n].asked.pairs)
		n++
	}
	taken := c.waiting[:n:n]
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	} else {
		c.signal() // for another query at the same time
	}
	return taken
}

// run checks until ctx ends. Several may run.
func (c *checker) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for checks := c.some(); len(checks) > 0; checks = c.some() {
			for {
				err := c.query(ctx, checks)
				if err == nil {
					break
				}
				if ctx.Err() != nil {
					return
				}
				c.options.Logger.Warn("admissions not checked", "err", err)
				if !sleep(ctx, c.options.RetryEvery) {
					return
				}
			}
			for _, k := range checks {
				k.partition.post(func() { k.partition.checked(k.asked) })
			}
		}
	}
}

// query fills in the checks, as of one snapshot: who is in the audience of
// whom and, of an iq's sender, whether the addressed resource directed
// presence to it.
func (c *checker) query(ctx context.Context, checks []check) error {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var numbers []int32
	var accounts, followers []string
	var at []int64 // of iqs among the pairs, from 1
	var resources, senders []string
	for _, k := range checks {
		numbers = append(numbers, k.partition.number)
		for _, of := range k.asked.pairs {
			accounts, followers = append(accounts, of.account), append(followers, of.follower)
		}
		if iq := k.asked.iq; iq != nil {
			at = append(at, int64(len(accounts)))
			resources = append(resources, jid.FromCanonical(iq.GetTo()).Resource())
			senders = append(senders, iq.GetFrom())
		}
	}
	var known []int32
	var next, admitted []int64
	err := c.options.Postgres.QueryRow(ctx, `
		SELECT
			coalesce((SELECT array_agg(partition ORDER BY partition) FROM views.projected WHERE partition = ANY($1)), '{}'),
			coalesce((SELECT array_agg(next_offset ORDER BY partition) FROM views.projected WHERE partition = ANY($1)), '{}'),
			ARRAY(
				SELECT q.n FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS q (account, contact, n)
				JOIN views.audience a ON a.account = q.account AND a.contact = q.contact
				UNION ALL
				SELECT -q.n FROM unnest($4::bigint[], $5::text[], $6::text[]) AS q (n, resource, sender)
				JOIN views.directed d ON d.account = ($2::text[])[q.n] AND d.resource = q.resource
				AND d.target IN (q.sender, ($3::text[])[q.n]))`,
		numbers, accounts, followers, at, resources, senders).Scan(&known, &next, &admitted)
	if err != nil {
		return fmt.Errorf("check admissions: %w", err)
	}
	snapshots := make(map[int32]int64, len(known))
	for i, n := range known {
		snapshots[n] = next[i]
	}
	yes, directed := make([]bool, len(accounts)), make([]bool, len(accounts))
	for _, n := range admitted {
		if n > 0 {
			yes[n-1] = true
		} else {
			directed[-n-1] = true
		}
	}
	for _, k := range checks {
		n := len(k.asked.pairs)
		k.asked.admitted, k.asked.snapshot = yes[:n:n], max(snapshots[k.partition.number], 0)
		k.asked.directed = k.asked.iq != nil && directed[0]
		yes, directed = yes[n:], directed[n:]
	}
	return nil
}

// watchProjection tells the partitions how far they are projected, so that
// they forget old revocations.
func (w *Worker) watchProjection(ctx context.Context) {
	for sleep(ctx, w.options.ProjectedEvery) {
		next, err := projectedNext(ctx, w.options.Postgres)
		if err != nil {
			continue // it is asked again
		}
		for n, p := range w.partitions() {
			p.post(func() { p.projected(next[n]) })
		}
	}
}
