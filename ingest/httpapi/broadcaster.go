package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// lookEvery is how often broadcasts are looked for that nobody works on; those
// that came here are worked on at once.
const lookEvery = time.Second

// endedKept is how long the state of a broadcast that has ended can be asked for.
const endedKept = 30 * 24 * time.Hour

// errTaken tells that another process works on a broadcast now.
var errTaken = errors.New("httpapi: the broadcast is another process's")

// kickWork has broadcasts looked for now.
func (s *Server) kickWork() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// work works on broadcasts until ctx ends: on those that came here and those
// whose process is gone.
func (s *Server) work(ctx context.Context) error {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	var g errgroup.Group
	defer func() { _ = g.Wait() }() // they give no error
	mine := make(map[uuid.UUID]bool)
	ended := make(chan uuid.UUID)
	for ctx.Err() == nil {
		for len(mine) < s.opts.Limits.Broadcasts {
			id, err := s.take(ctx, mine)
			if err != nil && ctx.Err() == nil {
				s.opts.Logger.Warn("broadcasts not looked for", "err", err)
			}
			if id == uuid.Nil || err != nil {
				break
			}
			mine[id] = true
			g.Go(func() error {
				s.metrics.running.Inc()
				defer s.metrics.running.Dec()
				if err := s.run(ctx, id); err != nil && ctx.Err() == nil {
					s.opts.Logger.Warn("broadcast interrupted", "broadcast", id, "err", err)
				}
				select {
				case ended <- id:
				case <-ctx.Done():
				}
				return nil
			})
		}
		select {
		case <-ctx.Done():
		case <-ticks.C:
		case <-s.kick:
		case id := <-ended:
			delete(mine, id)
		}
	}
	return nil
}

// take takes the oldest broadcast that nobody works on; uuid.Nil if there is
// none.
func (s *Server) take(ctx context.Context, mine map[uuid.UUID]bool) (id uuid.UUID, err error) {
	held := make([]uuid.UUID, 0, len(mine))
	for id := range mine {
		held = append(held, id)
	}
	err = s.opts.Postgres.QueryRow(ctx, `UPDATE run.broadcast SET owner = $1, epoch = $2 WHERE id = (
	SELECT o.id FROM run.broadcast o
	WHERE o.ended_at IS NULL AND o.id <> ALL($3) AND (o.owner IS NULL OR o.owner = $1 AND o.epoch = $2 OR NOT `+liveOwner+`)
	ORDER BY o.created_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id`, s.opts.ID, int64(s.opts.Epoch), held).Scan(&id)
	if err == pgx.ErrNoRows {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("take a broadcast: %w", err)
	}
	return id, nil
}

// A progress is how far a broadcast has come. Recipients before sent have their
// event in the log; those before pending may have it.
type progress struct {
	state                string
	sent, pending, total int64
}

// run works on a broadcast to its end.
func (s *Server) run(ctx context.Context, id uuid.UUID) error {
	var p progress
	var message []byte
	err := s.opts.Postgres.QueryRow(ctx, `SELECT state, sent, pending, total, accepted FROM run.broadcast WHERE id = $1`, id).
		Scan(&p.state, &p.sent, &p.pending, &p.total, &message)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	var m event.MessageAccepted
	if err := proto.Unmarshal(message, &m); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	for {
		// What a process before this one may have begun is done first: the copies
		// are known by their origin and sequence.
		if p.sent < p.pending {
			if err := s.batch(ctx, id, &p, &m); err != nil {
				return err
			}
			s.metrics.recipients.Add(float64(p.pending - p.sent))
		}
		if err := s.advance(ctx, id, &p); err != nil {
			return err
		}
		if p.sent == p.pending {
			return s.finish(ctx, id, &p)
		}
	}
}

// advance notes that what was pending is sent, and what comes next; nothing
// does if the broadcast is at its end or is being cancelled.
func (s *Server) advance(ctx context.Context, id uuid.UUID, p *progress) error {
	err := s.opts.Postgres.QueryRow(ctx, `UPDATE run.broadcast SET sent = pending,
	pending = CASE state WHEN 'running' THEN least(total, pending + $4) ELSE pending END
WHERE id = $1 AND owner = $2 AND epoch = $3 RETURNING state, sent, pending`,
		id, s.opts.ID, int64(s.opts.Epoch), s.opts.Limits.Batch).Scan(&p.state, &p.sent, &p.pending)
	if err == pgx.ErrNoRows {
		return errTaken
	}
	if err != nil {
		return fmt.Errorf("advance: %w", err)
	}
	return nil
}

// finish ends a broadcast and forgets whom it was for.
func (s *Server) finish(ctx context.Context, id uuid.UUID, p *progress) error {
	end := done
	if p.sent < p.total {
		end = cancelled
	}
	err := pgx.BeginFunc(ctx, s.opts.Postgres, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `UPDATE run.broadcast SET state = $4, ended_at = now() WHERE id = $1 AND owner = $2 AND epoch = $3`,
			id, s.opts.ID, int64(s.opts.Epoch), end)
		if err == nil && tag.RowsAffected() == 0 {
			return errTaken
		}
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM run.broadcast_recipient WHERE broadcast = $1`, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	s.opts.Logger.Info("broadcast ended", "broadcast", id, "state", end, "sent", p.sent, "total", p.total)
	return nil
}

// An unsent is a recipient whose event is not known to be in the log.
type unsent struct {
	n       int64
	account string
}

// batch appends the pending events, and returns when the log has them all.
//
// The origin is the broadcast's own, and the sequence of a recipient is always
// the same. So whoever appends the batch again, this process or the next one
// after its death, appends copies that readers drop by their marks, late ones
// too: in each partition an event is stored only after all before it.
func (s *Server) batch(ctx context.Context, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
	rows, err := s.opts.Postgres.Query(ctx, `SELECT n, account FROM run.broadcast_recipient WHERE broadcast = $1 AND n >= $2 AND n < $3 ORDER BY n`,
		id, p.sent, p.pending)
	if err != nil {
		return fmt.Errorf("recipients: %w", err)
	}
	left, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u unsent, err error) {
		err = row.Scan(&u.n, &u.account)
		return u, err
	})
	if err != nil {
		return fmt.Errorf("recipients: %w", err)
	}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		left, err = s.appendAll(ctx, id, left, m)
		if len(left) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		s.opts.Logger.Warn("broadcast not appended yet", "broadcast", id, "recipients", len(left), "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// appendAll appends the events of recipients and gives those that failed, in
// order, with an error of theirs; when ctx ends meanwhile, all of them.
func (s *Server) appendAll(ctx context.Context, id uuid.UUID, those []unsent, m *event.MessageAccepted) ([]unsent, error) {
	type end struct {
		unsent
		err error
	}
	ends := make(chan end, len(those))
	origin := "broadcast/" + id.String()
	kind := &event.Event_MessageAccepted{MessageAccepted: m}
	chain := new(eventlog.Chain)
	for _, u := range those {
		account := jid.FromCanonical(u.account).Bare()
		eventID := derivedID(id, u.account)
		e := &event.Event{Id: eventID[:], At: time.Now().UnixMicro(), Origin: origin, Sequence: uint64(u.n) + 1, Kind: kind}
		value, err := event.Marshal(e)
		if err != nil {
			return those, err
		}
		s.opts.Appender.Append(eventlog.Record{
			Topic: topic.Account, Partition: topic.Partition(account, s.opts.Partitions), Key: []byte(u.account),
			Value: value, Headers: eventlog.KindHeader(event.KindOf(e)), Chain: chain,
		}, true, func(_ topic.Position, err error) { ends <- end{u, err} })
	}
	var failed []unsent
	var last error
	for range those {
		select {
		case e := <-ends:
			if e.err != nil {
				failed = append(failed, e.unsent)
				if last == nil || !errors.Is(e.err, eventlog.ErrBroken) {
					last = e.err
				}
			}
		case <-ctx.Done():
			return those, ctx.Err()
		}
	}
	slices.SortFunc(failed, func(a, b unsent) int { return cmp.Compare(a.n, b.n) })
	return failed, last
}

// tidy forgets what nobody asks for any more, until ctx ends.
func (s *Server) tidy(ctx context.Context) error {
	ticks := time.NewTicker(time.Minute)
	defer ticks.Stop()
	for {
		if err := s.forget(ctx); err != nil && ctx.Err() == nil {
			s.opts.Logger.Warn("what is old is not forgotten", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// forget removes what is too old.
func (s *Server) forget(ctx context.Context) error {
	for _, x := range []struct {
		sql  string
		kept time.Duration
	}{
		{`DELETE FROM run.idempotency WHERE created_at < now() - $1::bigint * interval '1 microsecond'`, keptFor},
		{`DELETE FROM run.broadcast WHERE ended_at < now() - $1::bigint * interval '1 microsecond'`, endedKept},
	} {
		if _, err := s.opts.Postgres.Exec(ctx, x.sql, x.kept.Microseconds()); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
	}
	return nil
}
