package archive_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/archive"
	preferences "github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/awaited/awaitedtest"
	"github.com/rollcall/rollcall/schema/event"
)

// answers tells whether a query is answered as things stand, and by what.
func (s *stage) answers(q edge.ArchiveQuery) (string, bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 300*time.Millisecond)
	defer cancel()
	p, err := s.reader.Page(ctx, q)
	if err != nil {
		return err.Error(), false
	}
	return tell(p), true
}

// TestWaits: an answer has what the log had when it was asked for, and nothing
// of which it is not known yet whether it is withheld.
func TestWaits(t *testing.T) {
	s := newStage(t)
	s.store(received("a@x", "b@x/p", 0, noon, body("one")), received("a@x", "b@x/p", 1, noon, body("two")),
		received("a@x", "b@x/p", 2, noon, body("three")), withheld("a@x", 3, 1))
	const one, both = "0 12:00:00.000000 b@x/p>a@x one; complete true of 1 at 0", "0 12:00:00.000000 b@x/p>a@x one; 2 12:00:00.000000 b@x/p>a@x three; complete true of 2 at 0"
	ask := func(what string, want string, answered bool, wrote map[int32]int64) {
		t.Helper()
		q := all("a@x")
		q.Wrote = wrote
		if got, ok := s.answers(q); ok != answered || ok && got != want {
			t.Errorf("%s: %s", what, got)
		}
	}
	s.at(partition, 1, 0, 1)
	ask("not folded", "", false, nil)
	s.at(partition, 1, 1, 0)
	ask("not copied", "", false, nil)
	s.exec(`INSERT INTO run.reaction VALUES ($1, 0, 0, 'account', '', '', '', '')`, partition)
	s.at(partition, 1, 1, 1)
	ask("what was caused is not in the log", "", false, nil)
	s.exec(`DELETE FROM run.reaction`)
	ask("all of one", one, true, nil) // not what is copied and not folded
	s.at(9, 0, 4, 0)
	ask("what the asker wrote elsewhere is not folded", "", false, map[int32]int64{9: 4})
	s.exec(`INSERT INTO run.reaction VALUES (9, 4, 0, 'account', '', '', '', '')`)
	s.at(9, 0, 5, 0)
	ask("what it caused is not in the log", "", false, map[int32]int64{9: 4})
	s.exec(`DELETE FROM run.reaction`)
	ask("what the asker wrote elsewhere is folded", one, true, map[int32]int64{9: 4})
	s.at(partition, 4, 4, 4)
	ask("all", both, true, nil)
	// What was settled once is read at once, whatever comes.
	s.at(partition, 9, 0, 0)
	ask("new messages are behind", "", false, nil)
	q := all("a@x")
	q.Before, q.Last, q.Known = 2, true, []int64{2}
	if got, ok := s.answers(q); !ok || got != "0 12:00:00.000000 b@x/p>a@x one; complete true of 2 at 0" {
		t.Errorf("back from a message: %s", got)
	}
	q = all("a@x")
	q.IDs, q.Known = []int64{2}, []int64{2}
	if got, ok := s.answers(q); !ok || got != "2 12:00:00.000000 b@x/p>a@x three; complete true of 1 at 0" {
		t.Errorf("a message by its id: %s", got)
	}
}

// TestWaitsAreTold: the writer of history hears what an answer waits for, and
// nothing where it waits for something else.
func TestWaitsAreTold(t *testing.T) {
	s := newStage(t)
	told := awaitedtest.Hear(t, s.pool)
	for _, at := range []struct {
		end, folded, copied int64
		answered            bool
	}{{7, 7, 5, false}, {8, 7, 5, false}, {9, 9, 9, true}} {
		s.at(partition, at.end, at.folded, at.copied)
		if got, ok := s.answers(all("a@x")); ok != at.answered {
			t.Errorf("%+v: %s", at, got)
		}
	}
	if got, want := told(), []string{fmt.Sprint(partition, 7)}; !slices.Equal(got, want) {
		t.Errorf("told %q, not %q", got, want)
	}
}

// TestClickHouseAway: who asks while ClickHouse does not answer is told, the
// first by a timeout at most and the others at once; one at a time tries again.
func TestClickHouseAway(t *testing.T) {
	s := newStage(t)
	s.store(received("a@x", "b@x/p", 0, noon, body("one")))
	s.at(partition, 1, 1, 1)
	gate := newGate(t, s)
	options, err := clickhouse.ParseDSN("clickhouse://" + gate.l.Addr().String() + "/" + gate.database)
	if err != nil {
		t.Fatal(err)
	}
	options.DialTimeout = time.Second
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := archive.New(archive.Options{ClickHouse: conn, Postgres: s.pool, Offsets: s.log})
	read := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := r.Page(ctx, all("a@x"))
		return err
	}
	if err := read(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	gate.shut()
	if err := read(200 * time.Millisecond); err == nil {
		t.Fatal("answered by a ClickHouse that is not there")
	}
	// For a second nobody is asked at all: the gate sees nothing of a hundred.
	before := gate.seen()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if read(20*time.Second) == nil {
				t.Error("answered by a ClickHouse that is not there")
			}
		})
	}
	wg.Wait()
	if n := gate.seen() - before; n > 2 {
		t.Errorf("%d of 100 tried", n)
	}
	gate.open()
	deadline := time.Now().Add(20 * time.Second)
	for read(20*time.Second) != nil {
		if time.Now().After(deadline) {
			t.Fatal("ClickHouse is back, and nobody asks it")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// A gate stands before ClickHouse; while it is shut connections stay and nothing
// goes through.
type gate struct {
	l        net.Listener
	database string
	mu       sync.Mutex
	opened   *sync.Cond
	closed   bool
	ended    bool
	writes   int
}

func newGate(t *testing.T, s *stage) *gate {
	var addr, database string
	err := s.conn.QueryRow(t.Context(), "SELECT toString(tcpPort()), currentDatabase()").Scan(&addr, &database)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{database: database}
	g.opened = sync.NewCond(&g.mu)
	if g.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		g.mu.Lock()
		g.closed, g.ended = false, true
		g.opened.Broadcast()
		g.mu.Unlock()
		g.l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := g.l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", "127.0.0.1:"+addr)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { g.copy(out, in) })
			wg.Go(func() { g.copy(in, out) })
		}
	})
	return g
}

func (g *gate) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		g.mu.Lock()
		if err == nil {
			g.writes++
		}
		for g.closed {
			g.opened.Wait()
		}
		ended := g.ended
		g.mu.Unlock()
		if err != nil || ended {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (g *gate) shut() { g.set(true) }
func (g *gate) open() { g.set(false) }

func (g *gate) set(closed bool) {
	g.mu.Lock()
	g.closed = closed
	g.opened.Broadcast()
	g.mu.Unlock()
}

func (g *gate) seen() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes
}

// TestPreferences: they are those that the asker set.
func TestPreferences(t *testing.T) {
	s := newStage(t)
	o := all("a@x").ArchiveOwner
	if p, err := s.reader.Preferences(t.Context(), o); p != nil || err != nil {
		t.Errorf("%+v %v", p, err)
	}
	s.exec(`INSERT INTO views.archive VALUES ('a@x', 4, 3, '{b@x,c@x/r}', '{d@x}'), ('b@x', 5, 2, '{}', '{}')`)
	want := &preferences.Preferences{Version: 4, Default: event.ArchivePreferencesSet_DEFAULT_ROSTER, Always: []string{"b@x", "c@x/r"}, Never: []string{"d@x"}}
	if p, err := s.reader.Preferences(t.Context(), o); err != nil || !reflect.DeepEqual(p, want) {
		t.Errorf("%+v %v", p, err)
	}
	s.at(partition, 5, 4, 0)
	o.Wrote = map[int32]int64{partition: 4}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if p, err := s.reader.Preferences(ctx, o); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before it is folded: %+v %v", p, err)
	}
	s.at(partition, 5, 5, 0)
	if _, err := s.reader.Preferences(t.Context(), o); err != nil {
		t.Error(err)
	}
}
