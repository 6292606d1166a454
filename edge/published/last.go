package published

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/node"
)

type lastQuestion struct {
	viewer          jid.Bare
	accounts, nodes []string
	after           map[int32]int64 // partition -> next offset
}

// lastAnswer is behind if the projection did not have what the question needs.
type lastAnswer struct {
	items  []edge.LastItem
	behind bool
}

// LastItems implements edge.Published.
func (r *Reader) LastItems(ctx context.Context, viewer jid.Bare, accounts, nodes []string, after map[int32]int64) ([]edge.LastItem, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		got, err := r.last.Ask(ctx, lastQuestion{viewer, accounts, nodes, after})
		if err == nil && !got.behind {
			return got.items, nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = fmt.Errorf("the projection is behind: %w", ctx.Err())
			case <-time.After(pause):
				continue
			}
		}
		return nil, fmt.Errorf("last items for %s: %w", viewer, err)
	}
}

// loadLast goes from the accounts to their nodes, for most accounts have few
// of those that are wanted.
func (r *Reader) loadLast(ctx context.Context, all []lastQuestion) ([]lastAnswer, error) {
	answers := make([]lastAnswer, len(all))
	if err := r.behind(ctx, all, answers); err != nil {
		return nil, err
	}
	var ofAccount, ofNode []int64 // the question's place
	var viewers, accounts, nodes []string
	for i, q := range all {
		if answers[i].behind {
			continue
		}
		for _, a := range q.accounts {
			ofAccount, viewers, accounts = append(ofAccount, int64(i)), append(viewers, q.viewer.String()), append(accounts, a)
		}
		for _, n := range q.nodes {
			ofNode, nodes = append(ofNode, int64(i)), append(nodes, n)
		}
	}
	rows, err := r.pool.Query(ctx, `
SELECT q.place, n.account, n.node, i.id, i.version, i.at, i.payload, v.policy
FROM unnest($1::bigint[], $2::text[], $3::text[]) AS q (place, viewer, account)
JOIN views.node n ON n.account = q.account AND NOT n.no_last_item
JOIN unnest($4::bigint[], $5::text[]) AS w (place, node) ON w.place = q.place AND w.node = n.node
JOIN LATERAL (
	SELECT x.id, x.version, x.at, x.payload FROM views.node_item x WHERE x.account = n.account AND x.node = n.node
	ORDER BY x.version DESC LIMIT 1) i ON true
LEFT JOIN views.privacy v ON v.account = q.account AND q.account <> q.viewer
WHERE q.account = q.viewer
OR n.access IN (1, 2) AND EXISTS (SELECT FROM views.audience f WHERE f.account = q.account AND f.contact = q.viewer)
ORDER BY q.place, n.account, n.node`, ofAccount, viewers, accounts, ofNode, nodes)
	if err != nil {
		return nil, err
	}
	return answers, each(rows, func() error {
		var place int64
		var at time.Time
		var l edge.LastItem
		var policy []byte
		err := rows.Scan(&place, &l.Account, &l.Node, &l.Item.ID, &l.Item.Version, &at, &l.Item.Payload, &policy)
		if err != nil {
			return err
		}
		if l.Policy, err = policyOf(policy); err != nil {
			return err
		}
		l.Item.At = at.UnixMicro()
		answers[place].items = append(answers[place].items, l)
		return nil
	})
}

// behind notes which questions need more than the projection has. What is read
// after it has at least that.
func (r *Reader) behind(ctx context.Context, all []lastQuestion, answers []lastAnswer) error {
	rows, err := r.pool.Query(ctx, `SELECT partition, next_offset FROM views.projected`)
	if err != nil {
		return err
	}
	next := make(map[int32]int64)
	err = each(rows, func() error {
		var partition int32
		var at int64
		err := rows.Scan(&partition, &at)
		next[partition] = at
		return err
	})
	for i, q := range all {
		for partition, at := range q.after {
			answers[i].behind = answers[i].behind || next[partition] < at
		}
	}
	return err
}

// Missed implements edge.Published. It is asked by the one goroutine that took
// an answer of a worker, so there is nothing to gather.
func (r *Reader) Missed(ctx context.Context, partition int32, gaps []edge.NewsGap, after int64) ([]edge.LastItem, error) {
	question := []lastQuestion{{after: map[int32]int64{partition: after}}}
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		answer := make([]lastAnswer, 1)
		if err := r.behind(ctx, question, answer); err != nil {
			return nil, fmt.Errorf("missed items: %w", err)
		}
		if !answer[0].behind {
			return r.missed(ctx, gaps)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("missed items: the projection is behind: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (r *Reader) missed(ctx context.Context, gaps []edge.NewsGap) ([]edge.LastItem, error) {
	accounts, from := make([]string, len(gaps)), make([]int64, len(gaps))
	for i, g := range gaps {
		accounts[i], from[i] = g.Account, g.From
	}
	rows, err := r.pool.Query(ctx, `
SELECT n.account, n.node, n.access, i.id, i.version, i.at, i.payload
FROM unnest($1::text[], $2::bigint[]) AS q (account, "from")
JOIN views.node n ON n.account = q.account
JOIN views.node_item i ON i.account = n.account AND i.node = n.node AND i.version >= q."from"
ORDER BY i.version`, accounts, from)
	if err != nil {
		return nil, fmt.Errorf("missed items: %w", err)
	}
	var all []edge.LastItem
	err = each(rows, func() error {
		var l edge.LastItem
		var access int16
		var at time.Time
		err := rows.Scan(&l.Account, &l.Node, &access, &l.Item.ID, &l.Item.Version, &at, &l.Item.Payload)
		l.Access, l.Item.At = node.Access(access), at.UnixMicro()
		all = append(all, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("missed items: %w", err)
	}
	return all, nil
}

// Features implements edge.Published.
func (r *Reader) Features(ctx context.Context, hash, ver string) (features []string, known bool, err error) {
	rows, err := r.pool.Query(ctx, `SELECT features FROM run.capability WHERE hash = $1 AND ver = $2`, hash, ver)
	if err != nil {
		return nil, false, fmt.Errorf("capabilities: %w", err)
	}
	err = each(rows, func() error { known = true; return rows.Scan(&features) })
	if err != nil {
		return nil, false, fmt.Errorf("capabilities: %w", err)
	}
	return features, known, nil
}

// Learn implements edge.Published.
func (r *Reader) Learn(ctx context.Context, hash, ver string, features []string) error {
	_, err := r.pool.Exec(ctx, `INSERT INTO run.capability (hash, ver, features) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, hash, ver, features)
	if err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

var _ edge.Published = (*Reader)(nil)
