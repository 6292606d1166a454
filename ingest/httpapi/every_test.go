package httpapi

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/schema/event"
)

// TestMain runs the tests; if those were all, every answer that the document
// has must have been given to a client.do, or be noted in seen by who reads
// answers without an end.
func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if code == 0 && flag.Lookup("test.run").Value.String() == "" && !testing.Short() && flag.Lookup("test.fuzz").Value.String() == "" && flag.Lookup("test.list").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" {
		code = unseen()
	}
	os.Exit(code)
}

func unseen() (code int) {
	doc, err := described()
	if err != nil {
		return 1
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if _, ok := seen.Load(fmt.Sprintf("%s %s %s", method, path, status)); !ok {
					fmt.Printf("no test got %s from %s %s\n", status, method, path)
					code = 1
				}
			}
		}
	}
	return code
}

// example gives a path that a route takes.
func (r *route) example() string {
	path := strings.ReplaceAll(r.path, "{id}", "019ab5a2-7d8e-7c51-9f0e-2c8a6d6d8a11")
	return pathParameter.ReplaceAllString(path, "juliet@localhost")
}

// What every route refuses, in the same words.
func TestWhatEveryRouteRefuses(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	slow := h.door(func(o *Options) { o.Limits.Rate, o.Limits.Burst = 0.001, 1 })
	away, err := pgxpool.New(context.Background(), "postgres://nobody@127.0.0.1:1/none?connect_timeout=2")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(away.Close)
	d, lost := h.door(), h.door(func(o *Options) { o.Postgres = away })
	for _, r := range d.table {
		if r.scope == "" {
			continue
		}
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			scope := ReadPresence
			if r.scope == scope {
				scope = SendMessages
			}
			key, other, fast := h.key(r.scope), h.key(scope), h.key(r.scope)
			text := ""
			if r.body {
				text = "{}"
			}
			try := func(d *door, key, path, text string, status int, code Code, header ...string) {
				t.Helper()
				d.key = key
				got := d.do(t, r.method, path, text, true, header...)
				if got.status != status || got.problem() != code {
					t.Errorf("%d %s, want %d %s", got.status, got.body, status, code)
				}
			}
			try(d, "", r.example(), text, 401, NoKey)
			try(d, other, r.example(), text, 403, MissingScope)
			try(d, key, r.example()+"?unheard=of", text, 400, UnknownParameter)
			for _, name := range r.query {
				try(d, key, r.example()+"?"+name+"=1&"+name+"=1", text, 400, InvalidParameter)
			}
			try(slow, fast, r.example()+"?unheard=of", text, 400, UnknownParameter)
			try(slow, fast, r.example(), text, 429, RateLimited)
			try(lost, key, r.example(), text, 503, Unavailable)
			if strings.Contains(r.path, "{jid}") {
				at := func(jid string) string { return strings.ReplaceAll(r.path, "{jid}", jid) }
				for _, bad := range []string{"@localhost", "localhost", "juliet@localhost%2Fbalcony"} {
					try(d, key, at(bad), text, 422, BadJID)
				}
				try(d, key, at("juliet@example.com"), text, 403, DomainNotAllowed)
				if r.scope == ReadPresence { // what is read in Postgres
					try(d, key, at("nobody@localhost"), text, 404, NotFound)
				}
			}
			if r.body {
				try(d, key, r.example(), text, 415, UnsupportedMediaType, "Content-Type", "text/xml")
				try(d, key, r.example(), `"`+strings.Repeat("x", 1<<20)+`"`, 413, BodyTooLarge)
				try(d, key, r.example(), "{", 400, MalformedJSON)
			}
			if r.repeat {
				try(d, key, r.example(), text, 400, BadIdempotencyKey, "Idempotency-Key", `"`)
			}
		})
	}
}

// A request that is under way when the server stops is answered.
func TestAServerStops(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	d := h.door(func(o *Options) {
		o.Listener = listener
		compose := o.Compose
		o.Compose = func(children []byte, kind event.MessageType) (*event.Message, error) {
			close(entered)
			<-leave
			return compose(children, kind)
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	d.base, d.key = "http://"+listener.Addr().String(), h.key(SendMessages)
	answered := make(chan reply)
	go func() { answered <- d.do(t, "POST", "/v1/messages", sends, false) }()
	<-entered
	stop()
	<-d.stopping
	select {
	case err := <-ended:
		t.Errorf("it did not wait: %v", err)
	default:
	}
	close(leave)
	if got := <-answered; got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("nothing is enough")
	}
	h := newHouse(t)
	o := h.door().opts
	o.Limits.Batch = -1
	if _, err := New(o); err == nil {
		t.Error("batches of -1")
	}
}
