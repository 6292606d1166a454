package fanout_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/privacy"
)

// A message is not routed while its sender is blocked, though it was accepted
// before; what was accepted and might have been refused is found again.
func TestMessagesAndPolicies(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.follow(juliet, juliet)
	s := e.bind(juliet, "balcony")
	w.projectAll()
	w.message(juliet, "", "early")
	s.block("sender@x")
	w.message(juliet, "", "refused") // bounces in the fold
	s.available(0, "")
	e.hears("presence juliet@x/balcony true ")
	s.block()
	e.hears("message early")
	s.list("strangers", &event.PrivacyItem{Type: "subscription", Value: "both"})
	s.choose("strangers", true)
	w.message(juliet, "", "in doubt")
	e.lets(juliet, privacy.Message, "", "sender@x", false)
	w.projectAll()
	e.hears("message in doubt")
	if got := e.order("message"); !slices.Equal(got, []string{"message early", "message in doubt"}) {
		t.Errorf("heard %q", got)
	}
}

// What nobody took goes on waiting when lists change, also where the resource
// that it names has come since; what came for who was there already goes when
// it is known that it may.
func TestWaitingMessagesAndPolicies(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	e.take()
	e.follow(juliet, juliet)
	balcony := e.bind(juliet, "balcony")
	balcony.available(-1, "")
	w.message(juliet, "chamber", "for who may come")
	w.projectAll()
	chamber := e.bind(juliet, "chamber")
	balcony.list("known", &event.PrivacyItem{Type: "subscription", Value: "to"})
	doubted := balcony.choose("known", true)
	w.message(juliet, "chamber", "for who is there")
	eventually(t, "the list is in doubt", e.look(func() bool { return e.audiences[juliet].GetDoubt() && e.audiences[juliet].GetOffset() == doubted }))
	w.projectAll()
	e.hears("message for who is there")
	w.message(juliet, "chamber", "again")
	e.hears("message again")
	if got, want := e.order("message"), []string{"message for who is there", "message again"}; !slices.Equal(got, want) {
		t.Errorf("heard %q before anybody takes messages", got)
	}
	chamber.available(0, "")
	e.hears("message for who may come")
}

// holding is a tracer that holds what a batch has read, once it is armed.
type holding struct {
	armed    atomic.Bool
	held     chan struct{}
	released chan struct{}
}

func (h *holding) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (h *holding) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (h *holding) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {
	if h.armed.CompareAndSwap(true, false) {
		close(h.held)
		<-h.released
	}
}

func (h *holding) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (h *holding) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A load of the inbox that is under way when a message is withheld has a
// snapshot without it: the inbox is loaded again.
func TestInboxIsReadBeforeWhatIsWithheld(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	h := &holding{held: make(chan struct{}), released: make(chan struct{})}
	release := sync.OnceFunc(func() { close(h.released) })
	config := w.pool.Config()
	config.ConnConfig.Tracer = h
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.work("w", func(o *fanout.Options) { o.Postgres = pool }, all...)
	defer release()
	e := w.attach("e", 1)
	e.take()
	e.follow(juliet, juliet)
	h.armed.Store(true)
	balcony := e.bind(juliet, "balcony")
	w.projectAll()
	<-h.held
	balcony.list("known", &event.PrivacyItem{Type: "subscription", Value: "to"})
	doubted := balcony.choose("known", true)
	w.message(juliet, "balcony", "for who is there")
	w.projectAll()
	eventually(t, "the list is known", e.look(func() bool { return e.audiences[juliet].GetOffset() > doubted && !e.audiences[juliet].GetDoubt() }))
	release()
	e.hears("message for who is there")
}
