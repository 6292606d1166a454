// Package rosters reads rosters from the projection in Postgres, those of many
// accounts in one query.
package rosters

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/gather"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/subscription"
)

// A Reader reads rosters. It may be used by any goroutine.
type Reader struct {
	pool   *pgxpool.Pool
	gather *gather.Gatherer[question, *edge.Roster]
}

type question struct {
	account   string
	partition int32
}

// Loads at a time, accounts of a load, and how often a projection that is
// behind is asked again.
const (
	parallelLoads = 2
	mostAccounts  = 500
	firstPause    = 3 * time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// New gives a Reader of the schema views.
func New(pool *pgxpool.Pool) *Reader {
	r := &Reader{pool: pool}
	r.gather = gather.New(parallelLoads, mostAccounts, r.load)
	return r
}

// Roster gives the roster of the account once everything of its partition
// below the offset after is in it, or ctx's error. An account without a roster
// has an empty one.
func (r *Reader) Roster(ctx context.Context, account jid.Bare, partition int32, after int64) (*edge.Roster, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		roster, err := r.gather.Ask(ctx, question{account.String(), partition})
		if err != nil {
			return nil, fmt.Errorf("roster of %s: %w", account, err)
		}
		if roster.NextOffset >= after {
			return roster, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("roster of %s: the projection is at offset %d of partition %d, not %d: %w",
				account, roster.NextOffset, partition, after, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// load reads offsets and items in one statement, so as of one moment: a row for
// each account, and one for each item.
func (r *Reader) load(ctx context.Context, questions []question) ([]*edge.Roster, error) {
	accounts := make([]string, len(questions))
	partitions := make([]int32, len(questions))
	rosters := make([]*edge.Roster, len(questions))
	for i, q := range questions {
		accounts[i], partitions[i], rosters[i] = q.account, q.partition, &edge.Roster{}
	}
	rows, err := r.pool.Query(ctx, `
WITH q AS MATERIALIZED (SELECT account, partition, place FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS q (account, partition, place))
SELECT q.place, coalesce(p.next_offset, 0), coalesce(a.created_offset, 0), coalesce((extract(epoch FROM a.created_at) * 1000000)::bigint, 0), coalesce(g.version, 0),
	(SELECT count(*) FROM views.resource r WHERE r.account = q.account),
	NULL::text, NULL::text, NULL::text[], NULL::smallint, NULL::bigint, NULL::boolean, NULL::bytea
FROM q
LEFT JOIN views.projected p ON p.partition = q.partition
LEFT JOIN views.account a ON a.account = q.account
LEFT JOIN run.roster_purged g ON g.account = q.account
UNION ALL
SELECT q.place, NULL, NULL, NULL, NULL, NULL, i.contact, i.name, i.groups, i.state, i.version, i.removed, i.request
FROM q JOIN views.roster_item i ON i.account = q.account`, accounts, partitions)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			place         int64
			head          [5]*int64 // of an account's own row
			contact, name *string
			groups        []string
			state         *int16
			version       *int64
			removed       *bool
			request       []byte
		)
		if err := rows.Scan(&place, &head[0], &head[1], &head[2], &head[3], &head[4], &contact, &name, &groups, &state, &version, &removed, &request); err != nil {
			return nil, err
		}
		roster := rosters[place-1]
		if contact == nil {
			roster.NextOffset, roster.Created, roster.CreatedAt, roster.Purged, roster.Resources = *head[0], *head[1], *head[2], *head[3], int(*head[4])
			continue
		}
		item, err := item(*contact, *name, groups, subscription.State(*state), *removed, request)
		if err != nil {
			return nil, fmt.Errorf("item %s of %s: %w", *contact, accounts[place-1], err)
		}
		item.Version = *version
		roster.Items = append(roster.Items, item)
	}
	return rosters, rows.Err()
}

func item(contact, name string, groups []string, state subscription.State, removed bool, request []byte) (edge.RosterItem, error) {
	item := edge.RosterItem{RosterItem: &event.RosterItem{
		Contact: contact, Name: name, Groups: groups,
		To: state&subscription.To != 0, From: state&subscription.From != 0,
		PendingOut: state&subscription.PendingOut != 0, PendingIn: state&subscription.PendingIn != 0,
		Approved: state&subscription.Approved != 0,
		Removed:  removed,
	}}
	if state&subscription.PendingIn != 0 {
		item.Request = new(event.Presence)
		if err := proto.Unmarshal(request, item.Request); err != nil {
			return item, fmt.Errorf("request: %w", err)
		}
	}
	return item, nil
}
