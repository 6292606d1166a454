package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/awaited/awaitedtest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
)

// A library is what reads are answered from, and a door that answers.
type library struct {
	t        *testing.T
	brokers  []string
	pool     *pgxpool.Pool
	history  driver.Conn
	offsets  *eventlog.Admin
	appender *eventlog.Appender
	door     *client
	server   *httptest.Server
	away     atomic.Bool // Postgres takes no connections
}

func newLibrary(t *testing.T, brokers []string, history bool) *library {
	ctx := t.Context()
	address := localtest.Postgres(t)
	if err := postgres.Migrate(ctx, address); err != nil {
		t.Fatal(err)
	}
	l := &library{t: t, brokers: brokers}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if l.away.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	if l.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.pool.Close)
	if history {
		l.history = localtest.Tables(t, localtest.ClickHouse(t))
	}
	if err := eventlog.EnsureTopics(ctx, brokers, eventlog.TopicsOptions{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	if l.offsets, err = eventlog.NewAdmin(brokers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.offsets.Close)
	if l.appender, err = eventlog.New(eventlog.Options{Brokers: brokers, Logger: discard}); err != nil {
		t.Fatal(err)
	}
	l.background(l.appender.Run)
	l.server = l.open(Reads{})
	l.door = &client{base: l.server.URL, key: l.key(ReadPresence, ReadHistory, ReadEvents)}
	return l
}

// background runs f until the test ends, or stop is called.
func (l *library) background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			l.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	l.t.Cleanup(stop)
	return stop
}

// open gives a door that serves until the test ends.
func (l *library) open(reads Reads) *httptest.Server { return l.serve(l.options(reads)) }

func (l *library) options(reads Reads) Options {
	o := Options{ID: "http-1", Epoch: 1, Domain: "localhost", Postgres: l.pool, Appender: l.appender, Partitions: partitions,
		Offsets: l.offsets, Reads: reads, Limits: Limits{KeyTTL: time.Hour}, Logger: discard,
		Tail: func() (*eventlog.Tail, error) {
			return eventlog.NewTail(eventlog.TailOptions{Brokers: l.brokers, Topic: topic.Account, Logger: discard})
		},
		Compose: func([]byte, event.MessageType) (*event.Message, error) {
			return nil, errors.New("nothing is sent here")
		}}
	o.Reads.History = l.history
	return o
}

func (l *library) serve(o Options) *httptest.Server {
	s, err := New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	server := httptest.NewServer(s.Handler())
	l.t.Cleanup(server.Close)
	return server
}

func (l *library) key(scopes ...string) string {
	token, _, err := AddKey(l.t.Context(), l.pool, Key{Name: "reads", Domain: "localhost", Scopes: scopes})
	if err != nil {
		l.t.Fatal(err)
	}
	return token
}

// execute runs statements on the projection.
func (l *library) execute(statements ...string) {
	l.t.Helper()
	for _, statement := range statements {
		if _, err := l.pool.Exec(l.t.Context(), statement); err != nil {
			l.t.Fatalf("%s: %v", statement, err)
		}
	}
}

func partitionOf(account string) int32 { return topic.Partition(jid.MustBare(account), partitions) }

// account puts accounts into the projection, which stands at next.
func (l *library) account(next int, names ...string) {
	l.t.Helper()
	for _, name := range names {
		n := partitionOf(name)
		l.execute(fmt.Sprintf(`INSERT INTO views.account (account, partition, created_offset, created_at) VALUES ('%s', %d, 0, '2026-11-24T18:00:00Z')`, name, n),
			fmt.Sprintf(`INSERT INTO views.projected (partition, next_offset, marks, fold_version, updated_at) VALUES (%d, %d, '', %d, now())
ON CONFLICT (partition) DO UPDATE SET next_offset = EXCLUDED.next_offset`, n, next, account.Version))
	}
}

// resource puts an available resource into the projection.
func (l *library) resource(account, resource, show, status string, priority int) {
	l.t.Helper()
	if _, err := l.pool.Exec(l.t.Context(), `INSERT INTO views.resource (account, resource, partition, binding, edge, epoch, available, show, status, priority,
payload, lang, stanza_id, version, bound_offset, since) VALUES ($1, $2, $3, gen_random_uuid(), 'edge-1', 1, true, $4, $5, $6, '', '', '', 5, 4, '2026-11-24T18:00:00.000001Z')`,
		account, resource, partitionOf(account), show, status, priority); err != nil {
		l.t.Fatal(err)
	}
}

// get asks and wants a status.
func (l *library) get(path string, status int, into any) reply {
	l.t.Helper()
	got := l.door.do(l.t, "GET", path, "", status/100 == 4)
	if got.status != status {
		l.t.Fatalf("GET %s: %d %s", path, got.status, got.body)
	}
	if into != nil {
		if err := json.Unmarshal(got.body, into); err != nil {
			l.t.Fatal(err)
		}
	}
	return got
}

// An answer counts what its client has seen already, or says that it does not.
func TestReadsWaitForAPosition(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), true)
	n := partitionOf("juliet@localhost")
	for range 8 {
		done := make(chan error, 1)
		l.appender.Append(eventlog.Record{Topic: topic.Account, Partition: n, Value: []byte("x")}, true, func(_ topic.Position, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	l.account(5, "juliet@localhost")
	l.execute(fmt.Sprintf(`INSERT INTO run.history (partition, next_offset) VALUES (%d, 4)`, n))
	at := func(offset int) string { return fmt.Sprintf("min_position=%d:%d", n, offset) }
	const base = "/v1/accounts/juliet@localhost/"
	for _, path := range []string{"presence", "roster", "friends/online"} {
		l.get(base+path+"?"+at(4), 200, nil)
	}
	var h historyView
	l.get(base+"history?"+at(3), 200, &h)
	var c countersView
	l.get(base+"counters?"+at(3), 200, &c)
	if want := fmt.Sprintf("%d:3", n); h.Position != want || c.Position != want {
		t.Errorf("history stands at %s, counters at %s, want %s", h.Position, c.Position, want)
	}
	l.get(base+"history?min_position=3", 200, nil) // as a message's id
	// It waits until the projection is there.
	answers := make(chan reply)
	waiting := newWaiter(l.pool)
	go func() { answers <- l.door.do(t, "GET", base+"presence?"+at(6), "", false) }()
	waiting.until(t)
	l.execute(fmt.Sprintf(`UPDATE views.projected SET next_offset = 7 WHERE partition = %d`, n))
	if got := <-answers; got.status != 200 || !strings.Contains(string(got.body), fmt.Sprintf(`"position":"%d:6"`, n)) {
		t.Errorf("%d %s", got.status, got.body)
	}
	told := awaitedtest.Hear(t, l.pool)
	for _, path := range []string{"presence", "counters"} {
		if got := l.get(base+path+"?"+at(7), 503, nil); !strings.Contains(string(got.body), `"behind"`) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s %v", got.body, got.header)
		}
	}
	// The writer of history is told what its reader waits for.
	if got, want := told(), []string{fmt.Sprint(n, 8)}; !slices.Equal(got, want) {
		t.Errorf("told %q, not %q", got, want)
	}
	for _, text := range []string{"", "100", "one", "-2", "a:b", "9:1", fmt.Sprintf("%d:1000", n), "1:1,1:1"} {
		if got := l.get(base+"presence?min_position="+url.QueryEscape(text), map[bool]int{true: 200, false: 400}[text == ""], nil); text != "" && !strings.Contains(string(got.body), "invalid-parameter") {
			t.Errorf("%q: %s", text, got.body)
		}
	}
}

// A waiter tells that a request has begun to wait: it has asked where the
// projection stands.
type waiter struct {
	pool  *pgxpool.Pool
	asked int64
}

func newWaiter(pool *pgxpool.Pool) *waiter {
	return &waiter{pool, pool.Stat().AcquireCount()}
}

func (w *waiter) until(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); w.pool.Stat().AcquireCount() < w.asked+4; {
		if time.Now().After(deadline) {
			t.Fatal("nothing asks the projection")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestReadsRefuseWhatTheyCannotRead(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), true)
	l.account(5, "juliet@localhost")
	const base = "/v1/accounts/juliet@localhost"
	roster := cursor("roster", "a@localhost")
	for path, want := range map[string]string{
		"/v1/accounts/nobody@localhost/presence":                                "404 not-found",
		"/v1/accounts/nobody@localhost/history":                                 "404 not-found",
		"/v1/accounts/nobody@localhost/counters":                                "404 not-found",
		"/v1/accounts/juliet@elsewhere/presence":                                "403 domain-not-allowed",
		"/v1/accounts/localhost/presence":                                       "422 bad-jid",
		"/v1/accounts/@localhost/roster":                                        "422 bad-jid",
		"/v1/accounts/a%20b@localhost/roster":                                   "422 bad-jid",
		"/v1/accounts/juliet@localhost%2Fbalcony/presence":                      "422 bad-jid",
		"/v1/accounts/" + strings.Repeat("a", 2000) + "@localhost/presence":     "422 bad-jid",
		"/v1/accounts//presence":                                                "404 not-found",
		base + "/roster?limit=0":                                                "400 invalid-parameter",
		base + "/roster?limit=1001":                                             "400 invalid-parameter",
		base + "/roster?limit=":                                                 "400 invalid-parameter",
		base + "/roster?limit=ten":                                              "400 invalid-parameter",
		base + "/roster?limit=1&limit=2":                                        "400 invalid-parameter",
		base + "/roster?cursor=":                                                "400 invalid-parameter",
		base + "/roster?cursor=%25":                                             "400 invalid-parameter",
		base + "/roster?cursor=WyJhIl0":                                         "400 invalid-parameter",
		base + "/friends/online?cursor=" + roster:                               "400 invalid-parameter",
		base + "/history?cursor=" + cursor("history, newest", "-1"):             "400 invalid-parameter",
		base + "/history?order=oldest&cursor=" + cursor("history, newest", "1"): "400 invalid-parameter",
		base + "/history?cursor=" + cursor("history, newest", "x' OR 1"):        "400 invalid-parameter",
		base + "/counters?cursor=" + cursor("counters by day", "yesterday"):     "400 invalid-parameter",
		base + "/roster?before=1":                                               "400 unknown-parameter",
		base + "/history?with=@":                                                "400 invalid-parameter",
		base + "/history?from=yesterday":                                        "400 invalid-parameter",
		base + "/history?from=0001-01-01T00:00:00Z":                             "400 invalid-parameter",
		base + "/history?to=9999-01-01T00:00:00Z":                               "400 invalid-parameter",
		base + "/history?order=random":                                          "400 invalid-parameter",
		base + "/counters?from=2026-11-02&to=2026-11-01":                        "400 invalid-parameter",
		base + "/counters?to=2200-01-01":                                        "400 invalid-parameter",
		base + "/counters?from=2026-11-31":                                      "400 invalid-parameter",
		base + "/counters?by=month":                                             "400 invalid-parameter",
		"/v1/stats?domain=elsewhere":                                            "400 unknown-parameter",
		base + "/roster?%zz":                                                    "400 invalid-parameter",
	} {
		got := l.door.do(t, "GET", path, "", true)
		var p Problem
		if err := json.Unmarshal(got.body, &p); err != nil || fmt.Sprint(got.status, " ", p.Code) != want {
			t.Errorf("%.90s: %d %s, want %s", path, got.status, got.body, want)
		}
	}
	few := &client{base: l.server.URL, key: l.key(SendMessages)}
	for path := range map[string]string{base + "/presence": ReadPresence, base + "/friends/online": ReadPresence, base + "/roster": ReadPresence, base + "/counters": ReadHistory, base + "/history": ReadHistory, "/v1/stats": ReadPresence, "/v1/events": ReadEvents} {
		if got := few.do(t, "GET", path, "", false); got.status != 403 || !strings.Contains(string(got.body), "missing-scope") {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
		if got := (&client{base: l.server.URL}).do(t, "GET", path, "", false); got.status != 401 {
			t.Errorf("%s without a key: %d %s", path, got.status, got.body)
		}
	}
}

// Who is away is named by 503, and when to ask again.
func TestReadsWhileSomebodyIsAway(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), true)
	l.account(5, "juliet@localhost")
	const base = "/v1/accounts/juliet@localhost"
	gone := func(path string) {
		t.Helper()
		if got := l.get(path, 503, nil); !strings.Contains(string(got.body), `"unavailable"`) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: %s %v", path, got.body, got.header)
		}
	}
	gone("/v1/events") // nobody follows the log here
	history := l.history
	l.history = nil
	without := l.open(Reads{})
	l.history = history
	l.door.base = without.URL
	gone(base + "/history")
	l.door.base = l.server.URL
	l.get(base+"/history", 200, nil)
	l.history.Close()
	gone(base + "/history")
	gone(base + "/counters")
	l.get(base+"/presence", 200, nil) // needs no history
	l.away.Store(true)
	l.pool.Reset() // its connections end
	for _, path := range []string{"/presence", "/friends/online", "/roster", "/roster?min_position=0:0"} {
		gone(base + path)
	}
	gone("/v1/stats")
	l.away.Store(false)
	l.get(base+"/presence", 200, nil)
}
