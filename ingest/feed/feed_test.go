package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/watch"
)

const partitions = 4

// limit ends what hangs.
const limit = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// A house is a log, a database and a projector between them.
type house struct {
	t        testing.TB
	brokers  []string
	pool     *pgxpool.Pool
	offsets  *eventlog.Admin
	appender *eventlog.Appender

	random   *rand.Rand
	sequence map[string]uint64
	bindings map[string][][]byte // by full JID
	epochs   map[string]uint64   // by edge
	written  []eventlog.Record
}

func newHouse(t testing.TB, brokers []string) *house {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	url := localtest.Postgres(t)
	if err := postgres.Migrate(ctx, url); err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, brokers: brokers, random: rand.New(rand.NewPCG(1, 2)), sequence: make(map[string]uint64), bindings: make(map[string][][]byte),
		epochs: map[string]uint64{"e1": 1, "e2": 1}}
	var err error
	if h.pool, err = pgxpool.New(ctx, url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.pool.Close)
	if err := eventlog.EnsureTopics(ctx, brokers, eventlog.TopicsOptions{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	if h.offsets, err = eventlog.NewAdmin(brokers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.offsets.Close)
	if h.appender, err = eventlog.New(eventlog.Options{Brokers: brokers, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	h.background(h.appender.Run)
	return h
}

// background runs f until the test ends, or stop is called.
func (h *house) background(f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			h.t.Error(err)
		}
	})
	stop = func() { cancel(); owned.Wait() }
	h.t.Cleanup(stop)
	return stop
}

// project folds the log into the views until the test ends.
func (h *house) project() {
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: h.brokers, Topic: topic.Account, Logger: quiet})
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := projector.New(projector.Options{Postgres: h.pool, Partitions: partitions, Tail: tailOf{tail}, Appender: appenderOf{h.appender}, Member: everything{}, Logger: quiet})
	if err != nil {
		h.t.Fatal(err)
	}
	h.background(p.Run)
}

// hub gives one that runs until the test ends, or it dies.
func (h *house) hub(o feed.Options) (hub *feed.Hub, die func()) {
	o.Postgres, o.Brokers, o.Offsets, o.Partitions, o.Logger = h.pool, h.brokers, h.offsets, partitions, quiet
	hub, err := feed.New(o)
	if err != nil {
		h.t.Fatal(err)
	}
	return hub, h.background(hub.Run)
}

// put appends records and gives the offset of the last.
func (h *house) put(records ...eventlog.Record) {
	h.t.Helper()
	var all sync.WaitGroup
	for _, r := range records {
		all.Add(1)
		h.appender.Append(r, true, func(_ topic.Position, err error) {
			if err != nil {
				h.t.Error(err)
			}
			all.Done()
		})
	}
	all.Wait()
}

// of gives a record of an event of an origin.
func (h *house) of(origin, account string, e *event.Event) eventlog.Record {
	h.sequence[origin]++
	e.Origin, e.Sequence, e.At = origin, h.sequence[origin], time.Now().UnixMicro()
	if len(e.Id) == 0 {
		id := uuid.Must(uuid.NewV7())
		e.Id = id[:]
	}
	value, err := event.Marshal(e)
	if err != nil {
		h.t.Fatal(err)
	}
	return eventlog.Record{Topic: topic.Account, Partition: topic.Partition(jid.MustBare(account), partitions), Key: []byte(account), Value: value,
		Headers: eventlog.KindHeader(event.KindOf(e))}
}

var people = []string{"juliet@localhost", "romeo@localhost", "nurse@localhost", "tybalt@localhost", "paris@verona.example"}

// create makes the accounts.
func (h *house) create() {
	for _, name := range people {
		h.put(h.of("edge/e9/1", name, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}}))
	}
}

// traffic appends random events with copies, latecomers, zombies and lost edges.
func (h *house) traffic(n int) {
	pick := func(from ...string) string { return from[h.random.IntN(len(from))] }
	for range n {
		account, resource, edge := pick(people...), pick("a", "b"), pick("e1", "e2")
		full, origin := account+"/"+resource, fmt.Sprintf("edge/%s/%d", edge, h.epochs[edge])
		e := new(event.Event)
		if known := h.bindings[full]; len(known) > 0 {
			e.Binding = known[max(0, len(known)-1-h.random.IntN(6)/4)] // sometimes an older one
		}
		said := &event.Presence{Show: pick("", "away", "dnd"), Status: pick("", "♥ & <x>"), Priority: int32(h.random.IntN(5))}
		switch h.random.IntN(12) {
		case 0, 1, 2:
			id := uuid.Must(uuid.NewV7())
			e.Id, e.Binding = id[:], nil
			e.Kind = &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: edge, Epoch: h.epochs[edge], Inherits: h.random.IntN(2) == 0}}
			h.bindings[full] = append(h.bindings[full], id[:])
		case 3:
			e.Kind = &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource, Presence: said}}
		case 4:
			e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource}}
		case 5:
			e.Kind = &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{Resource: resource, Invisible: h.random.IntN(2) == 0}}
		case 6:
			e.Kind = &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: "juliet@localhost/a", Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: "secret"}}}
		default:
			e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: said}}
		}
		r := h.of(origin, account, e)
		h.put(r)
		h.written = append(h.written, r)
		switch h.random.IntN(30) {
		case 0, 1, 2: // the broker took it twice, or an older one again
			h.put(r, h.written[h.random.IntN(len(h.written))])
		case 3:
			h.put(eventlog.Record{Topic: topic.Account, Partition: r.Partition, Key: r.Key, Value: []byte("garbage")})
		}
	}
}

// lose tells every partition that an edge is dead.
func (h *house) lose(edge string) {
	value, err := event.Marshal(&event.Event{At: time.Now().UnixMicro(), Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: h.epochs[edge]}}})
	h.epochs[edge]++
	if err != nil {
		h.t.Fatal(err)
	}
	for p := range int32(partitions) {
		h.put(eventlog.Record{Topic: topic.Account, Partition: p, Value: value})
	}
}

// A listener is somebody who hears a stream and writes down what.
type listener struct {
	t      testing.TB
	filter feed.Filter
	online map[string]string
	heard  map[int32][]string // by partition, changes in order
	at     feed.Vector
	stream *feed.Stream
}

func listen(t testing.TB, f feed.Filter) *listener {
	return &listener{t: t, filter: f, online: make(map[string]string), heard: make(map[int32][]string)}
}

func (l *listener) apply(c watch.Change) {
	if p := c.Presence; p != nil && p.Available {
		l.online[c.Account+"/"+p.Resource] = fmt.Sprint(p.Show, "|", p.Status, "|", p.Priority, "|", p.Since.UnixMicro())
	} else if p != nil {
		delete(l.online, c.Account+"/"+p.Resource)
	}
}

// open goes on where the listener is, with the text of its position.
func (l *listener) open(h *feed.Hub) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	if l.at != nil {
		at, err := feed.ParseVector(l.at.String(), partitions)
		if err != nil {
			l.t.Fatal(err)
		}
		l.at = at
	}
	stream, present, err := h.Open(ctx, l.filter, l.at)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, c := range present {
		l.apply(c)
	}
	l.stream = stream
	if l.at == nil {
		l.at = maps.Clone(stream.At())
	}
}

var errEnough = errors.New("enough")

// hears reads until done, or most changes, in one go cut wherever that is.
func (l *listener) hears(done func() bool, most int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), limit)
	defer cancel()
	for !done() && most > 0 {
		l.stream.Touch()
		// The rest of the log may change nothing: then only Touch tells of it.
		soon, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		err := l.stream.Next(soon, func(c watch.Change, at feed.Vector) error {
			l.at = maps.Clone(at)
			if c.Account == "" {
				return nil
			}
			l.apply(c)
			what := fmt.Sprint(c.Place, c.Account, c.At.UnixMicro())
			if c.Presence != nil {
				what += fmt.Sprint(*c.Presence)
			} else {
				what += fmt.Sprint(*c.Message)
			}
			l.heard[c.Partition] = append(l.heard[c.Partition], what)
			if most--; most == 0 {
				return errEnough
			}
			return nil
		})
		cancel()
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			l.t.Fatal(err)
		}
	}
}

// through tells that the listener is at the log's end.
func (l *listener) through(ends map[int32]int64) func() bool {
	return func() bool {
		for n, m := range l.at {
			if m.Offset+1 < ends[n] {
				return false
			}
		}
		return true
	}
}

func (h *house) ends() map[int32]int64 {
	ends, err := h.offsets.Ends(h.t.Context(), topic.Account)
	if err != nil {
		h.t.Fatal(err)
	}
	return ends
}

// views gives who is online by the projection, once it is at ends.
func (h *house) views(ends map[int32]int64, only func(account string) bool) map[string]string {
	h.t.Helper()
	deadline := time.Now().Add(limit)
	for n, end := range ends {
		for next := int64(-1); next < end; {
			_ = h.pool.QueryRow(h.t.Context(), `SELECT next_offset FROM views.projected WHERE partition = $1`, n).Scan(&next)
			if time.Now().After(deadline) {
				h.t.Fatalf("partition %d is projected to %d, not to %d", n, next, end)
			}
		}
	}
	rows, err := h.pool.Query(h.t.Context(), `SELECT account, resource, show, status, priority, since FROM views.resource r WHERE available
AND NOT EXISTS (SELECT FROM views.hidden d WHERE d.account = r.account AND d.resource = r.resource AND d.viewer = '')`)
	if err != nil {
		h.t.Fatal(err)
	}
	defer rows.Close()
	online := make(map[string]string)
	for rows.Next() {
		var account, resource, show, status string
		var priority int16
		var since time.Time
		if err := rows.Scan(&account, &resource, &show, &status, &priority, &since); err != nil {
			h.t.Fatal(err)
		}
		if only(account) {
			online[account+"/"+resource] = fmt.Sprint(show, "|", status, "|", priority, "|", since.UnixMicro())
		}
	}
	return online
}

// settled is ends once nothing more is appended by reactions.
func (h *house) settled() map[int32]int64 {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		ends := h.ends()
		h.views(ends, func(string) bool { return false })
		var waiting int
		if err := h.pool.QueryRow(h.t.Context(), `SELECT count(*) FROM run.reaction`).Scan(&waiting); err != nil {
			h.t.Fatal(err)
		}
		if waiting == 0 && maps.Equal(ends, h.ends()) {
			return ends
		}
	}
	h.t.Fatal("the log does not come to rest")
	return nil
}

// Whoever hears a stream hears every change once, whatever becomes of the
// processes that tell it, and what it adds up is what the views have.
func TestStreamsAddUpToTheViews(t *testing.T) {
	localtest.Kafkas(t, func(t *testing.T, brokers []string) {
		h := newHouse(t, brokers)
		h.project()
		h.create()
		h.traffic(100)
		first, _ := h.hub(feed.Options{CheckpointEvery: 30})
		whole := feed.Filter{Domain: "localhost", Messages: true}
		steady, hopping, one := listen(t, whole), listen(t, whole), listen(t, feed.Filter{Account: "romeo@localhost"})
		steady.open(first)
		hopping.open(first)
		one.open(first)
		second, die := h.hub(feed.Options{CheckpointEvery: 30})
		for round := range 6 {
			h.traffic(60)
			if round == 2 {
				h.lose("e1")
			}
			// It hears some, perhaps half of what an edge's death did, and goes to
			// another process; in the meantime more happens.
			hopping.hears(hopping.through(h.ends()), 1+h.random.IntN(12))
			hopping.stream.Close()
			h.traffic(20)
			if round%2 == 1 {
				die()
				second, die = h.hub(feed.Options{CheckpointEvery: 30})
			}
			hopping.open(second)
		}
		h.lose("e2")
		h.traffic(30)
		ends := h.settled()
		for _, l := range []*listener{steady, hopping, one} {
			l.hears(l.through(ends), 1<<30)
		}
		for n := range int32(partitions) {
			if !slices.Equal(steady.heard[n], hopping.heard[n]) {
				t.Errorf("partition %d: who stayed heard\n%q\nwho went from process to process\n%q", n, steady.heard[n], hopping.heard[n])
			}
		}
		local := func(account string) bool { return account != "paris@verona.example" }
		views := h.views(ends, local)
		if len(views) == 0 || !maps.Equal(steady.online, views) {
			t.Errorf("the streams give %v, the views have %v", steady.online, views)
		}
		if mine := h.views(ends, func(a string) bool { return a == "romeo@localhost" }); !maps.Equal(one.online, mine) {
			t.Errorf("the stream of one gives %v, the views have %v", one.online, mine)
		}
		// A latecomer gets the present.
		late := listen(t, feed.Filter{Domain: "localhost"})
		late.open(second)
		if !maps.Equal(late.online, views) {
			t.Errorf("the present is %v, the views have %v", late.online, views)
		}
		// From the very beginning it all adds up to the same.
		beginning := listen(t, feed.Filter{Domain: "localhost"})
		beginning.at = feed.Vector{}
		for n := range int32(partitions) {
			beginning.at[n] = feed.Mark{Offset: -1}
		}
		beginning.open(second)
		beginning.hears(beginning.through(ends), 1<<30)
		if !maps.Equal(beginning.online, views) {
			t.Errorf("the whole log gives %v, the views have %v", beginning.online, views)
		}
		var kept int
		if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.feed_checkpoint WHERE next_offset > 0`).Scan(&kept); err != nil || kept == 0 {
			t.Errorf("%d checkpoints are kept, %v", kept, err)
		}
		for _, l := range []*listener{steady, hopping, one, late, beginning} {
			l.stream.Close()
		}
	})
}

type tailOf struct{ *eventlog.Tail }

func (t tailOf) Run(ctx context.Context, handle func(context.Context, projector.Batch) error) error {
	return t.Tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		records := make([]projector.Fetched, len(b.Records))
		for i, r := range b.Records {
			records[i] = projector.Fetched{Offset: r.Offset, Time: r.Time, Key: r.Key, Value: r.Value}
		}
		return handle(ctx, projector.Batch{Partition: b.Partition, Records: records, HighWater: b.HighWater})
	})
}

type appenderOf struct{ *eventlog.Appender }

func (a appenderOf) TryAppend(r projector.Record, keep bool, done func(topic.Position, error)) bool {
	return a.Appender.TryAppend(eventlog.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}, keep, done)
}
func (appenderOf) Refused(err error) bool { return errors.Is(err, eventlog.ErrRefused) }

// everything is a member that has every partition.
type everything struct{}

func (everything) Run(ctx context.Context, assigned func(context.Context, []int32)) error {
	assigned(ctx, []int32{0, 1, 2, 3})
	<-ctx.Done()
	return nil
}
