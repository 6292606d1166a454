package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// feed gives a hub that follows the log until the test ends, or it dies.
func (l *library) feed(o feed.Options) (hub *feed.Hub, die func()) {
	o.Postgres, o.Brokers, o.Offsets, o.Partitions, o.Logger = l.pool, l.brokers, l.offsets, partitions, discard
	hub, err := feed.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	return hub, l.background(hub.Run)
}

// A sent is an event of a stream.
type sent struct{ name, id, data string }

// A hearer hears a stream.
type hearer struct {
	t      *testing.T
	body   *bufio.Reader
	last   string // id
	cancel context.CancelFunc
}

// hear opens a stream; last is what a client that reconnects sends.
func (l *library) hear(base, query, last string) *hearer {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	r, err := http.NewRequestWithContext(ctx, "GET", base+"/v1/events"+query, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+l.door.key)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		l.t.Fatal(err)
	}
	seen.Store("GET /v1/events 200", true)
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		l.t.Fatalf("%s %s", response.Status, kind)
	}
	l.t.Cleanup(func() { cancel(); response.Body.Close() })
	return &hearer{l.t, bufio.NewReader(response.Body), last, cancel}
}

// next gives the next event, and follows ids as the HTML standard says; not ok
// once the stream has ended.
func (h *hearer) next() (s sent, ok bool) {
	for {
		line, err := h.body.ReadString('\n')
		if err != nil {
			return s, false
		}
		line = strings.TrimSuffix(line, "\n")
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && s.data != "":
			return s, true
		case line == "":
			s = sent{}
		case name == "event":
			s.name = value
		case name == "id":
			s.id, h.last = value, value
		case name == "data":
			s.data += value
		}
	}
}

// until gives what comes until one is found, which is not among it.
func (h *hearer) until(found func(sent) bool) (all []sent) {
	h.t.Helper()
	for {
		s, ok := h.next()
		if !ok {
			h.t.Fatalf("the stream ended after %v", all)
		}
		if found(s) {
			return all
		}
		all = append(all, s)
	}
}

// A speaker appends a session's events.
type speaker struct {
	l       *library
	writer  *eventlog.Writer
	account jid.Bare
	binding []byte
}

func (l *library) bind(w *eventlog.Writer, account, resource, edge string) *speaker {
	id := uuid.Must(uuid.NewV7())
	s := &speaker{l, w, jid.MustBare(account), id[:]}
	s.say(&event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: edge, Epoch: 1}}})
	return s
}

func (s *speaker) say(e *event.Event) topic.Position {
	s.l.t.Helper()
	if e.GetResourceBound() == nil {
		e.Binding = s.binding
	}
	at, err := s.writer.AppendWait(s.l.t.Context(), s.account, e)
	if err != nil {
		s.l.t.Fatal(err)
	}
	return at
}

func (s *speaker) available(resource, status string) topic.Position {
	return s.say(&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: &event.Presence{Status: status}}}})
}

// names the mark by which a test knows that it has heard all: a presence of an
// account with this status.
func isMark(mark string) func(sent) bool {
	return func(s sent) bool { return strings.Contains(s.data, `"status":"`+mark+`"`) }
}

func TestEvents(t *testing.T) {
	localtest.Kafkas(t, func(t *testing.T, brokers []string) {
		l := newLibrary(t, brokers, false)
		w := eventlog.NewWriter(l.appender, "edge/e1/1", partitions)
		other := eventlog.NewWriter(l.appender, "edge/e2/1", partitions)
		juliet := l.bind(w, "juliet@localhost", "balcony", "e1")
		juliet.available("balcony", "♥\nnew line")
		romeo := l.bind(other, "romeo@localhost", "orchard", "e2")
		romeo.available("orchard", "waits")
		one, _ := l.feed(feed.Options{CheckpointEvery: 5})
		two, die := l.feed(feed.Options{CheckpointEvery: 5})
		first, second := l.open(Reads{Feed: one, Heartbeat: 20 * time.Millisecond}), l.open(Reads{Feed: two, Heartbeat: 20 * time.Millisecond})

		steady := l.hear(first.URL, "?messages=true", "")
		present := steady.until(func(s sent) bool { return s.name == "present" })
		if len(present) != 2 || !strings.Contains(fmt.Sprint(present), `"status":"♥\nnew line"`) || present[0].id != "" || steady.last == "" {
			t.Fatalf("the present is %v, at %q", present, steady.last)
		}
		hopping := l.hear(first.URL, "?messages=true", steady.last)
		alone := l.hear(first.URL, "?account=juliet@localhost", "")
		if got := alone.until(func(s sent) bool { return s.name == "present" }); len(got) != 1 {
			t.Errorf("the present of juliet is %v", got)
		}

		// Traffic of every kind: changes, an older binding, a copy, messages, an edge that dies.
		juliet.available("balcony", "a")
		old := *juliet
		juliet = l.bind(other, "juliet@localhost", "balcony", "e2")
		old.available("balcony", "a ghost")
		copied := juliet.available("balcony", "b")
		for _, r := range l.records(copied) {
			l.put(r)
		}
		romeo.say(&event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: "juliet@localhost/balcony",
			Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: "a secret"}}}})
		if err := w.AppendEdgeLost(t.Context(), "e2", 1); err != nil {
			t.Fatal(err)
		}
		third := eventlog.NewWriter(l.appender, "edge/e3/1", partitions)
		var wanted, heard []sent
		for n, name := range []string{"juliet@localhost", "romeo@localhost", "paris@elsewhere"} {
			l.bind(third, name, "r", "e3").available("r", fmt.Sprint("end ", n))
		}
		ends := 0
		both := func(s sent) bool {
			if isMark("end 0")(s) || isMark("end 1")(s) {
				ends++
			}
			return ends == 2
		}
		wanted = steady.until(both)
		// One change at a time, from one server and then the other, which die.
		ends = 0
		for i := 0; ; i++ {
			s, ok := hopping.next()
			if !ok {
				t.Fatalf("the stream ended after %v", heard)
			}
			if both(s) {
				break
			}
			heard = append(heard, s)
			hopping.cancel()
			if i%3 == 2 {
				die()
				two, die = l.feed(feed.Options{CheckpointEvery: 5})
				second = l.open(Reads{Feed: two, Heartbeat: 20 * time.Millisecond})
			}
			hopping = l.hear(second.URL, "?messages=true", hopping.last)
		}
		byPartition := func(all []sent) string { // which of two partitions comes first is not said
			text := make([]string, len(all))
			for i, s := range all {
				text[i] = s.name + " " + s.data
			}
			slices.SortStableFunc(text, func(a, b string) int { return strings.Compare(partitionIn(a), partitionIn(b)) })
			return strings.Join(text, "\n")
		}
		if a, b := byPartition(wanted), byPartition(heard); a != b {
			t.Errorf("who stayed heard\n%s\nwho went from server to server\n%s", a, b)
		}
		all := fmt.Sprint(wanted)
		if strings.Contains(all, "ghost") || strings.Contains(all, "secret") || strings.Contains(all, "elsewhere") || strings.Count(all, `"status":"b"`) != 1 ||
			strings.Count(all, `"available":false`) != 3 || strings.Count(all, `"kind":"accepted"`) != 1 { // replaced, and two lost
			t.Errorf("heard %s", all)
		}
		if got := fmt.Sprint(alone.until(isMark("end 0"))); strings.Contains(got, "romeo") || strings.Contains(got, "accepted") || strings.Count(got, `"available":false`) != 2 {
			t.Errorf("juliet's stream: %s", got)
		}
		if _, err := feed.ParseVector(alone.last, partitions); err != nil || strings.Contains(alone.last, ",") {
			t.Errorf("juliet's stream is at %q, %v", alone.last, err)
		}
	})
}

func partitionIn(text string) string {
	_, at, _ := strings.Cut(text, `"position":"`)
	n, _, _ := strings.Cut(at, ":")
	return n
}

// records gives what lies at a position.
func (l *library) records(at topic.Position) (all []eventlog.Record) {
	l.t.Helper()
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: l.brokers, Topic: at.Topic, Logger: discard})
	if err != nil {
		l.t.Fatal(err)
	}
	tail.Assign(at.Partition, at.Offset)
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	if err := tail.Run(ctx, func(_ context.Context, b eventlog.Batch) error {
		r := b.Records[0]
		all = append(all, eventlog.Record{Topic: at.Topic, Partition: at.Partition, Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
		cancel()
		return eventlog.ErrUnassign
	}); err != nil {
		l.t.Fatal(err)
	}
	return all
}

func (l *library) put(r eventlog.Record) {
	l.t.Helper()
	done := make(chan error, 1)
	l.appender.Append(r, true, func(_ topic.Position, err error) { done <- err })
	if err := <-done; err != nil {
		l.t.Fatal(err)
	}
}

func TestEventsRefuseWhatCannotBe(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	w := eventlog.NewWriter(l.appender, "edge/e1/1", partitions)
	juliet := l.bind(w, "juliet@localhost", "balcony", "e1")
	juliet.available("balcony", "a")
	at := juliet.available("balcony", "b")
	l.truncate(at)
	l.account(int(at.Offset), "juliet@localhost")
	hub, die := l.feed(feed.Options{})
	server := l.open(Reads{Feed: hub, Streams: 2, Heartbeat: 10 * time.Millisecond})
	l.door.base = server.URL
	n := at.Partition
	for query, want := range map[string]string{
		"?account=juliet@localhost&domain=localhost": "400 invalid-parameter",
		"?account=juliet@elsewhere":                  "403 domain-not-allowed",
		"?domain=elsewhere":                          "403 domain-not-allowed",
		"?domain=juliet@localhost":                   "422 bad-jid",
		"?account=":                                  "422 bad-jid",
		"?account=localhost":                         "422 bad-jid",
		"?messages=yes":                              "400 invalid-parameter",
		"?since=1":                                   "400 unknown-parameter",
		"?after=":                                    "400 invalid-parameter",
		"?after=now":                                 "400 invalid-parameter",
		"?after=0:1":                                 "400 invalid-parameter", // of an account, not of a domain
		"?account=juliet@localhost&after=0:-1,1:-1,2:-1,3:-1":              "400 invalid-parameter",
		fmt.Sprintf("?account=juliet@localhost&after=%d:999999", n):        "400 invalid-parameter", // of another log
		fmt.Sprintf("?account=juliet@localhost&after=%d:0", n):             "410 position-too-old",
		fmt.Sprintf("?account=juliet@localhost&after=%d:1.1", n):           "410 position-too-old",
		fmt.Sprintf("?account=juliet@localhost&after=%d:1.99999999999", n): "400 invalid-parameter",
	} {
		got := l.door.do(t, "GET", "/v1/events"+query, "", true)
		var p Problem
		if err := json.Unmarshal(got.body, &p); err != nil || fmt.Sprint(got.status, " ", p.Code) != want {
			t.Errorf("%s: %d %s, want %s", query, got.status, got.body, want)
		}
	}
	for _, last := range []string{"x", "0:1,0:1", strings.Repeat("1", 500)} {
		if got := l.door.do(t, "GET", "/v1/events?account=juliet@localhost", "", true, "Last-Event-ID", last); got.status != 400 || strings.Contains(string(got.body), "feed:") {
			t.Errorf("Last-Event-ID %.20s: %d %s", last, got.status, got.body)
		}
	}
	few := &client{base: server.URL, key: l.key(ReadEvents)}
	if got := few.do(t, "GET", "/v1/events?messages=true", "", false); got.status != 403 || !strings.Contains(string(got.body), "missing-scope") {
		t.Errorf("%d %s", got.status, got.body)
	}

	// A key has its streams, and each place is free again once one ends.
	a, b := l.hear(server.URL, "", ""), l.hear(server.URL, "", "")
	if got := l.door.do(t, "GET", "/v1/events", "", false); got.status != 429 || !strings.Contains(string(got.body), "too-many-streams") || got.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	b.cancel()
	for deadline := time.Now().Add(10 * time.Second); ; {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+l.door.key)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the place of a stream that ended is not free")
		}
	}
	// What ends a stream is told in it.
	die()
	end := a.until(func(s sent) bool { return s.name == "problem" })
	if s, more := a.next(); more {
		t.Errorf("after its end comes %v; before it came %v", s, end)
	}
	if got := l.door.do(t, "GET", "/v1/events", "", false); got.status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("after the hub's end: %d %s", got.status, got.body)
	}
}

// A stream ends when its key does, and says where it stands while nothing comes.
func TestEventsOfARevokedKey(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	hub, _ := l.feed(feed.Options{})
	o := l.options(Reads{Feed: hub, Heartbeat: 5 * time.Millisecond})
	o.Limits.KeyTTL = time.Millisecond
	server := l.serve(o)
	token, key, err := AddKey(t.Context(), l.pool, Key{Name: "short", Domain: "localhost", Scopes: []string{ReadEvents}})
	if err != nil {
		t.Fatal(err)
	}
	l.door.key = token
	h := l.hear(server.URL, "?account=juliet@localhost", "")
	h.until(func(s sent) bool { return s.name == "present" })
	before := h.last
	l.bind(eventlog.NewWriter(l.appender, "edge/e1/1", partitions), "juliet@localhost", "balcony", "e1") // nothing to tell
	for h.last == before {                                                                               // ids come all the same
		line, err := h.body.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "id: "); ok {
			h.last = id
		}
	}
	if err := RevokeKey(t.Context(), l.pool, key.ID); err != nil {
		t.Fatal(err)
	}
	var p Problem
	h.until(func(s sent) bool { return s.name == "problem" && json.Unmarshal([]byte(s.data), &p) == nil })
	if _, more := h.next(); more || p.Code != RevokedKey || p.Request == "" {
		t.Errorf("more %v, %+v", more, p)
	}
}

// A client that reads nothing is cut, so that its place is free again, and goes
// on where it was.
func TestEventsOfWhoDoesNotRead(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	hub, _ := l.feed(feed.Options{MaxChanges: 10})
	server := l.open(Reads{Feed: hub, Streams: 1, Patience: 20 * time.Millisecond})
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/events?account=juliet@localhost HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", l.door.key)
	head := make([]byte, 200) // the answer has begun
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	juliet := l.bind(eventlog.NewWriter(l.appender, "edge/e1/1", partitions), "juliet@localhost", "balcony", "e1")
	free := func() bool {
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+l.door.key)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}
	if free() {
		t.Fatal("a stream that is open takes no place")
	}
	long := strings.Repeat("much ", 20_000)
	said := 0
	for deadline := time.Now().Add(time.Minute); !free(); said++ {
		if time.Now().After(deadline) {
			t.Fatalf("who does not read still has a stream, after %d changes", said)
		}
		juliet.available("balcony", fmt.Sprint(said, " ", long))
	}
	juliet.available("balcony", "end")

	// What it did get ends with an id, after which all the rest comes.
	text, _ := io.ReadAll(conn)
	all := string(head) + string(text)
	last, heard := "", -1
	for event := range strings.SplitSeq(all[:strings.LastIndex(all, "\n\n")], "\n\n") {
		_, id, _ := strings.Cut(event, "\nid: ")
		if _, status, ok := strings.Cut(event, `"status":"`); ok && id != "" {
			fmt.Sscan(status, &heard)
		}
		if id, _, _ = strings.Cut(id, "\n"); id != "" {
			last = id
		}
	}
	t.Logf("%d changes were said, it heard %d", said, heard+1)
	again := l.hear(l.open(Reads{Feed: hub}).URL, "?account=juliet@localhost", last)
	for _, s := range again.until(isMark("end")) {
		var next int
		if _, status, _ := strings.Cut(s.data, `"status":"`); status != "" {
			fmt.Sscan(status, &next)
		}
		if next != heard+1 {
			t.Fatalf("after %d comes %d", heard, next)
		}
		heard = next
	}
	if heard != said-1 {
		t.Errorf("it heard up to %d, said were %d", heard, said)
	}
}

// truncate has the log forget what is before a position.
func (l *library) truncate(at topic.Position) {
	l.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(l.brokers...))
	if err != nil {
		l.t.Fatal(err)
	}
	defer client.Close()
	ask := kmsg.NewPtrDeleteRecordsRequest()
	ask.TimeoutMillis = 10_000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = at.Partition, at.Offset
	ask.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: at.Topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{p}}}
	answer, err := ask.RequestWith(l.t.Context(), client)
	if err != nil || answer.Topics[0].Partitions[0].ErrorCode != 0 {
		l.t.Fatalf("the log is not truncated: %v, %+v", err, answer)
	}
}
