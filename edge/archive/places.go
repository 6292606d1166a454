package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/gather"
	"github.com/rollcall/rollcall/schema/awaited"
	"github.com/rollcall/rollcall/schema/topic"
)

// How often positions that are behind are read again.
const (
	firstPause   = 3 * time.Millisecond
	longestPause = 50 * time.Millisecond
)

// slowTime is how long an answer waits before it is asked whether ClickHouse
// lives at all.
const slowTime = 500 * time.Millisecond

// errBehind means that the archive did not come to what it must have in time.
var errBehind = errors.New("the archive is behind the log")

// place is how far a partition has come; 0 where nothing is known.
type place struct {
	folded int64 // all below is folded, and what the fold caused is in the log
	copied int64 // all below is in the chat log
}

// copiedTo is what somebody waits for: that all below is in the chat log.
type copiedTo struct {
	partition int32
	offset    int64
}

// places waits for positions.
type places struct {
	ends *gather.Gatherer[struct{}, map[int32]int64]
	now  *gather.Gatherer[struct{}, map[int32]place]
	tell *gather.Gatherer[copiedTo, struct{}]
	slow func(context.Context) error // called once in a wait that is long; may be nil

	mu    sync.Mutex
	known map[int32]int64 // all below was settled already, by partition
}

func newPlaces(pool *pgxpool.Pool, offsets Offsets) *places {
	return &places{
		ends: gather.New(1, 1<<20, func(ctx context.Context, asked []struct{}) ([]map[int32]int64, error) {
			ends, err := offsets.Ends(ctx, topic.Account)
			if err != nil {
				return nil, fmt.Errorf("ends of the log: %w", err)
			}
			return same(len(asked), ends), nil
		}),
		now: gather.New(1, 1<<20, func(ctx context.Context, asked []struct{}) ([]map[int32]place, error) {
			all, err := readPlaces(ctx, pool)
			if err != nil {
				return nil, fmt.Errorf("positions: %w", err)
			}
			return same(len(asked), all), nil
		}),
		tell: gather.New(1, 1<<20, func(ctx context.Context, asked []copiedTo) ([]struct{}, error) {
			until := make(map[int32]int64)
			for _, c := range asked {
				until[c.partition] = max(until[c.partition], c.offset)
			}
			return make([]struct{}, len(asked)), awaited.Tell(ctx, pool, until)
		}),
		known: make(map[int32]int64),
	}
}

func same[A any](n int, a A) []A {
	all := make([]A, n)
	for i := range all {
		all[i] = a
	}
	return all
}

// folded waits until what the asker wrote is folded, and what that caused is
// in the log.
func (p *places) folded(ctx context.Context, o edge.ArchiveOwner) error {
	wrote := make(map[int32]int64, len(o.Wrote))
	for partition, offset := range o.Wrote {
		wrote[partition] = offset + 1
	}
	return p.until(ctx, wrote, folded)
}

const selectPlaces = `SELECT partition, least(p.next_offset, r.first), coalesce(h.next_offset, 0)
FROM views.projected p
LEFT JOIN run.history h USING (partition)
LEFT JOIN LATERAL (SELECT "offset" AS first FROM run.reaction WHERE partition = p.partition ORDER BY "offset" LIMIT 1) r ON true`

func readPlaces(ctx context.Context, pool *pgxpool.Pool) (map[int32]place, error) {
	rows, err := pool.Query(ctx, selectPlaces)
	if err != nil {
		return nil, err
	}
	all := make(map[int32]place)
	var partition int32
	var p place
	_, err = pgx.ForEachRow(rows, []any{&partition, &p.folded, &p.copied}, func() error {
		all[partition] = p
		return nil
	})
	return all, err
}

// settled waits until what the owner's archive must have is in the chat log, and
// gives an offset below which no record of it is missing, nor any that tells
// what is withheld. An answer that has nothing at or above bound may need no
// wait.
func (p *places) settled(ctx context.Context, o edge.ArchiveOwner, bound int64) (int64, error) {
	p.mu.Lock()
	known := p.known[o.Partition]
	p.mu.Unlock()
	if bound <= known {
		return known, nil
	}
	// What the asker wrote elsewhere has its other half in the owner's history
	// once it is folded; what is there then is withheld or not once that is
	// folded; and what tells so is before the end as it is then.
	if err := p.folded(ctx, o); err != nil {
		return 0, err
	}
	end, err := p.end(ctx, o.Partition)
	if err == nil {
		err = p.until(ctx, map[int32]int64{o.Partition: end}, folded)
	}
	if err != nil {
		return 0, err
	}
	last, err := p.end(ctx, o.Partition)
	if err == nil {
		err = p.untilCopied(ctx, o.Partition, last)
	}
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	p.known[o.Partition] = max(p.known[o.Partition], end)
	p.mu.Unlock()
	return end, nil
}

func folded(p place) int64 { return p.folded }
func copied(p place) int64 { return p.copied }

func (p *places) end(ctx context.Context, partition int32) (int64, error) {
	ends, err := p.ends.Ask(ctx, struct{}{})
	if err != nil {
		return 0, err
	}
	return ends[partition], nil
}

// untilCopied waits until a partition is copied up to an offset. The writer of
// history would let records linger that nobody waits for.
func (p *places) untilCopied(ctx context.Context, partition int32, offset int64) error {
	now, err := p.now.Ask(ctx, struct{}{})
	if err != nil {
		return err
	}
	if now[partition].copied >= offset {
		return nil
	}
	if _, err := p.tell.Ask(ctx, copiedTo{partition, offset}); err != nil {
		return fmt.Errorf("tell what is waited for: %w", err)
	}
	return p.until(ctx, map[int32]int64{partition: offset}, copied)
}

// until waits until partitions have come to these offsets.
func (p *places) until(ctx context.Context, wanted map[int32]int64, how func(place) int64) error {
	began, asked := time.Now(), p.slow == nil
	for pause := firstPause; len(wanted) > 0; pause = min(2*pause, longestPause) {
		now, err := p.now.Ask(ctx, struct{}{})
		if err != nil {
			return err
		}
		behind := false
		for partition, offset := range wanted {
			behind = behind || how(now[partition]) < offset
		}
		if !behind {
			return nil
		}
		if !asked && time.Since(began) > slowTime {
			asked = true
			if err := p.slow(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errBehind, ctx.Err())
		case <-time.After(pause):
		}
	}
	return nil
}
