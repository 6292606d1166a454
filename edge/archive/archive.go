// Package archive reads message archives (XEP-0313) from the chat log in
// ClickHouse, for any owner: a bare JID.
//
// The chat log is behind the log of events, by moments or by as long as
// ClickHouse was away. So an answer waits, bounded, until the log as it was
// when the client asked is folded, what the fold caused is in the log, and all
// of that is copied. Positions are read for all who ask at a time, and who
// pages through what was read before waits for nothing.
package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Offsets tells where a topic ends.
type Offsets interface {
	// Ends gives the next offset of each partition.
	Ends(ctx context.Context, topic string) (map[int32]int64, error)
}

// Options say what a Reader reads from.
type Options struct {
	ClickHouse driver.Conn
	Postgres   *pgxpool.Pool // has the positions
	Offsets    Offsets
}

// A Reader is an edge.Archive. It may be used by any goroutine.
type Reader struct {
	clickhouse driver.Conn
	postgres   *pgxpool.Pool
	places     *places
	away       away
}

// New gives a Reader.
func New(o Options) *Reader {
	r := &Reader{clickhouse: o.ClickHouse, postgres: o.Postgres, places: newPlaces(o.Postgres, o.Offsets)}
	r.places.slow = r.ping
	return r
}

// settings of every query: an archive's reader is one of many.
var settings = clickhouse.Settings{"max_threads": 2, "max_execution_time": 10}

// Page implements edge.Archive.
func (r *Reader) Page(ctx context.Context, q edge.ArchiveQuery) (*edge.ArchivePage, error) {
	var p *edge.ArchivePage
	err := r.away.guard(func() (err error) {
		end, err := r.places.settled(ctx, q.ArchiveOwner, bound(&q))
		if err == nil {
			p, err = r.page(ctx, &q, end)
			err = unanswered(err)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("archive of %s: %w", q.Owner, err)
	}
	return p, nil
}

// bound gives an offset at which nothing that the page can have is any more.
func bound(q *edge.ArchiveQuery) int64 {
	end := min(q.Below, q.Before)
	if len(q.IDs) > 0 {
		end = min(end, slices.Max(q.IDs)+1)
	}
	return end
}

// Ends implements edge.Archive.
func (r *Reader) Ends(ctx context.Context, o edge.ArchiveOwner) (first, last *edge.Archived, err error) {
	err = r.away.guard(func() error {
		end, err := r.places.settled(ctx, o, edge.NoBound)
		if err != nil {
			return err
		}
		var g errgroup.Group // as in page
		g.Go(func() (err error) { first, err = r.end(ctx, o, end, "ASC"); return err })
		g.Go(func() (err error) { last, err = r.end(ctx, o, end, "DESC"); return err })
		return unanswered(g.Wait())
	})
	if err != nil {
		return nil, nil, fmt.Errorf("ends of the archive of %s: %w", o.Owner, err)
	}
	return first, last, nil
}

// Preferences implements edge.Archive.
func (r *Reader) Preferences(ctx context.Context, o edge.ArchiveOwner) (*archive.Preferences, error) {
	err := r.places.folded(ctx, o)
	p := new(archive.Preferences)
	if err == nil {
		err = r.postgres.QueryRow(ctx, `SELECT version, keeps, always, never FROM views.archive WHERE account = $1`, o.Owner.String()).
			Scan(&p.Version, &p.Default, &p.Always, &p.Never)
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("preferences of the archive of %s: %w", o.Owner, err)
	}
	return p, nil
}

func (r *Reader) end(ctx context.Context, o edge.ArchiveOwner, end int64, order string) (*edge.Archived, error) {
	w := inArchive(o.Owner, end)
	rows, err := r.query(ctx, nil, "SELECT id, at FROM chat_log WHERE "+w.String()+" ORDER BY id "+order+" LIMIT 1", w.args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found *edge.Archived
	for rows.Next() {
		var id uint64
		var at time.Time
		if err := rows.Scan(&id, &at); err != nil {
			return nil, err
		}
		found = &edge.Archived{ID: int64(id), At: at}
	}
	return found, rows.Err()
}

// query asks under our settings, and more.
func (r *Reader) query(ctx context.Context, more clickhouse.Settings, statement string, args ...any) (driver.Rows, error) {
	all := maps.Clone(settings)
	maps.Copy(all, more)
	return r.clickhouse.Query(clickhouse.Context(ctx, clickhouse.WithSettings(all)), statement, args...)
}

// page reads a page as of an offset, and what is to be told of it.
func (r *Reader) page(ctx context.Context, q *edge.ArchiveQuery, end int64) (*edge.ArchivePage, error) {
	matching := matches(q, end)
	var (
		p             = new(edge.ArchivePage)
		count, before int
		g             errgroup.Group // one that fails does not cut off the other, whose connection would be lost
	)
	g.Go(func() (err error) {
		count, before, err = r.count(ctx, q, matching, end)
		return err
	})
	if q.Max > 0 {
		g.Go(func() (err error) {
			p.Messages, p.Complete, err = r.messages(ctx, q, matching)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	p.Count, p.Index = count, before
	switch {
	case q.Max == 0 && q.Last:
		p.Complete = before == 0
	case q.Max == 0:
		p.Complete = count <= before+q.Skip
	case q.Last:
		slices.Reverse(p.Messages)
		p.Index = before - len(p.Messages)
	default:
		p.Index += q.Skip
	}
	return p, nil
}

// count gives how many messages match, and how many of them are before where
// the page begins, or, at an end, before where it ends. The ids that must be in
// the archive are looked for.
func (r *Reader) count(ctx context.Context, q *edge.ArchiveQuery, matching where, end int64) (count, before int, err error) {
	position, place := "id <= ?", q.After
	if q.Last {
		position, place = "id < ?", q.Before
	}
	there, known := where{}, "toUInt64(0)"
	if len(q.Known) > 0 {
		there = inArchive(q.Owner, end).and("id IN (?)", q.Known)
		known = "(SELECT count() FROM chat_log WHERE " + there.String() + ")"
	}
	statement := "SELECT " + known + ", count(), countIf(" + position + ") FROM chat_log WHERE " + matching.String()
	rows, err := r.query(ctx, nil, statement, slices.Concat(there.args, []any{place}, matching.args)...)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	var found, all, some uint64
	for rows.Next() {
		if err := rows.Scan(&found, &all, &some); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case rows.Err() != nil:
		return 0, 0, rows.Err()
	case int(found) != len(q.Known):
		return 0, 0, edge.ErrNotArchived
	}
	return int(all), int(some), nil
}

// messages gives the page, the message at which it begins first, and whether
// nothing is left behind it. What is much more than a page may have is not sent
// here, for a record has the body of its message twice, and some ids: where a
// page would be more the server says so, and is asked to count bytes, which
// takes it a quarter longer.
func (r *Reader) messages(ctx context.Context, q *edge.ArchiveQuery, matching where) ([]edge.Archived, bool, error) {
	order := "ASC"
	if q.Last {
		order = "DESC"
	}
	w := matching.and("id > ? AND id < ?", q.After, q.Before)
	from := " FROM chat_log WHERE " + w.String() + " ORDER BY id " + order + " LIMIT ? OFFSET ?"
	w.args = append(w.args, q.Max+1, q.Skip)
	most := 2*q.Bytes + recordOverhead*(q.Max+1)
	page, complete, err := r.read(ctx, q, clickhouse.Settings{"max_result_bytes": most, "result_overflow_mode": "throw"},
		"SELECT id, raw, toUInt64(0)"+from, w.args...)
	if e := (*clickhouse.Exception)(nil); !errors.As(err, &e) || e.Code != tooManyBytes {
		return page, complete, err
	}
	return r.read(ctx, q, nil, `SELECT id, raw, found FROM (
	SELECT id, raw, count() OVER () AS found, sum(length(raw)) OVER (ORDER BY id `+order+` ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) - length(raw) AS bytes
	FROM (SELECT id, raw`+from+`)
) WHERE bytes <= ? ORDER BY id `+order, append(w.args, most)...)
}

// tooManyBytes is the server's code for a result that is over max_result_bytes.
const tooManyBytes = 396

// read gives the page that a statement does, as far as it may go, and whether
// nothing is left: found is how many rows there are if these are not all.
func (r *Reader) read(ctx context.Context, q *edge.ArchiveQuery, more clickhouse.Settings, statement string, args ...any) ([]edge.Archived, bool, error) {
	rows, err := r.query(ctx, more, statement, args...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	var (
		page  []edge.Archived
		bytes int
		fits  = true
		id    uint64
		raw   string
		found uint64
		all   int
	)
	for rows.Next() {
		if err := rows.Scan(&id, &raw, &found); err != nil {
			return nil, false, err
		}
		if all++; !fits {
			continue // to the end: the connection is used again
		}
		e, err := event.Decode([]byte(raw))
		if err != nil {
			return nil, false, fmt.Errorf("message %d: %w: %w", id, errRecord, err)
		}
		m, ok := edge.ArchivedOf(q.Owner, int64(id), e)
		if !ok {
			return nil, false, fmt.Errorf("message %d: %w: %s", id, errRecord, event.KindOf(e))
		}
		if bytes, fits = q.Fits(len(page), bytes, &m); fits {
			page = append(page, m)
		}
	}
	return page, max(int(found), all) == len(page), rows.Err()
}

// errRecord means that the chat log has something that no archive has.
var errRecord = errors.New("no message")

// recordOverhead is what a record has besides its message, or more, in bytes.
const recordOverhead = 512

// where is a condition with its arguments.
type where struct {
	parts []string
	args  []any
}

func (w where) and(part string, args ...any) where {
	return where{append(slices.Clip(w.parts), part), append(slices.Clip(w.args), args...)}
}

func (w where) String() string { return strings.Join(w.parts, " AND ") }

// inArchive says what an archive has below an offset.
func inArchive(owner jid.Bare, end int64) where {
	w := where{}.and("owner = ?", owner.String())
	if end != edge.NoBound {
		w = w.and("id < ?", end)
	}
	return w.and("id NOT IN (SELECT id FROM withheld WHERE owner = ?)", owner.String())
}

// matches says what of an archive a query is for.
func matches(q *edge.ArchiveQuery, end int64) where {
	w := inArchive(q.Owner, min(end, q.Below))
	if q.Above >= 0 {
		w = w.and("id > ?", q.Above)
	}
	if with := q.With; with.IsFull() {
		const side = "peer = ? AND peer_resource = ?"
		if with.Bare() == q.Owner {
			w = w.and("("+side+" OR resource = ?)", with.Bare().String(), with.Resource(), with.Resource())
		} else {
			w = w.and(side, with.Bare().String(), with.Resource())
		}
	} else if !with.IsZero() {
		w = w.and("peer = ?", with.String())
	}
	if !q.Start.IsZero() {
		w = w.and("at >= fromUnixTimestamp64Micro(?)", micros(q.Start))
	}
	if !q.End.IsZero() {
		w = w.and("at < fromUnixTimestamp64Micro(?)", micros(q.End)+1000)
	}
	if q.IDs != nil {
		w = w.and("id IN (?)", q.IDs)
	}
	if q.NoGroupchat {
		w = w.and("message_type != 'groupchat'")
	}
	for _, word := range strings.Fields(q.Text) {
		w = w.and("position(words, normalizeUTF8NFKCCasefold(?)) > 0", word)
	}
	return w
}

// micros gives a time that clients are told in milliseconds, as far as the
// chat log knows times.
func micros(t time.Time) int64 {
	earliest, latest := time.Unix(0, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Before(earliest):
		t = earliest.Add(-time.Second)
	case t.After(latest):
		t = latest
	}
	return t.Truncate(time.Millisecond).UnixMicro()
}

// ping asks ClickHouse for a sign of life.
func (r *Reader) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	return unanswered(r.clickhouse.Ping(ctx))
}
