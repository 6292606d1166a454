// Package sessions reads from the projection in Postgres what an edge needs to
// resume a session that another edge held (XEP-0198).
package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// Offsets tells where a topic ends.
type Offsets interface {
	// Ends gives the next offset of each partition.
	Ends(ctx context.Context, topic string) (map[int32]int64, error)
}

// A Reader reads sessions. It may be used by any goroutine.
type Reader struct {
	pool    *pgxpool.Pool
	offsets Offsets
}

// How often a projection that is behind is asked again.
const (
	firstPause   = 3 * time.Millisecond
	longestPause = 100 * time.Millisecond
)

// New gives a Reader of the schema views.
func New(pool *pgxpool.Pool, offsets Offsets) *Reader { return &Reader{pool, offsets} }

// Settled implements edge.Sessions: every partition is folded up to its end,
// what the fold caused is in the log, and that is folded in the partition too.
func (r *Reader) Settled(ctx context.Context, partition int32) error {
	ends, err := r.offsets.Ends(ctx, topic.Account)
	if err != nil {
		return fmt.Errorf("sessions: ends of the log: %w", err)
	}
	if err := r.until(ctx, "its reactions", func() (bool, error) { return r.folded(ctx, ends, true) }); err != nil {
		return err
	}
	if ends, err = r.offsets.Ends(ctx, topic.Account); err != nil {
		return fmt.Errorf("sessions: ends of the log: %w", err)
	}
	own := map[int32]int64{partition: ends[partition]}
	return r.until(ctx, "its own partition", func() (bool, error) { return r.folded(ctx, own, false) })
}

// folded tells whether the projection has passed these ends, and, if it is
// asked for, whether what was caused below them is published.
func (r *Reader) folded(ctx context.Context, ends map[int32]int64, published bool) (bool, error) {
	partitions, offsets := make([]int32, 0, len(ends)), make([]int64, 0, len(ends))
	for p, end := range ends {
		partitions, offsets = append(partitions, p), append(offsets, end)
	}
	var behind bool
	err := r.pool.QueryRow(ctx, `
WITH wanted AS (SELECT * FROM unnest($1::int4[], $2::int8[]) AS u (partition, "end"))
SELECT EXISTS (SELECT FROM wanted w LEFT JOIN views.projected p USING (partition) WHERE coalesce(p.next_offset, 0) < w."end")
	OR $3 AND EXISTS (SELECT FROM wanted w JOIN run.reaction r USING (partition) WHERE r."offset" < w."end")`,
		partitions, offsets, published).Scan(&behind)
	return !behind, err
}

// until asks until it is so.
func (r *Reader) until(ctx context.Context, what string, so func() (bool, error)) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		ok, err := so()
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sessions: the projection has not come to %s: %w", what, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// Session implements edge.Sessions.
func (r *Reader) Session(ctx context.Context, account jid.Bare, partition int32, resource string, began uuid.UUID, after int64) (*edge.Session, error) {
	var found *edge.Session
	err := r.until(ctx, fmt.Sprintf("offset %d of partition %d", after, partition), func() (bool, error) {
		var next int64
		var err error
		found, next, err = r.session(ctx, account, partition, resource, began)
		return next >= after, err
	})
	if err != nil {
		return nil, fmt.Errorf("session of %s: %w", account, err)
	}
	return found, nil
}

// session reads offset and session in one statement, so as of one moment.
func (r *Reader) session(ctx context.Context, account jid.Bare, partition int32, resource string, began uuid.UUID) (*edge.Session, int64, error) {
	var (
		next           int64
		binding        *[16]byte
		s              edge.Session
		at, handled    *int64
		available      *bool
		copies         *bool
		show           *string
		status         *string
		priority       *int16
		payload, ended []byte
		lang, stanza   *string
	)
	err := r.pool.QueryRow(ctx, `
SELECT coalesce(p.next_offset, 0), coalesce(r.binding, e.binding), coalesce(r.began_offset, e.began_offset), coalesce(r.handled, e.handled),
	coalesce(r.copies, e.copies), r.available OR r.inherited, r.show, r.status, r.priority, r.payload, r.lang, r.stanza_id, e.presence
FROM (SELECT) one
LEFT JOIN views.projected p ON p.partition = $1
LEFT JOIN views.resource r ON r.account = $2 AND r.resource = $3 AND r.session = $4
LEFT JOIN views.ended e ON e.account = $2 AND e.resource = $3 AND e.session = $4
	AND NOT EXISTS (SELECT FROM views.resource o WHERE o.account = $2 AND o.resource = $3)
ORDER BY e.ended_offset DESC LIMIT 1`, partition, account.String(), resource, [16]byte(began)).
		Scan(&next, &binding, &at, &handled, &copies, &available, &show, &status, &priority, &payload, &lang, &stanza, &ended)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && binding == nil {
		return nil, next, nil
	}
	if err != nil {
		return nil, 0, err
	}
	s.Over = available == nil
	s.Binding, s.Began, s.Handled, s.Copies = *binding, *at, *handled, *copies
	switch {
	case available != nil && *available:
		s.Presence = &event.Presence{Show: *show, Status: *status, Priority: int32(*priority), Payload: payload, Lang: *lang, Id: *stanza}
	case ended != nil:
		s.Presence = new(event.Presence)
		if err := proto.Unmarshal(ended, s.Presence); err != nil {
			return nil, 0, fmt.Errorf("presence as it was: %w", err)
		}
	}
	return &s, next, nil
}
