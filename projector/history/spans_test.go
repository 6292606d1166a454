package history

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// What session_spans, which nobody writes, says of the seconds online and of how
// many were.
const (
	secondsOfSpans = `SELECT account, day, round(intervalLengthSum(toUnixTimestamp64Micro(greatest(online_from, day::DateTime64(6, 'UTC'))),
	toUnixTimestamp64Micro(least(until, (day + 1)::DateTime64(6, 'UTC')))) / 1000000, 3) AS seconds
FROM (
	SELECT account, online_from, ifNull(online_to, greatest(online_from, toDateTime64('2026-12-31 00:00:00', 6, 'UTC'))) AS until,
		arrayJoin(range(toUInt16(toDate(online_from)), toUInt16(toDate(until)) + 1))::Date AS day
	FROM session_spans
) GROUP BY account, day`
	onlineOfSpans = `SELECT minute, online, greatest(peak, online) AS peak
FROM (
	SELECT toStartOfMinute(moment, 'UTC') AS minute, argMax(running, (moment, place)) AS online, max(greatest(running, running - delta)) AS peak
	FROM (
		SELECT moment, delta, sum(delta) OVER (ORDER BY moment, delta ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS running,
			row_number() OVER (ORDER BY moment, delta) AS place
		FROM (
			SELECT arrayJoin(if(online_to IS NULL, [(online_from, toInt64(1))], [(online_from, toInt64(1)), (assumeNotNull(online_to), toInt64(-1))])) AS step,
				step.1 AS moment, step.2 AS delta
			FROM session_spans
		)
	)
	GROUP BY minute
)`
)

// sameSpans compares the views with what the sessions say. Days that are not
// over yet are left out of the seconds.
func (b *bench) sameSpans() {
	b.t.Helper()
	differ := func(columns, got, want string) {
		b.t.Helper()
		query := fmt.Sprintf(`SELECT toString((count(), (SELECT count() FROM (%[3]s)), groupArray(5)(t))) FROM
	(SELECT tuple(%[1]s) AS t, countIf(side = 1) AS a, countIf(side = 2) AS b FROM (SELECT %[1]s, 1 AS side FROM (%[2]s) UNION ALL SELECT %[1]s, 2 AS side FROM (%[3]s)) GROUP BY t HAVING a != b)`,
			columns, got, want)
		var n, of uint64
		if _, err := fmt.Sscanf(b.one(query), "(%d,%d,", &n, &of); err != nil || n > 0 || of == 0 {
			b.t.Errorf("of %d rows, %d differ: %s; %v", of, n, b.one(query), err)
		}
	}
	differ("account, resource, binding, edge, online_from, online_to", "SELECT * FROM presence_spans", "SELECT * FROM session_spans")
	differ("account, day, seconds", "SELECT account, day, round(seconds, 3) AS seconds FROM online_seconds WHERE day < '2026-11-25'", "SELECT * FROM ("+secondsOfSpans+") WHERE day < '2026-11-25'")
	differ("minute, online, peak", "SELECT minute, online, peak FROM concurrency WHERE minute IN (SELECT minute FROM minute_online)", onlineOfSpans)
}

// A party is a log of sessions at random: in time or by a clock that is late, of
// bindings that are over, copied, and of edges that are lost.
type party struct {
	*bench
	random   *rand.Rand
	accounts []string
	at       time.Time
	bindings map[string][][]byte
	epochs   map[string]uint64
}

func newParty(b *bench, seed uint64) *party {
	return &party{bench: b, random: rand.New(rand.NewPCG(seed, 0)), accounts: []string{accountIn(0, 0), accountIn(1, 0), accountIn(1, 1), accountIn(2, 0)},
		at: time.Date(2026, 8, 20, 0, 0, 0, 0, time.UTC), bindings: make(map[string][][]byte), epochs: map[string]uint64{"e1": 1, "e2": 1}}
}

func (p *party) goesOn(events int) {
	for range events {
		p.at = p.at.Add(time.Duration(p.random.ExpFloat64() * float64(10*time.Minute))).Truncate(time.Microsecond)
		p.event()
	}
}

func (p *party) event() {
	account, resource := p.accounts[p.random.IntN(len(p.accounts))], []string{"desk", "phone"}[p.random.IntN(2)]
	edge, at := []string{"e1", "e2"}[p.random.IntN(2)], p.at
	if p.random.IntN(8) == 0 {
		at = at.Add(-time.Duration(p.random.Int64N(int64(time.Hour)))).Truncate(time.Microsecond)
	}
	known := p.bindings[account+resource]
	e := &event.Event{Origin: fmt.Sprintf("edge/%s/%d", edge, p.epochs[edge])}
	switch {
	case p.random.IntN(60) == 0:
		p.log.lost(p.t, at, edge, max(p.epochs[edge]-p.random.Uint64N(3), 1))
		p.epochs[edge] += p.random.Uint64N(2)
		return
	case len(known) == 0 || p.random.IntN(5) == 0:
		id := uuid.New()
		e.Id = id[:]
		p.bindings[account+resource] = append(known, id[:])
		e.Kind = &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: edge, Epoch: p.epochs[edge]}}
	default: // at times of an earlier binding
		e.Binding = known[max(len(known)-1-p.random.IntN(2)*p.random.IntN(3), 0)]
		switch p.random.IntN(4) {
		case 0:
			e.Kind = &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource}}
		case 1:
			e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource}}
		default:
			e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: new(event.Presence)}}
		}
	}
	offset := p.log.event(p.t, account, at, e)
	if p.random.IntN(10) == 0 {
		p.copyOf(account, offset)
	}
}

// TestSpans: whatever is said, in time, late, twice or by a session that is over,
// and whichever edges are lost, the spans are those of the sessions, though
// writers end at every step and go on elsewhere.
func TestSpans(t *testing.T) {
	for seed := range uint64(3) {
		p := newParty(newBench(t), seed)
		for round := range 8 {
			p.goesOn(400)
			h := p.writer(func(o *Options) { o.MaxRows = 60 })
			h.keepEvery = 1 + p.random.IntN(500)
			n, at := 0, 1+p.random.IntN(12)
			h.fault = func(string) error {
				if n++; n == at {
					return errors.New("the answer is lost")
				}
				return nil
			}
			stop := p.running(h)
			p.archived(p.log.ends())
			if err := stop(); err != nil {
				t.Error(err)
			}
			if round%3 == 2 {
				p.sameSpans()
			}
		}
		for _, table := range []string{"presence_span", "minute_online"} {
			if err := p.conn.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
				t.Fatal(err)
			}
		}
		p.sameSpans()
	}
}

// TestSpansOfWhatIsArchived: what an earlier version copied gets its spans when
// the writer starts, also if that is cut short, once.
func TestSpansOfWhatIsArchived(t *testing.T) {
	p := newParty(newBench(t), 7)
	p.goesOn(3000)
	stop := p.running(p.writer(nil))
	p.archived(p.log.ends())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	forget := func() {
		for _, table := range []string{"presence_span", "minute_online"} {
			if err := p.conn.Exec(t.Context(), "TRUNCATE TABLE "+table); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.pool.Exec(t.Context(), "UPDATE run.history SET sessions = '', sessions_offset = 0, spans_offset = 0"); err != nil {
			t.Fatal(err)
		}
	}
	forget()
	h := p.writer(nil)
	cut := 0
	h.fault = func(step string) error {
		if step == "spans" {
			if cut++; cut%2 == 1 {
				return errors.New("the answer is lost")
			}
		}
		return nil
	}
	p.goesOn(300)
	stop = p.running(h)
	p.archived(p.log.ends())
	if err := stop(); err != nil {
		t.Error(err)
	}
	if cut < 2 {
		t.Errorf("%d steps", cut)
	}
	p.sameSpans()
}

// TestSpansOfDeleted: an account that is deleted takes its spans along, and what
// comes under its name later has nothing of them, though the writer begins again.
// How many were online stays as it was.
func TestSpansOfDeleted(t *testing.T) {
	b := newBench(t)
	account, at := accountIn(0, 0), noon
	says := func(e *event.Event) {
		at = at.Add(time.Minute)
		b.log.event(t, account, at, e)
	}
	first, second := uuid.New(), uuid.New()
	comes := func(binding uuid.UUID) {
		says(&event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
		says(&event.Event{Id: binding[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "desk", Edge: "e1", Epoch: 4}}})
		says(&event.Event{Binding: binding[:], Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "desk", Presence: new(event.Presence)}}})
	}
	comes(first)
	h := b.writer(nil)
	h.keepEvery = -100 // at every block
	stop := b.running(h)
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		t.Error(err)
	}
	says(&event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	b.archive()
	b.until("SELECT toString(count()) FROM presence_span", "0")
	comes(second)
	b.archive()
	if got := b.one("SELECT toString(groupArray((binding, online_to))) FROM presence_spans"); got != fmt.Sprintf("[('%s',NULL)]", second) {
		t.Errorf("spans %s", got)
	}
	if got, want := b.one("SELECT toString(groupArray((formatDateTime(minute, '%H:%i'), online, peak))) FROM concurrency"),
		"[('12:03',1,1),('12:04',0,1),('12:05',0,0),('12:06',0,0),('12:07',1,1)]"; got != want {
		t.Errorf("online %s, want %s", got, want)
	}
}

// TestSpansOfAnEdge: the loss of an edge ends more spans than one INSERT takes,
// and a try that does them again in another order changes nothing.
func TestSpansOfAnEdge(t *testing.T) {
	const all = turnsAtOnce + 1000
	b := newBench(t)
	for i, found := 0, 0; found < all; i++ {
		account, id := fmt.Sprintf("user%d@rollcall.example", i), uuid.New()
		if home(account) != 0 {
			continue
		}
		found++
		b.log.event(t, account, noon, &event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "desk", Edge: "e1", Epoch: 4}}})
		b.log.event(t, account, noon, &event.Event{Binding: id[:], Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "desk", Presence: new(event.Presence)}}})
	}
	one := func(change func(*History)) {
		h := b.writer(func(o *Options) { o.MaxRows = 20_000 })
		change(h)
		stop := b.running(h)
		b.archived(b.log.ends())
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	one(func(*History) {})
	b.log.lost(t, noon.Add(time.Hour), "e1", 4)
	tries := 0
	one(func(h *History) {
		h.fault = func(step string) error {
			if tries++; step == "inserted" && tries < 5 {
				return errors.New("the answer is lost")
			}
			return nil
		}
	})
	if tries < 5 {
		t.Errorf("%d steps", tries)
	}
	want := fmt.Sprintf("(%d,%d,0,%d)", all, all, 2*all)
	if got := b.one(`SELECT toString(((SELECT count() FROM presence_spans), (SELECT countIf(online_to = online_from + INTERVAL 1 HOUR) FROM presence_spans),
		(SELECT sum(delta) FROM minute_online), (SELECT sum(length(steps)) FROM minute_online)))`); got != want {
		t.Errorf("spans, of an hour, online and steps: %s, want %s", got, want)
	}
	p := party{bench: b}
	p.sameSpans()
}

// Sessions that are kept are the same when they are read again, and there are so
// many as they count.
func TestSessionsAreKept(t *testing.T) {
	var s, again sessions
	for i := range 1000 {
		s.take(&row{kind: "resource_bound", account: fmt.Sprint(i % 700), resource: fmt.Sprint(i), binding: uuid.New(), edge: "e1", epoch: uint64(i % 3), at: noon})
		if i%2 == 0 {
			r := row{kind: "presence_available", account: fmt.Sprint(i % 700), resource: fmt.Sprint(i), binding: s.of[fmt.Sprint(i%700)][i/700].Binding, offset: uint64(i), at: noon}
			if got := s.take(&r); len(got) != 1 || got[0].ended {
				t.Fatal(got)
			}
		}
	}
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := again.UnmarshalBinary(b); err != nil || again.count != 1000 {
		t.Fatal(err, again.count)
	}
	lost := &row{kind: "edge_lost", edge: "e1", epoch: 1, at: noon.Add(-time.Hour)}
	turns := again.take(lost)
	if other := s.take(lost); len(turns) != len(other) || len(turns) != 333 || again.count != 333 || s.count != 333 {
		t.Errorf("%d and %d turns, %d and %d sessions", len(turns), len(other), again.count, s.count)
	}
	if slices.ContainsFunc(turns, func(o turn) bool { return !o.ended || !o.at.Equal(noon) }) {
		t.Error("an end before its beginning")
	}
	if err := again.UnmarshalBinary(b[:len(b)/2]); err == nil {
		t.Error("half of it was read")
	}
}
