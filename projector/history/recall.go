package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// A stretch is a part of a partition.
type stretch struct {
	partition int32
	from, to  int64
}

// errArchive tells that the archive does not answer: then a partition cannot be
// opened.
var errArchive = errors.New("history: the archive does not answer")

// recall brings the sessions of judges to where their partitions stand. What
// Postgres keeps of them is some records old: the archive tells the rest. What
// an earlier version copied, without spans, it makes spans of.
func (s *serving) recall(ctx context.Context, standings map[int32]standing) error {
	var known, missing []stretch
	for partition, at := range standings {
		j := s.judges[partition]
		if err := j.sessions.UnmarshalBinary(at.sessions); err != nil {
			return fmt.Errorf("partition %d: %w", partition, err)
		}
		j.kept = at.kept
		if at.kept < at.spanned {
			known = append(known, stretch{partition, at.kept, at.spanned})
		}
		if at.spanned < at.next {
			missing = append(missing, stretch{partition, at.spanned, at.next})
		}
	}
	err := s.sink.changes(ctx, known, func(r *row) error {
		s.judges[r.partition].sessions.take(r)
		return nil
	})
	if err != nil {
		return fmt.Errorf("recall sessions: %w", err)
	}
	for _, m := range missing {
		if err := s.span(ctx, m); err != nil {
			return fmt.Errorf("make spans of partition %d: %w", m.partition, err)
		}
	}
	return nil
}

// spanStep is how many offsets are done at once where spans are missing.
const spanStep = 100_000

// span fills presence_span with what turned in a stretch. It does so step by
// step, from one multiple of spanStep to the next: a step that was cut short
// goes again under the same token.
func (s *serving) span(ctx context.Context, missing stretch) error {
	j, turns, said := s.judges[missing.partition], make(map[int][]turn), time.Now()
	s.log.Info("spans are made of what is archived", "partition", missing.partition, "offset", missing.from, "of", missing.to)
	done := func(to int64) error {
		if err := s.sink.insertTurns(ctx, fmt.Sprintf("turns/%d/%d", missing.partition, missing.from), turns); err != nil {
			return fmt.Errorf("%w: %w", errArchive, err)
		}
		if err := s.fault("spans"); err != nil {
			return err
		}
		sessions, err := j.sessions.MarshalBinary()
		if err == nil {
			err = s.plans.spanned(ctx, missing.partition, missing.from, to, sessions)
		}
		if time.Since(said) > 5*time.Second && to < missing.to {
			s.log.Info("spans are made of what is archived", "partition", missing.partition, "offset", to, "of", missing.to)
			said = time.Now()
		}
		clear(turns)
		j.kept, missing.from = to, to
		return err
	}
	err := s.sink.changes(ctx, []stretch{missing}, func(r *row) error {
		if to := int64(r.offset) / spanStep * spanStep; to > missing.from {
			if err := done(to); err != nil {
				return err
			}
		}
		byMonth(turns, j.sessions.take(r))
		return nil
	})
	if err == nil && missing.from < missing.to {
		err = done(missing.to)
	}
	return err
}

// readChanges gives what sessions.take wants to know, in the words of events.
// What is deleted and not yet gone is left out.
const readChanges = `SELECT partition, offset, at, account, resource, kind, binding, edge, epoch FROM
(
	SELECT partition, offset, at, account, resource, binding, toString(edge) AS edge, epoch,
		transform(change, ['bound', 'available', 'unavailable', 'closed'], ['resource_bound', 'presence_available', 'presence_unavailable', 'resource_closed'], '') AS kind
	FROM presence_change
	UNION ALL
	SELECT partition, offset, at, '' AS account, '' AS resource, toUUID('00000000-0000-0000-0000-000000000000') AS binding, edge, epoch, 'edge_lost' AS kind
	FROM edge_lost
)
WHERE %s
ORDER BY partition, offset`

// changes calls fn for what the archive has of sessions in some stretches, in
// the order of the log. An error of fn ends it and is returned as it is.
func (s sink) changes(ctx context.Context, in []stretch, fn func(*row) error) error {
	if len(in) == 0 {
		return nil
	}
	var where []string
	var args []any
	for _, part := range in {
		where = append(where, "partition = ? AND offset >= ? AND offset < ?")
		args = append(args, part.partition, uint64(part.from), uint64(part.to))
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"apply_mutations_on_fly": 1, "max_bytes_before_external_sort": 1 << 30,
	}))
	rows, err := s.conn.Query(ctx, fmt.Sprintf(readChanges, strings.Join(where, " OR ")), args...)
	if err != nil {
		return fmt.Errorf("%w: %w", errArchive, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.partition, &r.offset, &r.at, &r.account, &r.resource, &r.kind, &r.binding, &r.edge, &r.epoch); err != nil {
			return fmt.Errorf("%w: %w", errArchive, err)
		}
		if err := fn(&r); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("%w: %w", errArchive, err)
	}
	return nil
}
