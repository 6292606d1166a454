package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/postgres"
)

// A bench is the surroundings of a writer: real databases and a log in memory.
type bench struct {
	t    testing.TB
	log  *memoryLog
	pool *pgxpool.Pool
	conn driver.Conn
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchAt(t, localtest.ClickHouse(t))
}

func newBenchAt(t testing.TB, dsn string) *bench {
	t.Helper()
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if !t.Failed() {
			goleak.VerifyNone(t, ignore)
		}
	})
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &bench{t: t, log: newMemoryLog(), pool: pool, conn: localtest.Tables(t, dsn)}
}

// writer gives a writer of all partitions, small blocks and no linger to speak of.
func (b *bench) writer(change func(*Options)) *History {
	b.t.Helper()
	o := Options{Postgres: b.pool, ClickHouse: b.conn, Tail: b.log.tail(), Member: all(), Partitions: partitions,
		Linger: time.Millisecond, MaxRows: 100}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

// running starts h and gives a function that stops it and waits.
func (b *bench) running(h *History) (stop func() error) {
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	b.t.Cleanup(func() { _ = stop() })
	return stop
}

// archived waits until the positions are those.
func (b *bench) archived(want map[int32]int64) {
	b.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		got, err := Positions(b.t.Context(), b.pool)
		if err == nil {
			behind := false
			for p, next := range want {
				behind = behind || got[p] < next
			}
			if !behind {
				return
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("archived %v of %v, %v", got, want, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// one gives the single value of a query.
func (b *bench) one(query string) string {
	b.t.Helper()
	var s string
	if err := b.conn.QueryRow(b.t.Context(), query).Scan(&s); err != nil {
		b.t.Fatalf("%v\n%s", err, query)
	}
	return s
}

// until waits for a query to give want.
func (b *bench) until(query, want string) {
	b.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := b.one(query)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s\nstays %s, want %s", query, got, want)
		}
	}
}

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// talk writes n messages, each accepted, sent and delivered, over four accounts.
func (b *bench) talk(n int) {
	for i := range n {
		from, to := accountIn(int32(i%partitions), 0), accountIn(int32((i+1)%partitions), 0)
		at := noon.Add(time.Duration(i) * time.Second)
		accepted := &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: from + "/desk", Message: chat(fmt.Sprint("line ", i))}}}
		offset := b.log.event(b.t, to, at, accepted)
		b.log.event(b.t, from, at, &event.Event{Origin: "p/x", Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{
			Resource: "desk", To: to, Message: chat(fmt.Sprint("line ", i)), Accepted: accepted.Id}}})
		b.log.event(b.t, to, at, &event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: offset, Resource: "phone"}}})
	}
}

func chat(body string) *event.Message {
	return &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: body,
		Payload: []byte("<body>" + body + "</body>"), Storable: true}
}

// whole checks that the archive holds the log, each record once, and that the
// tables that are fed from it hold n messages for each side.
func (b *bench) whole(n int) {
	b.t.Helper()
	archive := NewArchive(b.conn)
	for p := range int32(partitions) {
		next := int64(0)
		err := archive.Read(b.t.Context(), p, 0, 1<<40, func(offset int64, key string, value []byte) error {
			if r := b.log.parts[p][offset]; offset != next || key != string(r.Key) || string(value) != string(r.Value) {
				return fmt.Errorf("partition %d: offset %d after %d, key %q", p, offset, next-1, key)
			}
			next++
			return nil
		})
		if err != nil || next != int64(len(b.log.parts[p])) {
			b.t.Errorf("partition %d: read %d of %d, %v", p, next, len(b.log.parts[p]), err)
		}
	}
	if got, want := b.one("SELECT toString((count(), uniqExact(partition, offset))) FROM events"), fmt.Sprintf("(%d,%d)", 3*n, 3*n); got != want {
		b.t.Errorf("events %s, want %s", got, want)
	}
	if got, want := b.one("SELECT toString((count(), uniqExact(message, direction))) FROM archive"), fmt.Sprintf("(%d,%d)", 2*n, 2*n); got != want {
		b.t.Errorf("archive %s, want %s", got, want)
	}
	if got, want := b.one("SELECT toString((sum(messages_sent), sum(messages_received))) FROM account_counters"), fmt.Sprintf("(%d,%d)", n, n); got != want {
		b.t.Errorf("counters %s, want %s", got, want)
	}
	if got, want := b.one("SELECT toString((sum(messages_sent), sum(messages_received))) FROM pair_counters"), fmt.Sprintf("(%d,%d)", n, n); got != want {
		b.t.Errorf("counters by pair %s, want %s", got, want)
	}
	if got, want := b.one("SELECT toString((sum(messages), (SELECT count() FROM unread))) FROM activity"), fmt.Sprintf("(%d,0)", n); got != want {
		b.t.Errorf("messages by minute and unread %s, want %s", got, want)
	}
}

// TestExactlyOnce stops a writer after each durable step of its first, second
// and third block, or fails that step, and lets another one go on.
func TestExactlyOnce(t *testing.T) {
	outer, messages := newBench(t), 0
	for _, step := range []string{"planned", "inserted", "passed"} {
		for nth := 1; nth <= 3; nth += 2 {
			for _, how := range []string{"crash", "failure"} {
				t.Run(fmt.Sprintf("%s at %s %d", how, step, nth), func(t *testing.T) {
					b := *outer
					b.t = t
					b.talk(120)
					messages += 120
					h := b.writer(nil)
					hit := make(chan struct{})
					count := 0
					h.fault = func(at string) error {
						if at != step {
							return nil
						}
						if count++; count != nth {
							return nil
						}
						close(hit)
						if how == "crash" {
							// As if the process ended here: nothing after this is done.
							<-t.Context().Done()
						}
						return errors.New("the answer is lost")
					}
					if how == "crash" {
						crashed := b.crashed(h)
						<-hit
						crashed()
						h = b.writer(nil)
					}
					stop := b.running(h)
					b.archived(b.log.ends())
					if err := stop(); err != nil {
						t.Error(err)
					}
					b.whole(messages)
				})
			}
		}
	}
}

// crashed runs h, whose writer will hang for ever in a step; the function
// leaves it there, with its context ended.
func (b *bench) crashed(h *History) func() {
	ctx, cancel := context.WithCancel(b.t.Context())
	gone := make(chan struct{})
	fault := h.fault
	h.fault = func(step string) error {
		err := make(chan error, 1)
		go func() { err <- fault(step) }()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-err:
			return e
		}
	}
	go func() { defer close(gone); _ = h.Run(ctx) }()
	return func() { cancel(); <-gone }
}

// TestTwoWriters: two that think they own the same partitions, and one that
// joins and leaves, copy everything once.
func TestTwoWriters(t *testing.T) {
	b := newBench(t)
	one, other := make(memoryMember, 8), all()
	one <- []int32{0, 1, 2, 3}
	stops := []func() error{
		b.running(b.writer(func(o *Options) { o.Member = one })),
		b.running(b.writer(func(o *Options) { o.Member = other })),
	}
	for i := range 10 {
		b.talk(20)
		one <- []int32{int32(i % partitions), int32((i + 1) % partitions)}
		b.archived(b.log.ends())
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
	b.whole(200)
}

// TestBeginsWhereTheLogDoes: a partition that was never copied begins with the
// first record that the log has; one that was copied goes on.
func TestBeginsWhereTheLogDoes(t *testing.T) {
	b := newBench(t)
	b.talk(40)
	starts := func(context.Context) (map[int32]int64, error) { return map[int32]int64{0: 3, 1: 5}, nil }
	for range 2 {
		stop := b.running(b.writer(func(o *Options) { o.Starts = starts }))
		b.archived(b.log.ends())
		if err := stop(); err != nil {
			t.Error(err)
		}
		starts = nil
		b.talk(1)
	}
	if got := b.one("SELECT toString(groupArray(first)) FROM (SELECT min(offset) AS first FROM events GROUP BY partition ORDER BY partition)"); got != "[3,5,0,0]" {
		t.Errorf("first offsets %s", got)
	}
}

// TestHealth: what holds the blocks up is told, and is over when they go through.
func TestHealth(t *testing.T) {
	b := newBench(t)
	b.talk(1)
	h := b.writer(nil)
	lost, seen := errors.New("the answer is lost"), make(chan struct{})
	again := 0
	h.fault = func(step string) error {
		if step == "inserted" {
			if again++; again == 1 {
				return lost
			}
			if err := h.Health(); !errors.Is(err, lost) {
				t.Errorf("health %v", err)
			}
			close(seen)
		}
		return nil
	}
	b.running(h)
	<-seen
	b.archived(b.log.ends())
	for h.Health() != nil {
		time.Sleep(time.Millisecond)
	}
}

// TestOpenBlockOfOthers: a block that was planned over all partitions goes
// again when only one of them is assigned.
func TestOpenBlockOfOthers(t *testing.T) {
	b := newBench(t)
	b.talk(8)
	h := b.writer(nil)
	hit := make(chan struct{})
	h.fault = func(string) error { close(hit); <-t.Context().Done(); return nil }
	crashed := b.crashed(h)
	<-hit
	crashed()
	planned := b.plans()
	member := make(memoryMember, 2)
	member <- []int32{1}
	stop := b.running(b.writer(func(o *Options) { o.Member = member }))
	b.archived(planned)
	member <- []int32{0, 1, 2, 3}
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		t.Error(err)
	}
	b.whole(8)
}

// plans gives the ends of the blocks that are planned.
func (b *bench) plans() map[int32]int64 {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), "SELECT partition, next_offset FROM run.history_block")
	if err != nil {
		b.t.Fatal(err)
	}
	defer rows.Close()
	ends := make(map[int32]int64)
	for rows.Next() {
		var partition int32
		var next int64
		if err := rows.Scan(&partition, &next); err != nil {
			b.t.Fatal(err)
		}
		ends[partition] = next
	}
	if len(ends) == 0 {
		b.t.Fatal("no block is planned")
	}
	return maps.Clone(ends)
}
