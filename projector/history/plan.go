package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/schema/postgres"
)

// errFenced tells that a partition does not stand where this writer thought:
// another one went on with it. Forget what is in memory and load it again.
var errFenced = errors.New("history: partition moved by another writer")

// A span is the part of a block that comes from one partition.
type span struct {
	partition   int32
	first, next int64  // first < next; next is the first offset after it
	marks       []byte // account.Marks as of next; not in the plan
	sessions    []byte // as of next, if they are to be kept; not in the plan
}

// A plan says which records a block has: those of its spans and no others. Its
// id makes the tokens of its INSERTs.
type plan struct {
	id    uuid.UUID
	spans []span // by partition
}

// A standing tells how far a partition is copied.
type standing struct {
	next  int64
	marks []byte    // as of next
	block uuid.UUID // planned and not passed; zero if none

	sessions []byte // as of kept
	kept     int64  // <= spanned
	spanned  int64  // presence_span has what turns below it; <= next
}

// plans keeps positions and plans in Postgres (run.history, run.history_block).
type plans struct{ pool *pgxpool.Pool }

const readStandings = `SELECT h.partition, h.next_offset, h.marks, b.block, h.sessions, h.sessions_offset, h.spans_offset
FROM run.history h LEFT JOIN run.history_block b ON b.partition = h.partition WHERE h.partition = ANY ($1)`

// read gives how far each of the partitions is copied; one that was never
// begun is not in the answer.
func (p plans) read(ctx context.Context, partitions []int32) (map[int32]standing, error) {
	rows, err := p.pool.Query(ctx, readStandings, partitions)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	standings := make(map[int32]standing, len(partitions))
	var (
		partition int32
		s         standing
		block     *uuid.UUID
	)
	_, err = pgx.ForEachRow(rows, []any{&partition, &s.next, &s.marks, &block, &s.sessions, &s.kept, &s.spanned}, func() error {
		at := s
		if at.block = (uuid.UUID{}); block != nil {
			at.block = *block
		}
		at.marks, at.sessions = bytes.Clone(s.marks), bytes.Clone(s.sessions)
		standings[partition] = at
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", err)
	}
	return standings, nil
}

// begin makes partitions stand at these offsets, unless they stand somewhere already.
func (p plans) begin(ctx context.Context, at map[int32]int64) error {
	var partitions []int32
	var nexts []int64
	for partition, next := range at {
		partitions, nexts = append(partitions, partition), append(nexts, next)
	}
	_, err := p.pool.Exec(ctx, `INSERT INTO run.history (partition, next_offset)
SELECT * FROM unnest($1::int4[], $2::int8[]) ON CONFLICT DO NOTHING`, partitions, nexts)
	if err != nil {
		return fmt.Errorf("begin partitions: %w", err)
	}
	return nil
}

// block gives the plan of that id; without spans if it is passed.
func (p plans) block(ctx context.Context, id uuid.UUID) (plan, error) {
	rows, err := p.pool.Query(ctx, `SELECT partition, first_offset, next_offset FROM run.history_block
WHERE block = $1 ORDER BY partition`, id)
	b := plan{id: id}
	if err == nil {
		b.spans, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s span, err error) {
			err = row.Scan(&s.partition, &s.first, &s.next)
			return s, err
		})
	}
	if err != nil {
		return b, fmt.Errorf("read block %s: %w", id, err)
	}
	return b, nil
}

const holdStandings = `WITH held AS (
	SELECT 1 FROM run.history h JOIN unnest($1::int4[], $2::int8[]) AS u(partition, first)
		ON h.partition = u.partition AND h.next_offset = u.first ORDER BY h.partition FOR UPDATE OF h)
SELECT set_config('synchronous_commit', 'on', true), run.fence((SELECT count(*) FROM held) = cardinality($1::int4[]))`

const addBlock = `INSERT INTO run.history_block (partition, block, first_offset, next_offset)
SELECT u.partition, $1, u.first, u.next FROM unnest($2::int4[], $3::int8[], $4::int8[]) AS u(partition, first, next)`

// add commits b, and on disk: after this the block may be in ClickHouse,
// whatever happens to Postgres or to us. It returns errFenced if a partition
// does not stand at the first offset of its span or is in another block. After
// any other error the outcome is unknown: open the partitions again.
func (p plans) add(ctx context.Context, b plan) error {
	partitions, firsts, nexts, _, _ := columns(b.spans)
	batch := new(pgx.Batch)
	batch.Queue(holdStandings, partitions, firsts)
	batch.Queue(addBlock, b.id, partitions, firsts, nexts)
	return fenced(p.pool.SendBatch(ctx, batch).Close(), "plan a block")
}

// The commit is not flushed: if a crash of Postgres takes it back, the block
// goes again under its token and changes nothing. Whatever is planned after it
// is flushed, and this with it.
const passStandings = `WITH moved AS (
	UPDATE run.history h SET next_offset = u.next, marks = u.marks, updated_at = now(), spans_offset = u.next,
		sessions = coalesce(u.sessions, h.sessions), sessions_offset = CASE WHEN u.sessions IS NULL THEN h.sessions_offset ELSE u.next END
	FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[], $5::bytea[]) AS u(partition, first, next, marks, sessions)
	WHERE h.partition = u.partition AND h.next_offset = u.first RETURNING 1)
SELECT set_config('synchronous_commit', 'off', true), run.fence((SELECT count(*) FROM moved) = cardinality($1::int4[]))`

const dropBlock = `WITH gone AS (DELETE FROM run.history_block WHERE block = $1 RETURNING 1)
SELECT run.fence((SELECT count(*) FROM gone) = $2)`

// pass moves the partitions of b behind it: it is in ClickHouse. Its errors
// are those of add.
func (p plans) pass(ctx context.Context, b plan) error {
	partitions, firsts, nexts, marks, sessions := columns(b.spans)
	batch := new(pgx.Batch)
	batch.Queue(passStandings, partitions, firsts, nexts, marks, sessions)
	batch.Queue(dropBlock, b.id, len(b.spans))
	return fenced(p.pool.SendBatch(ctx, batch).Close(), "pass a block")
}

// spanned notes that presence_span has what turns in a partition from one offset
// to another, and the sessions behind that. Its errors are those of add.
func (p plans) spanned(ctx context.Context, partition int32, from, to int64, sessions []byte) error {
	done, err := p.pool.Exec(ctx, `UPDATE run.history SET sessions = $4, sessions_offset = $3, spans_offset = $3
WHERE partition = $1 AND spans_offset = $2 AND next_offset >= $3`, partition, from, to, sessions)
	if err == nil && done.RowsAffected() == 0 {
		return errFenced
	}
	return fenced(err, "note spans")
}

// fenced tells a fence from other errors.
func fenced(err error, what string) error {
	state := (*pgconn.PgError)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &state) && (state.Code == postgres.FencedState || state.Code == uniqueViolation):
		return errFenced
	}
	return fmt.Errorf("%s: %w", what, err)
}

// uniqueViolation is the SQLSTATE when a partition is in another block.
const uniqueViolation = "23505"

func columns(spans []span) (partitions []int32, firsts, nexts []int64, marks, sessions [][]byte) {
	for _, s := range spans {
		partitions = append(partitions, s.partition)
		firsts = append(firsts, s.first)
		nexts = append(nexts, s.next)
		marks = append(marks, s.marks)
		sessions = append(sessions, s.sessions)
	}
	return partitions, firsts, nexts, marks, sessions
}

// Positions gives, for each partition that was ever copied, the first offset
// that may not be in the archive yet: everything below it is.
func Positions(ctx context.Context, pool *pgxpool.Pool) (map[int32]int64, error) {
	rows, err := pool.Query(ctx, `SELECT partition, next_offset FROM run.history`)
	positions := make(map[int32]int64)
	if err == nil {
		var partition int32
		var next int64
		_, err = pgx.ForEachRow(rows, []any{&partition, &next}, func() error {
			positions[partition] = next
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("archive positions: %w", err)
	}
	return positions, nil
}
