// Package published reads from Postgres what accounts publish and keep, when
// they were available, and what is known of their clients. Questions that come
// together go into one query.
package published

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/gather"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
)

// A Reader reads. It may be used by any goroutine.
type Reader struct {
	pool     *pgxpool.Pool
	stored   *gather.Gatherer[storedQuestion, dated[*edge.Stored]]
	node     *gather.Gatherer[nodeQuestion, dated[*edge.Node]]
	nodes    *gather.Gatherer[edge.Asked, dated[*edge.Nodes]]
	activity *gather.Gatherer[edge.Asked, dated[*edge.Activity]]
	last     *gather.Gatherer[lastQuestion, lastAnswer]
}

// Loads at a time, questions of a load, and how often a projection that is
// behind is asked again.
const (
	parallelLoads = 2
	mostQuestions = 200
	firstPause    = 3 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// New gives a Reader of the schemas views and run.
func New(pool *pgxpool.Pool) *Reader {
	r := &Reader{pool: pool}
	r.stored = gather.New(parallelLoads, mostQuestions, r.loadStored)
	r.node = gather.New(parallelLoads, mostQuestions, r.loadNode)
	r.nodes = gather.New(parallelLoads, mostQuestions, r.loadNodes)
	r.activity = gather.New(parallelLoads, mostQuestions, r.loadActivity)
	r.last = gather.New(parallelLoads, mostQuestions, r.loadLast)
	return r
}

// dated is an answer that was true at a next offset.
type dated[A any] struct {
	answer A
	next   int64
}

// await asks until the projection has passed the offset that the question
// names, or ctx ends.
func await[Q, A any](ctx context.Context, g *gather.Gatherer[Q, dated[A]], q Q, of edge.Asked) (A, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		got, err := g.Ask(ctx, q)
		if err != nil {
			return got.answer, fmt.Errorf("what %s published: %w", of.Account, err)
		}
		if got.next >= of.After {
			return got.answer, nil
		}
		select {
		case <-ctx.Done():
			return got.answer, fmt.Errorf("what %s published: the projection is at offset %d of partition %d, not %d: %w",
				of.Account, got.next, of.Partition, of.After, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// asked gives the columns of questions that are in every query, which has
// them as q, and how the accounts stand to their viewers.
func asked[Q any](questions []Q, of func(Q) edge.Asked) (accounts, viewers []string, partitions []int32) {
	for _, q := range questions {
		a := of(q)
		accounts, viewers = append(accounts, a.Account.String()), append(viewers, a.Viewer.String())
		partitions = append(partitions, a.Partition)
	}
	return accounts, viewers, partitions
}

// The beginning of every query: of each question its place, how far its
// partition is projected, and how its account stands to the viewer. The first
// three parameters are those that asked gives.
const (
	standing = `
SELECT q.place, coalesce(p.next_offset, 0), a.account IS NOT NULL,
	q.account = q.viewer OR EXISTS (SELECT FROM views.audience f WHERE f.account = q.account AND f.contact = q.viewer), v.policy`
	questions = `unnest($1::text[], $2::text[], $3::integer[]`
	joined    = `
LEFT JOIN views.projected p ON p.partition = q.partition
LEFT JOIN views.account a ON a.account = q.account
LEFT JOIN views.privacy v ON v.account = q.account`
)

// policyOf reads a policy; what is not there lets everything through.
func policyOf(raw []byte) (*event.Policy, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	p := new(event.Policy)
	if err := proto.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

type storedQuestion struct {
	edge.Asked
	space event.StorageSet_Space
	name  string
}

// Stored implements edge.Published.
func (r *Reader) Stored(ctx context.Context, q edge.Asked, space event.StorageSet_Space, name string) (*edge.Stored, error) {
	return await(ctx, r.stored, storedQuestion{q, space, name}, q)
}

func (r *Reader) loadStored(ctx context.Context, all []storedQuestion) ([]dated[*edge.Stored], error) {
	accounts, viewers, partitions := asked(all, func(q storedQuestion) edge.Asked { return q.Asked })
	spaces, names := make([]int16, len(all)), make([]string, len(all))
	for i, q := range all {
		spaces[i], names[i] = int16(q.space), q.name
	}
	rows, err := r.pool.Query(ctx, standing+`,
	s.payload, (SELECT count(*) FROM views.storage c WHERE c.account = q.account)
FROM `+questions+`, $4::smallint[], $5::text[]) WITH ORDINALITY AS q (account, viewer, partition, space, name, place)`+joined+`
LEFT JOIN views.storage s ON s.account = q.account AND s.space = q.space AND s.name = q.name`,
		accounts, viewers, partitions, spaces, names)
	if err != nil {
		return nil, err
	}
	answers := make([]dated[*edge.Stored], len(all))
	for i := range answers {
		answers[i].answer = new(edge.Stored)
	}
	return answers, each(rows, func() error {
		var place, next int64
		var v edge.Stored
		var policy []byte
		err := rows.Scan(&place, &next, &v.Exists, &v.Admitted, &policy, &v.Payload, &v.Entries)
		if err != nil {
			return err
		}
		if v.Policy, err = policyOf(policy); err != nil {
			return err
		}
		answers[place-1] = dated[*edge.Stored]{&v, next}
		return nil
	})
}

type nodeQuestion struct {
	edge.Asked
	name        string
	ids         []string
	most, bytes int
}

// Node implements edge.Published.
func (r *Reader) Node(ctx context.Context, q edge.Asked, name string, ids []string, most, bytes int) (*edge.Node, error) {
	return await(ctx, r.node, nodeQuestion{q, name, ids, most, bytes}, q)
}

// loadNode reads nodes and items in one statement, so that no item is read
// under an access that it was not published under.
func (r *Reader) loadNode(ctx context.Context, all []nodeQuestion) ([]dated[*edge.Node], error) {
	accounts, viewers, partitions := asked(all, func(q nodeQuestion) edge.Asked { return q.Asked })
	names, ids := make([]string, len(all)), make([]*string, len(all))
	most, bytes := make([]int64, len(all)), make([]int64, len(all))
	for i, q := range all {
		names[i], most[i], bytes[i] = q.name, int64(q.most), int64(q.bytes)
		if len(q.ids) > 0 {
			text, err := json.Marshal(q.ids)
			if err != nil {
				return nil, err
			}
			list := string(text)
			ids[i] = &list
		}
	}
	rows, err := r.pool.Query(ctx, standing+`,
	(SELECT count(*) FROM views.node c WHERE c.account = q.account),
	n.access, n.max_items, n.transient, n.no_last_item, n.version,
	(SELECT count(*) FROM views.node_item c WHERE c.account = n.account AND c.node = n.node),
	CASE q.most WHEN 0 THEN (SELECT coalesce(sum(octet_length(c.payload)), 0) FROM views.node_item c WHERE c.account = q.account) ELSE 0 END,
	i.id, i.version, i.at, i.payload
FROM `+questions+`, $4::text[], $5::text[], $6::bigint[], $7::bigint[]) WITH ORDINALITY
	AS q (account, viewer, partition, node, ids, most, bytes, place)`+joined+`
LEFT JOIN views.node n ON n.account = q.account AND n.node = q.node
LEFT JOIN LATERAL (
	SELECT * FROM (
		SELECT x.id, x.version, x.at, x.payload, sum(octet_length(x.payload)) OVER (ORDER BY x.version DESC) - octet_length(x.payload) AS before
		FROM views.node_item x
		WHERE x.account = n.account AND x.node = n.node AND (q.ids IS NULL OR x.id IN (SELECT jsonb_array_elements_text(q.ids::jsonb)))
		ORDER BY x.version DESC LIMIT q.most) y
	WHERE y.before < q.bytes) i ON q.most > 0
ORDER BY q.place, i.version`,
		accounts, viewers, partitions, names, ids, most, bytes)
	if err != nil {
		return nil, err
	}
	answers := make([]dated[*edge.Node], len(all))
	for i := range answers {
		answers[i].answer = new(edge.Node)
	}
	return answers, each(rows, func() error {
		var (
			place, next            int64
			v                      edge.Node
			access                 *int16
			most, version, itemVer *int64
			transient, noLast      *bool
			id                     *string
			at                     *time.Time
			payload, policy        []byte
		)
		err := rows.Scan(&place, &next, &v.Exists, &v.Admitted, &policy, &v.Nodes, &access, &most, &transient, &noLast, &version, &v.Kept, &v.Bytes, &id, &itemVer, &at, &payload)
		if err != nil {
			return err
		}
		if first := answers[place-1].answer; first.There {
			v.Items = first.Items
		}
		if access != nil {
			v.There = true
			v.Config = node.Config{Access: node.Access(*access), MaxItems: uint32(*most), Transient: *transient, NoLastItem: *noLast}
			v.Version = *version
		}
		if id != nil {
			v.Items = append(v.Items, node.Item{ID: *id, Version: *itemVer, At: at.UnixMicro(), Payload: payload})
		}
		if v.Policy, err = policyOf(policy); err != nil {
			return err
		}
		answers[place-1] = dated[*edge.Node]{&v, next}
		return nil
	})
}

// Nodes implements edge.Published.
func (r *Reader) Nodes(ctx context.Context, q edge.Asked) (*edge.Nodes, error) {
	return await(ctx, r.nodes, q, q)
}

func (r *Reader) loadNodes(ctx context.Context, all []edge.Asked) ([]dated[*edge.Nodes], error) {
	accounts, viewers, partitions := asked(all, func(q edge.Asked) edge.Asked { return q })
	rows, err := r.pool.Query(ctx, standing+`, n.node, n.access
FROM `+questions+`) WITH ORDINALITY AS q (account, viewer, partition, place)`+joined+`
LEFT JOIN views.node n ON n.account = q.account
ORDER BY q.place, n.node`, accounts, viewers, partitions)
	if err != nil {
		return nil, err
	}
	answers := make([]dated[*edge.Nodes], len(all))
	for i := range answers {
		answers[i].answer = new(edge.Nodes)
	}
	return answers, each(rows, func() error {
		var place, next int64
		var v edge.Nodes
		var policy []byte
		var name *string
		var access *int16
		err := rows.Scan(&place, &next, &v.Exists, &v.Admitted, &policy, &name, &access)
		if err != nil {
			return err
		}
		v.All = answers[place-1].answer.All
		if name != nil {
			v.All = append(v.All, edge.NamedNode{Name: *name, Access: node.Access(*access)})
		}
		if v.Policy, err = policyOf(policy); err != nil {
			return err
		}
		answers[place-1] = dated[*edge.Nodes]{&v, next}
		return nil
	})
}

// LastActivity implements edge.Published.
func (r *Reader) LastActivity(ctx context.Context, q edge.Asked) (*edge.Activity, error) {
	return await(ctx, r.activity, q, q)
}

func (r *Reader) loadActivity(ctx context.Context, all []edge.Asked) ([]dated[*edge.Activity], error) {
	accounts, viewers, partitions := asked(all, func(q edge.Asked) edge.Asked { return q })
	rows, err := r.pool.Query(ctx, standing+`,
	coalesce(a.left_at, a.created_at, 'epoch'), coalesce(a.left_status, ''),
	ARRAY(SELECT r.resource FROM views.resource r WHERE r.account = q.account AND r.available)
FROM `+questions+`) WITH ORDINALITY AS q (account, viewer, partition, place)`+joined, accounts, viewers, partitions)
	if err != nil {
		return nil, err
	}
	answers := make([]dated[*edge.Activity], len(all))
	for i := range answers {
		answers[i].answer = new(edge.Activity)
	}
	return answers, each(rows, func() error {
		var place, next int64
		var v edge.Activity
		var policy []byte
		err := rows.Scan(&place, &next, &v.Exists, &v.Admitted, &policy, &v.Since, &v.Status, &v.Online)
		if err != nil {
			return err
		}
		if v.Policy, err = policyOf(policy); err != nil {
			return err
		}
		answers[place-1] = dated[*edge.Activity]{&v, next}
		return nil
	})
}

// each calls scan for every row.
func each(rows pgx.Rows, scan func() error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}
