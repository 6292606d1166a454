package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/watch"
)

// A checkpoint is the fold of a partition as it stood once, kept in
// run.feed_checkpoint. Every process writes them, unless another has just
// done so: whichever a stream goes on from, what follows is the same.
type checkpoint struct {
	partition int32
	next      int64
	state     []byte
}

// firstCheckpoint saves fold, which was just loaded, before any stream asks where
// changes can be told from.
func (h *Hub) firstCheckpoint(ctx context.Context, fold *watch.Partition) {
	state, err := fold.MarshalBinary()
	if err != nil {
		h.options.Logger.Error("checkpoint not made", "partition", fold.Number, "err", err)
		return
	}
	h.write(ctx, checkpoint{fold.Number, fold.Next, state})
}

// checkpoint has the fold of p saved if it is time. What cannot be saved now,
// because the last is still being saved, is saved with the next batch. The
// caller holds mu.
func (h *Hub) checkpoint(p *partition) {
	if p.fold.Next-p.saved < h.options.CheckpointEvery || len(h.save) == cap(h.save) {
		return
	}
	state, err := p.fold.MarshalBinary()
	if err != nil {
		h.options.Logger.Error("checkpoint not made", "partition", p.fold.Number, "err", err)
		return
	}
	select {
	case h.save <- checkpoint{p.fold.Number, p.fold.Next, state}:
		p.saved = p.fold.Next
	default:
	}
}

// saves writes checkpoints until ctx ends.
func (h *Hub) saves(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-h.save:
			h.write(ctx, c)
		}
	}
}

// write keeps c. One that is not written only makes streams fold more.
func (h *Hub) write(ctx context.Context, c checkpoint) {
	timed, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := h.keep(timed, c); err != nil && ctx.Err() == nil {
		h.options.Logger.Warn("checkpoint not saved", "partition", c.partition, "nextOffset", c.next, "err", err)
	}
}

// keep writes c, unless there is one not much older, and forgets old ones.
func (h *Hub) keep(ctx context.Context, c checkpoint) error {
	tag, err := h.options.Postgres.Exec(ctx, `INSERT INTO run.feed_checkpoint (partition, next_offset, state)
SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT FROM run.feed_checkpoint WHERE partition = $1 AND next_offset > $4 AND next_offset <= $2)
ON CONFLICT DO NOTHING`, c.partition, c.next, c.state, c.next-max(1, h.options.CheckpointEvery/2))
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	rows, err := h.options.Postgres.Query(ctx, `SELECT next_offset FROM run.feed_checkpoint WHERE partition = $1 ORDER BY next_offset DESC`, c.partition)
	if err != nil {
		return err
	}
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	starts, err := h.options.Offsets.Starts(ctx, topic.Account)
	if err != nil {
		return err
	}
	if gone := superfluous(there, starts[c.partition]); len(gone) > 0 {
		_, err = h.options.Postgres.Exec(ctx, `DELETE FROM run.feed_checkpoint WHERE partition = $1 AND next_offset = ANY($2)`, c.partition, gone)
	}
	return err
}

// keepNewest is how many checkpoints are kept whatever their distance.
const keepNewest = 8

// superfluous gives which checkpoints, the newest first, may go: those from
// which the log cannot be read on, and of older ones so many that how far one
// is from the next grows with its age, by a quarter each.
func superfluous(there []int64, first int64) (gone []int64) {
	last := int64(0)
	for i, next := range there {
		age := there[0] - next
		switch {
		case next < first:
			gone = append(gone, next)
		case i < keepNewest, age >= last+last/4, i+1 == len(there) || there[i+1] < first:
			last = age
		default:
			gone = append(gone, next)
		}
	}
	return gone
}

// checkpoints gives for each partition its fold as of the newest checkpoint
// that is not after an offset, if the log can be read from there on.
func (h *Hub) checkpoints(ctx context.Context, offsets map[int32]int64) (map[int32]*watch.Partition, error) {
	starts, err := h.options.Offsets.Starts(ctx, topic.Account)
	if err != nil {
		return nil, fmt.Errorf("find the start of the log: %w", err)
	}
	folds := make(map[int32]*watch.Partition, len(offsets))
	for n, offset := range offsets {
		fold, err := h.before(ctx, n, offset)
		if err != nil {
			return nil, err
		}
		if fold == nil || fold.Next < starts[n] {
			first, err := h.first(ctx, n, starts[n])
			if err != nil {
				return nil, err
			}
			return nil, &TooOldError{Partition: n, Asked: offset - 1, First: first}
		}
		folds[n] = fold
	}
	return folds, nil
}

// before gives the fold as of the newest checkpoint that is not after offset,
// or the empty one as of the beginning of the log.
func (h *Hub) before(ctx context.Context, n int32, offset int64) (*watch.Partition, error) {
	var state []byte
	err := h.options.Postgres.QueryRow(ctx, `SELECT state FROM run.feed_checkpoint WHERE partition = $1 AND next_offset <= $2
ORDER BY next_offset DESC LIMIT 1`, n, offset).Scan(&state)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return watch.New(n, h.options.Partitions), nil
	case err != nil:
		return nil, fmt.Errorf("find a checkpoint of partition %d before %d: %w", n, offset, err)
	}
	fold, err := watch.Read(state)
	if err != nil { // of another version of the fold, most likely
		h.options.Logger.Warn("checkpoint not used", "partition", n, "err", err)
		return watch.New(n, h.options.Partitions), nil
	}
	return fold, nil
}

// first gives the first offset from which on changes can be told: of the oldest
// checkpoint, or, where none could be saved, of the present.
func (h *Hub) first(ctx context.Context, n int32, start int64) (int64, error) {
	var first *int64
	err := h.options.Postgres.QueryRow(ctx, `SELECT min(next_offset) FROM run.feed_checkpoint WHERE partition = $1 AND next_offset >= $2`,
		n, start).Scan(&first)
	if err != nil {
		return 0, fmt.Errorf("find the oldest checkpoint of partition %d: %w", n, err)
	}
	if first != nil {
		return *first, nil
	}
	p := h.partitions[n]
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fold.Next, nil
}
