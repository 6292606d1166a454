// Package store keeps the fold of the log in Postgres: rows of schema views,
// how far each partition is folded, and the reactions that wait to be
// published. A commit writes all of that in one transaction, or, when another
// writer has moved the partition meanwhile, nothing.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/postgres"
)

// ErrFenced means that a partition does not stand where the caller thought:
// another member projects it, or the views were swapped. Forget what is in
// memory of it and load it again.
var ErrFenced = errors.New("store: partition moved by another writer")

// FoldVersion numbers the meaning of the fold. Where views hold another one
// they need a rebuild.
const FoldVersion = account.Version

// A Projected tells how far a partition is folded.
type Projected struct {
	Partition   int32
	Next        int64  // the first offset that is not folded
	Marks       []byte // account.Marks as of Next
	FoldVersion int
}

// An Advance moves a partition from one offset to another.
type Advance struct {
	Partition int32
	From, To  int64 // next offsets; From < To
	Marks     []byte
	Day       time.Time // if set, To is noted as where the partition stood on that day
}

// A Reaction is a record that a folded event caused, with its place in the order.
type Reaction struct {
	Partition int32 // of the event
	Offset    int64
	Index     int32 // among the reactions to that event
	Topic     string
	Key       []byte // bare JID; of a dead letter, as found
	Kind      string // header kind
	Error     string // of a dead letter: why it is one
	Record    []byte
}

// An Acked tells that the reactions of a partition up to a place, inclusive, are
// in the log.
type Acked struct {
	Partition int32
	After, To Place
}

// A Place is that of a reaction in its partition.
type Place struct {
	Offset int64
	Index  int32 // among the reactions to one event
}

// Before is a Place before all others.
var Before = Place{Offset: -1}

// A Unit is what one commit writes.
type Unit struct {
	Advances  []Advance
	Put       Rows // each key at most once
	Remove    Keys // happens before Put
	Reactions []Reaction
	Acked     []Acked
	Pushes    []Pushed
}

// A Store is safe for use by several goroutines.
type Store struct {
	pool *pgxpool.Pool
	sql  statements
}

// New gives the store of the live views in a database that is migrated
// (schema/postgres).
func New(pool *pgxpool.Pool) *Store { return In(pool, "views") }

// In gives a store whose tables are those of schema, which has the shape of
// views. Its name must need no quotes.
func In(pool *pgxpool.Pool, schema string) *Store {
	return &Store{pool: pool, sql: statementsFor(schema)}
}

// The first statement of every commit. It locks the rows of the partitions, so
// that whoever else wants them (another projector, a swap) comes before the
// whole of this transaction or after it.
//
// The commit is not flushed: a crash of Postgres may take back the last
// commits, offsets and rows together, and the next one is then fenced and
// loads again; the log has everything. What was published of them is published
// again, the same bytes, and the marks of its readers drop the copies.
//
// Whatever it deletes it finds by key: see byKey.
const fence = `WITH moved AS (
	UPDATE SCHEMA.projected p SET next_offset = u.next, marks = u.marks, fold_version = $5, updated_at = now()
	FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::bytea[]) AS u(partition, expected, next, marks)
	WHERE p.partition = u.partition AND p.next_offset = u.expected RETURNING 1)
SELECT set_config('synchronous_commit', 'off', true), ` + byKey + `, run.fence((SELECT count(*) FROM moved) = cardinality($1::int4[]))`

// byKey has the rest of a transaction find rows by their keys. Tables whose rows
// come and go, run.reaction above all, are empty when their statistics are made
// and then full of dead rows: a plan from that moment reads all of them.
const byKey = `set_config('enable_seqscan', 'off', true)`

const open = `INSERT INTO SCHEMA.projected (partition, next_offset, marks, fold_version, updated_at)
VALUES ($1, 0, '', $2, now()) ON CONFLICT DO NOTHING`

const stands = `SELECT next_offset, marks, fold_version FROM SCHEMA.projected WHERE partition = $1`

const ofEdge = `SELECT DISTINCT account FROM SCHEMA.resource
WHERE partition = $1 AND edge = $2 AND epoch <= $3 ORDER BY account`

const noteDay = `INSERT INTO run.day (partition, day, next_offset)
SELECT * FROM unnest($1::int4[], $2::date[], $3::int8[]) ON CONFLICT DO NOTHING`

const addReactions = `INSERT INTO run.reaction (partition, "offset", index, topic, key, kind, error, record)
SELECT * FROM unnest($1::int4[], $2::int8[], $3::int4[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::bytea[])`

// It begins where the last one ended: what is gone lies there, dead, until
// Postgres may take it away, and would be looked at each time.
const forgetReactions = `DELETE FROM run.reaction r
USING unnest($1::int4[], $2::int8[], $3::int4[], $4::int8[], $5::int4[]) AS u(partition, after_offset, after_index, to_offset, to_index)
WHERE r.partition = u.partition AND (r."offset", r.index) > (u.after_offset, u.after_index) AND (r."offset", r.index) <= (u.to_offset, u.to_index)`

// Commit writes u in one transaction. It returns ErrFenced if a partition does
// not stand at its From. After any other error the outcome is unknown: load
// the partitions again.
func (s *Store) Commit(ctx context.Context, u *Unit) error {
	err := s.commit(ctx, u)
	if state := (*pgconn.PgError)(nil); errors.As(err, &state) && state.Code == postgres.FencedState {
		return ErrFenced
	}
	return err
}

// batch queues everything but rows that go by COPY.
func (s *Store) batch(u *Unit) *pgx.Batch {
	b := new(pgx.Batch)
	if len(u.Advances) > 0 {
		b.Queue(s.sql.fence,
			each(u.Advances, func(a Advance) int32 { return a.Partition }),
			each(u.Advances, func(a Advance) int64 { return a.From }),
			each(u.Advances, func(a Advance) int64 { return a.To }),
			each(u.Advances, func(a Advance) []byte { return a.Marks }),
			FoldVersion)
		if days := withDay(u.Advances); len(days) > 0 {
			b.Queue(noteDay,
				each(days, func(a Advance) int32 { return a.Partition }),
				each(days, func(a Advance) time.Time { return a.Day }),
				each(days, func(a Advance) int64 { return a.To }))
		}
	} else if len(u.Acked) > 0 {
		b.Queue(`SELECT ` + byKey)
	}
	return b
}

func withDay(advances []Advance) (days []Advance) {
	for _, a := range advances {
		if !a.Day.IsZero() {
			days = append(days, a)
		}
	}
	return days
}

func (s *Store) commit(ctx context.Context, u *Unit) error {
	if u.large() {
		return s.commitLarge(ctx, u)
	}
	// One round trip: without BEGIN the whole batch is one transaction.
	b := s.batch(u)
	s.sql.queueRemove(b, &u.Remove)
	s.sql.queuePut(b, &u.Put)
	queueReactions(b, u)
	if b.Len() == 0 {
		return nil
	}
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func queueReactions(b *pgx.Batch, u *Unit) {
	queuePushes(b, u.Pushes)
	if r := u.Reactions; len(r) > 0 {
		b.Queue(addReactions,
			each(r, func(r Reaction) int32 { return r.Partition }),
			each(r, func(r Reaction) int64 { return r.Offset }),
			each(r, func(r Reaction) int32 { return r.Index }),
			each(r, func(r Reaction) string { return r.Topic }),
			each(r, func(r Reaction) []byte { return r.Key }),
			each(r, func(r Reaction) string { return clean(r.Kind) }),
			each(r, func(r Reaction) string { return clean(r.Error) }),
			each(r, func(r Reaction) []byte { return r.Record }))
	}
	if a := u.Acked; len(a) > 0 {
		b.Queue(forgetReactions,
			each(a, func(a Acked) int32 { return a.Partition }),
			each(a, func(a Acked) int64 { return a.After.Offset }),
			each(a, func(a Acked) int32 { return a.After.Index }),
			each(a, func(a Acked) int64 { return a.To.Offset }),
			each(a, func(a Acked) int32 { return a.To.Index }))
	}
}

// Open gives how far partition is folded; a partition that was never projected
// starts at offset 0.
func (s *Store) Open(ctx context.Context, partition int32) (Projected, error) {
	p := Projected{Partition: partition}
	_, err := s.pool.Exec(ctx, s.sql.open, partition, FoldVersion)
	if err == nil {
		err = s.pool.QueryRow(ctx, s.sql.stands, partition).
			Scan(&p.Next, &p.Marks, &p.FoldVersion)
	}
	if err != nil {
		return p, fmt.Errorf("open partition %d: %w", partition, err)
	}
	return p, nil
}

// Pending gives the reactions of partition that are committed and perhaps not
// published, in order.
func (s *Store) Pending(ctx context.Context, partition int32) ([]Reaction, error) {
	rows, err := s.pool.Query(ctx, `SELECT partition, "offset", index, topic, key, kind, error, record FROM run.reaction
WHERE partition = $1 ORDER BY "offset", index`, partition)
	if err == nil {
		var reactions []Reaction
		reactions, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Reaction])
		if err == nil {
			return reactions, nil
		}
	}
	return nil, fmt.Errorf("pending reactions of partition %d: %w", partition, err)
}

// OfEdge gives the accounts of partition that have a resource bound at edge in
// its epoch or an earlier one, sorted, each once.
func (s *Store) OfEdge(ctx context.Context, partition int32, edge string, epoch uint64) ([]string, error) {
	rows, err := s.pool.Query(ctx, s.sql.ofEdge, partition, clean(edge), int64(epoch))
	if err == nil {
		var accounts []string
		accounts, err = pgx.CollectRows(rows, pgx.RowTo[string])
		if err == nil {
			return accounts, nil
		}
	}
	return nil, fmt.Errorf("accounts of edge %s in partition %d: %w", edge, partition, err)
}

// PurgeTombstones deletes removed roster items of partition that are older
// than keep: whose version is below where the partition stood at the start of
// the last day that ended keep ago. It tells how many there were.
func (s *Store) PurgeTombstones(ctx context.Context, partition int32, now time.Time, keep time.Duration) (int64, error) {
	var gone int64
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var horizon int64
		err := tx.QueryRow(ctx, `SELECT coalesce(max(next_offset), 0) FROM run.day WHERE partition = $1 AND day <= $2`,
			partition, now.Add(-keep).UTC()).Scan(&horizon)
		if err != nil || horizon == 0 {
			return err
		}
		// What is compared with the log leaves these out.
		if _, err := tx.Exec(ctx, `INSERT INTO run.purged (partition, version) VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET version = greatest(run.purged.version, EXCLUDED.version)`, partition, horizon); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM run.day WHERE partition = $1 AND next_offset < $2`, partition, horizon); err != nil {
			return err
		}
		// Of each account it stays known up to where tombstones are missing: who
		// has an older roster than that needs the whole.
		return tx.QueryRow(ctx, `WITH gone AS (
	DELETE FROM views.roster_item i USING views.account a
	WHERE a.account = i.account AND a.partition = $1 AND i.removed AND i.state = 0 AND i.version < $2
	RETURNING i.account, i.version
), noted AS (
	INSERT INTO run.roster_purged (account, version) SELECT account, max(version) FROM gone GROUP BY account
	ON CONFLICT (account) DO UPDATE SET version = greatest(run.roster_purged.version, EXCLUDED.version)
)
SELECT count(*) FROM gone`, partition, horizon).Scan(&gone)
	})
	if err != nil {
		return 0, fmt.Errorf("purge tombstones of partition %d: %w", partition, err)
	}
	return gone, nil
}
