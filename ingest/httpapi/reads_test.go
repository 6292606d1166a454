package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/account"
	historytables "github.com/rollcall/rollcall/schema/clickhouse"
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
		l.tables(localtest.ClickHouse(t))
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

func (l *library) tables(address string) {
	ctx := l.t.Context()
	u, err := url.Parse(address)
	if err != nil {
		l.t.Fatal(err)
	}
	database := strings.TrimPrefix(u.Path, "/")
	if err := historytables.Migrate(ctx, u.Host, database); err != nil {
		l.t.Fatal(err)
	}
	o, err := historytables.Options(u.Host, database)
	if err == nil {
		l.history, err = clickhouse.Open(o)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.history.Close() })
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

func TestPresenceAndFriendsAndRoster(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	l.account(8, "juliet@localhost", "romeo@localhost", "nurse@localhost", "tybalt@localhost", "ödön@localhost")
	l.resource("juliet@localhost", "balcony", "away", "♥ \"quoted\"", 5)
	l.resource("juliet@localhost", "chamber", "", "", 7)
	l.resource("nurse@localhost", "hall", "", "", 0)
	l.resource("tybalt@localhost", "street", "dnd", "", -1)
	l.execute(`INSERT INTO views.hidden VALUES ('tybalt@localhost', 'street', '')`,
		`UPDATE views.account SET left_at = '2026-11-24T19:00:00Z', left_status = 'gone' WHERE account IN ('tybalt@localhost', 'romeo@localhost')`,
		`UPDATE views.account SET left_at = NULL WHERE account = 'nurse@localhost'`)
	for contact, state := range map[string]int{"juliet@localhost": 3, "nurse@localhost": 2, "tybalt@localhost": 2} { // they let romeo see
		l.execute(fmt.Sprintf(`INSERT INTO views.roster_item VALUES ('%s', 'romeo@localhost', '', '{}', %d, 1, false, NULL)`, contact, state))
	}
	l.execute(`INSERT INTO views.roster_item VALUES
('romeo@localhost', 'juliet@localhost', 'Juliet', '{Friends,Capulets}', 3, 6, false, NULL),
('romeo@localhost', 'nurse@localhost', '', '{}', 1, 5, false, NULL),
('romeo@localhost', 'paris@localhost', '', '{}', 20, 4, false, NULL),
('romeo@localhost', 'rosaline@localhost', '', '{}', 0, 3, true, NULL),
('romeo@localhost', 'tybalt@localhost', '', '{}', 0, 2, false, NULL)`)

	var p presenceView
	l.get("/v1/accounts/juliet@localhost/presence", 200, &p)
	if !p.Available || len(p.Resources) != 2 || p.Left != nil || p.Position != fmt.Sprintf("%d:7", partitionOf("juliet@localhost")) ||
		p.Resources[0].Resource != "chamber" || p.Resources[1].Status != "♥ \"quoted\"" || p.Resources[1].Show != "away" || p.Resources[1].Since.Nanosecond() != 1000 {
		t.Errorf("juliet: %+v", p)
	}
	for name, left := range map[string]bool{"tybalt@localhost": true, "romeo@localhost": true, "ödön@localhost": false} {
		p = presenceView{}
		l.get("/v1/accounts/"+url.PathEscape(name)+"/presence", 200, &p)
		if p.Available || len(p.Resources) != 0 || (p.Left != nil) != left || left && p.Left.Status != "gone" {
			t.Errorf("%s: %+v", name, p)
		}
	}

	var seen []string
	pages := 0
	for next := ""; pages == 0 || next != ""; pages++ {
		var f friendsView
		l.get("/v1/accounts/romeo@localhost/friends/online?limit=1"+next, 200, &f)
		for _, r := range f.Friends {
			seen = append(seen, r.Contact+"/"+r.Resource)
		}
		if next = f.Next; next != "" {
			next = "&cursor=" + next
		}
	}
	if want := "[juliet@localhost/balcony juliet@localhost/chamber nurse@localhost/hall]"; fmt.Sprint(seen) != want || pages != 3 {
		t.Errorf("romeo sees %v on %d pages, want %s", seen, pages, want)
	}

	var all []itemView
	for next := "?limit=3"; next != ""; {
		var page rosterView
		l.get("/v1/accounts/romeo@localhost/roster"+next, 200, &page)
		all = append(all, page.Items...)
		if next = page.Next; next != "" {
			next = "?limit=3&cursor=" + next
		}
	}
	text, err := json.Marshal(all)
	if want := `[{"contact":"juliet@localhost","name":"Juliet","groups":["Friends","Capulets"],"subscription":"both","ask":false,"approved":false,"version":6},` +
		`{"contact":"nurse@localhost","groups":[],"subscription":"to","ask":false,"approved":false,"version":5},` +
		`{"contact":"paris@localhost","groups":[],"subscription":"none","ask":true,"approved":true,"version":4},` +
		`{"contact":"tybalt@localhost","groups":[],"subscription":"none","ask":false,"approved":false,"version":2}]`; err != nil || string(text) != want {
		t.Errorf("romeo's roster is\n%s, want\n%s", text, want)
	}
}

func TestCountersAndHistory(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), true)
	l.account(100, "juliet@localhost", "quiet@localhost")
	ctx := t.Context()
	for i := range 25 {
		kind, peer := "message_accepted", "romeo@localhost/orchard"
		if i%5 == 0 {
			kind, peer = "message_sent", "nurse@localhost"
		}
		if err := l.history.Exec(ctx, `INSERT INTO events (account, partition, offset, kind, at, origin, sequence, id, accepted, archived, resource, peer, message_type, stanza_id, body)
VALUES ('juliet@localhost', 2, ?, ?, fromUnixTimestamp64Micro(?), 'edge/e/1', ?, generateUUIDv4(), generateUUIDv4(), true, 'balcony', ?, 'chat', ?, ?)`,
			10+i, kind, time.Date(2026, 11, 20+i/10, 12, i, 0, 0, time.UTC).UnixMicro(), i, peer, fmt.Sprint("m", i), fmt.Sprint("line ", i, " ' \\ ♥")); err != nil {
			t.Fatal(err)
		}
	}
	// What juliet refused is in nobody's archive and not counted.
	if err := l.history.Exec(ctx, `INSERT INTO events (account, partition, offset, kind, at, origin, sequence, archived, peer, reference, reason)
VALUES ('juliet@localhost', 2, 60, 'message_withheld', fromUnixTimestamp64Micro(?), 'p/2', 11, true, 'romeo@localhost', 11, 'refused')`,
		time.Date(2026, 11, 20, 12, 1, 0, 0, time.UTC).UnixMicro()); err != nil {
		t.Fatal(err)
	}

	page := func(query string) (ids []string, next string) {
		t.Helper()
		var h historyView
		l.get("/v1/accounts/juliet@localhost/history"+query, 200, &h)
		for _, m := range h.Messages {
			ids = append(ids, m.ID)
		}
		return ids, h.Next
	}
	for order, want := range map[string]string{"newest": "[34 33 32 31 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 10]", "oldest": "[10 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34]"} {
		var all []string
		pages := 0
		for next := ""; pages == 0 || next != ""; pages++ {
			ids, cursor := page("?limit=10&order=" + order + next)
			all = append(all, ids...)
			if next = cursor; next != "" {
				next = "&cursor=" + next
			}
		}
		if fmt.Sprint(all) != want || pages != 3 {
			t.Errorf("%s first, on %d pages: %v, want %s", order, pages, all, want)
		}
	}
	for query, want := range map[string]string{
		"?with=nurse@localhost":                                     "[30 25 20 15 10]",
		"?with=romeo@localhost/orchard&limit=2":                     "[34 33]",
		"?with=romeo@localhost/elsewhere":                           "[]",
		"?with=%C3%B6d%C3%B6n@localhost":                            "[]",
		"?from=2026-11-22T12:22:00Z":                                "[34 33 32]",
		"?to=2026-11-20T12:03:00Z":                                  "[12 10]",
		"?from=2026-11-22T13:22:00%2B01:00&to=2026-11-22T12:23:00Z": "[32]",
	} {
		if ids, _ := page(query); fmt.Sprint(ids) != want {
			t.Errorf("history%s: %v, want %s", query, ids, want)
		}
	}
	var h historyView
	l.get("/v1/accounts/juliet@localhost/history?limit=1", 200, &h)
	if m := h.Messages[0]; m.Body != "line 24 ' \\ ♥" || m.Direction != "received" || m.PeerResource != "orchard" || m.MessageID != "m24" || m.Type != "chat" {
		t.Errorf("%+v", m)
	}

	var c countersView
	l.get("/v1/accounts/juliet@localhost/counters?from=2026-11-01&to=2026-11-30", 200, &c)
	if c.Totals.Sent != 5 || c.Totals.Received != 19 || len(c.Days) != 3 || c.Days[0].Received != 7 || c.Days[2].Day != "2026-11-22" || c.Unread != 19 {
		t.Errorf("%+v", c)
	}
	var days []string
	for next := "&limit=2"; next != ""; {
		var c countersView
		l.get("/v1/accounts/juliet@localhost/counters?from=2026-11-20&to=2026-11-22"+next, 200, &c)
		for _, d := range c.Days {
			days = append(days, d.Day)
		}
		if c.Totals.Sent != 5 {
			t.Errorf("totals of a page: %+v", c.Totals)
		}
		if next = c.Next; next != "" {
			next = "&limit=2&cursor=" + next
		}
	}
	if fmt.Sprint(days) != "[2026-11-20 2026-11-21 2026-11-22]" {
		t.Errorf("days %v", days)
	}
	var peers []countersOf
	for next := "&limit=1"; next != ""; {
		var c countersView
		l.get("/v1/accounts/juliet@localhost/counters?by=peer&from=2026-11-01&to=2026-11-30"+next, 200, &c)
		peers = append(peers, c.Peers...)
		if next = c.Next; next != "" {
			next = "&limit=1&cursor=" + next
		}
	}
	if fmt.Sprint(peers) != "[{nurse@localhost 5 0} {romeo@localhost 0 19}]" {
		t.Errorf("peers %v", peers)
	}
	l.get("/v1/accounts/quiet@localhost/counters", 200, &c)
	l.get("/v1/accounts/quiet@localhost/history", 200, &h)
}

func TestStats(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	l.account(0, "juliet@localhost", "romeo@localhost", "paris@elsewhere")
	l.resource("juliet@localhost", "balcony", "", "", 0)
	l.resource("juliet@localhost", "chamber", "", "", 0)
	l.resource("romeo@localhost", "orchard", "", "", 0)
	l.resource("paris@elsewhere", "hall", "", "", 0)
	l.execute(`INSERT INTO views.hidden VALUES ('romeo@localhost', 'orchard', '')`)
	n := partitionOf("juliet@localhost")
	for range 3 {
		done := make(chan error, 1)
		l.appender.Append(eventlog.Record{Topic: topic.Account, Partition: n, Value: []byte("x")}, true, func(_ topic.Position, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	l.execute(fmt.Sprintf(`UPDATE views.projected SET next_offset = 2 WHERE partition = %d`, n))
	l.execute(`INSERT INTO run.lease (kind, id, epoch, address, expires_at, lost, domain) VALUES
		('edge', 'edge-2', 7, 'a:1', now() + interval '1 h', false, 'localhost'),
		('edge', 'gone', 8, 'a:1', now() + interval '1 h', true, 'localhost'),
		('edge', 'late', 9, 'a:1', now() - interval '1 s', false, 'localhost'),
		('edge', 'other', 10, 'a:1', now() + interval '1 h', false, 'elsewhere')`)
	var got statsView
	l.get("/v1/stats", 200, &got)
	position := make(feed.Vector)
	for p := range int32(partitions) {
		position[p] = feed.Mark{Offset: -1}
	}
	position[n] = feed.Mark{Offset: 1}
	if want := (statsView{Domain: "localhost", Accounts: 2, Online: onlineView{1, 2}, Edges: []edgeView{{"edge-1", 3, 2}, {"edge-2", 0, 0}}, Lag: lagView{1, 3},
		Position: position.String()}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
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
	l.get(base+"history?min_position=3", 200, nil) // as a message's stanza_id
	// It waits until the projection is there.
	answers := make(chan reply)
	waiting := newWaiter(l.pool)
	go func() { answers <- l.door.do(t, "GET", base+"presence?"+at(6), "", false) }()
	waiting.until(t)
	l.execute(fmt.Sprintf(`UPDATE views.projected SET next_offset = 7 WHERE partition = %d`, n))
	if got := <-answers; got.status != 200 || !strings.Contains(string(got.body), fmt.Sprintf(`"position":"%d:6"`, n)) {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, path := range []string{"presence", "counters"} {
		if got := l.get(base+path+"?"+at(7), 503, nil); !strings.Contains(string(got.body), `"behind"`) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s %v", got.body, got.header)
		}
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
