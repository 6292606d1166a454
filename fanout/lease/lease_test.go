package lease

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/postgres"
)

// fast lets a lease live for half a second.
var fast = Times{Valid: 500 * time.Millisecond, Renew: 100 * time.Millisecond, Reap: 20 * time.Millisecond}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func database(t *testing.T) (url string, pool *pgxpool.Pool) {
	t.Helper()
	url = localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	return url, open(t, url)
}

func open(t *testing.T, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// losses is a log that remembers what was said.
type losses struct {
	mu   sync.Mutex
	said []Row
	fail error
}

func (l *losses) AppendEdgeLost(_ context.Context, edge string, epoch uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.said = append(l.said, Row{Kind: Edge, ID: edge, Epoch: epoch})
	return nil
}

func (l *losses) list() []Row {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Row(nil), l.said...)
}

func acquire(t *testing.T, pool *pgxpool.Pool, kind, id string) *Keeper {
	t.Helper()
	k, err := Acquire(t.Context(), KeeperOptions{
		Postgres: pool, Kind: kind, ID: id, Address: id + ":1", Times: fast, Logger: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// start runs f until the test ends, or stop is called; it then waits for it.
func start(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = f(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func reap(t *testing.T, pool *pgxpool.Pool, log Log) (stop func()) {
	t.Helper()
	r, err := NewReaper(ReaperOptions{Postgres: pool, Log: log, Times: fast, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return start(t, r.Run)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func rows(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), `SELECT count(*) FROM run.lease`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func discover(t *testing.T, pool *pgxpool.Pool, kind string) []Row {
	t.Helper()
	found, err := Discover(context.Background(), pool, kind)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestAcquireIsFoundAndMarksEarlierLives(t *testing.T) {
	_, pool := database(t)
	first := acquire(t, pool, Edge, "e1")
	other := acquire(t, pool, Edge, "e2")
	worker := acquire(t, pool, Worker, "e1")
	if !first.Valid() || first.Epoch() >= other.Epoch() || other.Epoch() >= worker.Epoch() {
		t.Fatalf("epochs %d, %d, %d", first.Epoch(), other.Epoch(), worker.Epoch())
	}
	again := acquire(t, pool, Edge, "e1")
	want := []Row{{Edge, "e1", again.Epoch(), "e1:1"}, {Edge, "e2", other.Epoch(), "e2:1"}}
	if got := discover(t, pool, Edge); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("found %v, want %v", got, want)
	}
	if err := first.Run(t.Context()); !errors.Is(err, ErrLost) {
		t.Fatalf("a marked lease ran on: %v", err)
	}
	select {
	case <-first.Lost():
	default:
		t.Fatal("Lost is open")
	}
	if first.Valid() {
		t.Fatal("a lost lease is valid")
	}
	for _, k := range []*Keeper{first, again} {
		held, err := Held(t.Context(), pool, Edge, "e1", k.Epoch())
		if err != nil || held != (k == again) {
			t.Fatalf("epoch %d held %v: %v", k.Epoch(), held, err)
		}
	}
	if err := again.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := discover(t, pool, Edge); len(got) != 1 || again.Valid() {
		t.Fatalf("after release %v", got)
	}
}

// Of edges that live the domain is known, once.
func TestDomains(t *testing.T) {
	_, pool := database(t)
	for id, domain := range map[string]string{"e1": "b.example", "e2": "a.example", "e3": "b.example", "e4": "", "dead": "c.example"} {
		if _, err := Acquire(t.Context(), KeeperOptions{Postgres: pool, Kind: Edge, ID: id, Domain: domain, Times: fast}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `UPDATE run.lease SET lost = true WHERE id = 'dead'`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE run.lease SET expires_at = expires_at + interval '1 hour'`); err != nil {
		t.Fatal(err)
	}
	if got, err := Domains(t.Context(), pool); err != nil || len(got) != 2 || got[0] != "a.example" || got[1] != "b.example" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReaperEndsTheDeadOnceAndTheLivingNever(t *testing.T) {
	_, pool := database(t)
	var log losses
	living := acquire(t, pool, Edge, "living")
	start(t, living.Run)
	dead := acquire(t, pool, Edge, "dead")
	acquire(t, pool, Worker, "gone")
	for range 3 { // reapers of three processes
		reap(t, pool, &log)
	}
	eventually(t, "one row is left", func() bool { return rows(t, pool) == 1 })
	// Long enough for each reaper to look again, were it to work too.
	until := time.Now().Add(3 * fast.Valid)
	eventually(t, "time has passed", func() bool { return time.Now().After(until) })
	if got := log.list(); len(got) != 1 || got[0].ID != "dead" || got[0].Epoch != dead.Epoch() {
		t.Fatalf("EdgeLost of %v", got)
	}
	if !living.Valid() || len(discover(t, pool, Edge)) != 1 {
		t.Fatal("the living edge was ended")
	}
}

func TestReaperEndsWhatWasMarkedAndTriesAgain(t *testing.T) {
	_, pool := database(t)
	log := losses{fail: errors.New("no log")}
	old := acquire(t, pool, Edge, "e")
	current := acquire(t, pool, Edge, "e")
	start(t, current.Run)
	stop := reap(t, pool, &log)
	eventually(t, "the reaper holds the lock", func() bool { return locks(t, pool) == 1 })
	if rows(t, pool) != 2 {
		t.Fatal("a row went without its EdgeLost")
	}
	stop()
	log.mu.Lock()
	log.fail = nil
	log.mu.Unlock()
	reap(t, pool, &log)
	eventually(t, "the old life's row is gone", func() bool { return rows(t, pool) == 1 })
	if got := log.list(); len(got) != 1 || got[0].Epoch != old.Epoch() {
		t.Fatalf("EdgeLost of %v", got)
	}
}

func locks(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(context.Background(), `
		SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPostgresAwayKillsNobody lets keepers and reaper lose Postgres for
// several times the life of a lease.
func TestPostgresAwayKillsNobody(t *testing.T) {
	url, direct := database(t)
	proxy := newProxy(t, direct.Config().ConnConfig.Host, direct.Config().ConnConfig.Port)
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Host, config.ConnConfig.Port = "127.0.0.1", proxy.port
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	var log losses
	k := acquire(t, pool, Edge, "e")
	start(t, k.Run)
	reap(t, pool, &log)
	eventually(t, "the reaper works", func() bool { return locks(t, direct) == 1 })

	proxy.hold(true)
	eventually(t, "the lease is no longer valid", func() bool { return !k.Valid() })
	until := time.Now().Add(2 * fast.Valid)
	eventually(t, "time has passed", func() bool { return time.Now().After(until) })
	proxy.hold(false)
	eventually(t, "the lease is renewed", k.Valid)
	eventually(t, "the reaper works again", func() bool { return locks(t, direct) == 1 })
	until = time.Now().Add(3 * fast.Valid)
	eventually(t, "the reaper has judged", func() bool { return time.Now().After(until) })
	if got := log.list(); len(got) != 0 || rows(t, direct) != 1 {
		t.Fatalf("EdgeLost of %v", got)
	}
	select {
	case <-k.Lost():
		t.Fatal("the lease is lost")
	default:
	}
}

// proxy passes bytes on, or breaks and refuses connections while it holds.
type proxy struct {
	port   uint16
	mu     sync.Mutex
	holds  bool
	active map[net.Conn]bool
}

func newProxy(t *testing.T, host string, port uint16) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{port: uint16(l.Addr().(*net.TCPAddr).Port), active: make(map[net.Conn]bool)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			if p.holds {
				in.Close()
				out.Close()
			}
			p.active[in], p.active[out] = true, true
			p.mu.Unlock()
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from)
				to.Close()
				from.Close()
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	t.Cleanup(func() { p.hold(true) })
	return p
}

func (p *proxy) hold(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = on
	if on {
		for c := range p.active {
			c.Close()
			delete(p.active, c)
		}
	}
}
