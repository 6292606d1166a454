package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
)

// discard is for who has nothing to say.
var discard = slog.New(slog.DiscardHandler)

// partitions of a test's topic.
const partitions = 4

// A house is what a door stands in: a Postgres and a Kafka of its own.
type house struct {
	t       testing.TB
	pool    *pgxpool.Pool
	brokers []string
	doors   int
}

func newHouse(t testing.TB) *house {
	t.Helper()
	return newHouseOn(t, localtest.Kafka(t))
}

func newHouseOn(t testing.TB, brokers []string) *house {
	t.Helper()
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	h := &house{t: t, pool: pool, brokers: brokers}
	admin := h.admin()
	if err := admin.EnsureTopics(t.Context(), eventlog.TopicsOptions{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) admin() *eventlog.Admin {
	a, err := eventlog.NewAdmin(h.brokers)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(a.Close)
	return a
}

func (h *house) exec(sql string, args ...any) {
	h.t.Helper()
	if _, err := h.pool.Exec(h.t.Context(), sql, args...); err != nil {
		h.t.Fatalf("%s: %v", sql, err)
	}
}

// accounts makes accounts that exist.
func (h *house) accounts(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.exec(`INSERT INTO auth.account VALUES ($1, true, '', 1, '', '', '', 1, '', '')`, name)
	}
}

// key makes a key.
func (h *house) key(scopes ...string) string {
	h.t.Helper()
	return h.keyOf(Key{Domain: "localhost", Scopes: scopes})
}

func (h *house) keyOf(k Key) string {
	h.t.Helper()
	token, _, err := AddKey(h.t.Context(), h.pool, k)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// A door is a server under test, with a lease.
type door struct {
	*Server
	client
	web  *httptest.Server
	kill func() // ends its appender, as if the process died
}

// door opens one more.
func (h *house) door(change ...func(*Options)) *door {
	h.t.Helper()
	return h.doorWith(func(*eventlog.Options) {}, change...)
}

// doorWith opens one whose client of the log is another.
func (h *house) doorWith(log func(*eventlog.Options), change ...func(*Options)) *door {
	h.t.Helper()
	h.doors++
	options := eventlog.Options{Brokers: h.brokers, Topics: []string{topic.Account}, Logger: discard}
	log(&options)
	appender, err := eventlog.New(options)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		appender.Run(ctx) // gives an error only to what is appended
	}()
	d := &door{kill: sync.OnceFunc(func() { stop(); <-ended })}
	h.t.Cleanup(d.kill)
	o := Options{
		ID: fmt.Sprintf("door-%d", h.doors), Epoch: uint64(h.doors), Domain: "localhost", Postgres: h.pool,
		Appender: appender, Partitions: partitions, Offsets: h.admin(),
		Tail: func() (*eventlog.Tail, error) {
			return eventlog.NewTail(eventlog.TailOptions{Brokers: h.brokers, Topic: topic.Account, Logger: discard})
		},
		Compose: func(children []byte, t event.MessageType) (*event.Message, error) {
			return edge.Compose(children, t, 64<<10)
		},
		Logger: discard,
	}
	for _, c := range change {
		c(&o)
	}
	h.exec(`INSERT INTO run.lease VALUES ('http', $1, $2, '', now() + interval '1 hour')`, o.ID, int64(o.Epoch))
	if d.Server, err = New(o); err != nil {
		h.t.Fatal(err)
	}
	d.web = httptest.NewServer(d.Handler())
	h.t.Cleanup(d.web.Close)
	d.base = d.web.URL
	return d
}

// die takes a door's lease, as a reaper does when its process is gone.
func (h *house) die(d *door) {
	h.t.Helper()
	h.exec(`DELETE FROM run.lease WHERE id = $1`, d.opts.ID)
}

// A record is an event with its place.
type record struct {
	account string
	offset  int64
	*event.Event
}

// log gives all that is in the topic account, of each partition in order.
func (h *house) log() []record {
	h.t.Helper()
	admin := h.admin()
	ends, err := admin.Ends(h.t.Context(), topic.Account)
	if err != nil {
		h.t.Fatal(err)
	}
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: h.brokers, Topic: topic.Account, Logger: discard})
	if err != nil {
		h.t.Fatal(err)
	}
	left := int64(0)
	for p, end := range ends {
		if end > 0 {
			left += end
			tail.Assign(p, 0)
		}
	}
	var all []record
	if left == 0 {
		tail.Close()
		return nil
	}
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	err = tail.Run(ctx, func(_ context.Context, b eventlog.Batch) error {
		for _, r := range b.Records {
			e, err := event.Decode(r.Value)
			if err != nil {
				return err
			}
			all = append(all, record{string(r.Key), r.Offset, e})
		}
		if left -= int64(len(b.Records)); left == 0 {
			cancel()
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// problemOf gives the code of a problem, "" if it is none.
func (r reply) problem() Code {
	var p Problem
	if r.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(r.body, &p) != nil || p.Status != r.status {
		return ""
	}
	return p.Code
}

// read reads an answer.
func read[T any](t testing.TB, r reply) (value T) {
	t.Helper()
	if err := json.Unmarshal(r.body, &value); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return value
}

// keyID gives the id of a key.
func keyID(token string) string { return strings.Split(token, "_")[1] }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
