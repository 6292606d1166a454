package rosters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Privacy gives what the account has set of what it lets through, once
// everything of its partition below the offset after is in it, or ctx's error;
// nil if nothing.
func (r *Reader) Privacy(ctx context.Context, account jid.Bare, partition int32, after int64) (*event.Privacy, error) {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		var next int64
		var state []byte
		err := r.pool.QueryRow(ctx, `
SELECT p.next_offset, v.state FROM views.projected p
LEFT JOIN views.privacy v ON v.account = $1
WHERE p.partition = $2`, account.String(), partition).Scan(&next, &state)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("privacy of %s: %w", account, err)
		}
		if next >= after {
			if state == nil {
				return nil, nil
			}
			p := new(event.Privacy)
			if err := proto.Unmarshal(state, p); err != nil {
				return nil, fmt.Errorf("privacy of %s: %w", account, err)
			}
			return p, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("privacy of %s: the projection is at offset %d of partition %d, not %d: %w", account, next, partition, after, ctx.Err())
		case <-time.After(pause):
		}
	}
}
