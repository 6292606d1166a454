package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// A Writer appends the events of one origin to the topic account. It numbers
// them: within a partition the sequence grows in the order of the records, so
// that a reader can tell copies and late ones by its mark. Its methods may be
// called from any goroutine.
type Writer struct {
	appender   *Appender
	origin     string
	partitions int
	sequence   atomic.Uint64
	places     []sync.Mutex // of each partition: an event's number and its place in the queue are taken under it
}

// NewWriter gives the writer of an origin that no other writer has or had,
// such as "edge/<id>/<epoch>"; partitions is the number that the topic has.
func NewWriter(a *Appender, origin string, partitions int) *Writer {
	return &Writer{appender: a, origin: origin, partitions: partitions, places: make([]sync.Mutex, partitions)}
}

// Origin gives the origin of the writer's events.
func (w *Writer) Origin() string { return w.origin }

// Append queues e for account's history. It sets e's origin and sequence,
// its id if that is empty (UUIDv7) and its time if that is 0; e may be read by
// the caller afterwards. Done is called once, as Appender.Append says. What
// ends or settles something (PresenceUnavailable, ResourceClosed, Delivered)
// is kept until it is stored.
func (w *Writer) Append(account jid.Bare, e *event.Event, done func(topic.Position, error)) {
	p := topic.Partition(account, w.partitions)
	stamp(e)
	e.Origin = w.origin
	kind := event.KindOf(e)
	key := []byte(account.String())

	w.places[p].Lock()
	defer w.places[p].Unlock()
	e.Sequence = w.sequence.Add(1)
	value, err := event.Marshal(e)
	if err != nil {
		w.appender.refuse(topic.Position{Topic: topic.Account, Partition: p, Offset: -1}, done, err)
		return
	}
	w.appender.Append(Record{
		Topic: topic.Account, Partition: p, Key: key, Value: value, Headers: KindHeader(kind),
	}, kept(kind), done)
}

// AppendWait is Append that waits for its end. If ctx ends before, it gives
// ctx's error, and the event may be stored later.
func (w *Writer) AppendWait(ctx context.Context, account jid.Bare, e *event.Event) (topic.Position, error) {
	done := newWaiter(1)
	w.Append(account, e, done.done)
	if err := done.wait(ctx); err != nil {
		return topic.Position{}, fmt.Errorf("append %s for %s: %w", event.KindOf(e), account, err)
	}
	return done.at, nil
}

// AppendEdgeLost tells every partition that an edge's epoch is over, and
// waits until all have it. The records are kept: if ctx ends before, they are
// stored later, if the process lives.
func (w *Writer) AppendEdgeLost(ctx context.Context, edge string, epoch uint64) error {
	done := newWaiter(w.partitions)
	e := &event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: epoch}}}
	stamp(e)
	value, err := event.Marshal(e)
	if err != nil {
		return err
	}
	for p := range w.partitions {
		w.appender.Append(Record{
			Topic: topic.Account, Partition: int32(p), Value: value, Headers: KindHeader(event.KindOf(e)),
		}, true, done.done)
	}
	if err := done.wait(ctx); err != nil {
		return fmt.Errorf("append edge_lost of %s, epoch %d: %w", edge, epoch, err)
	}
	return nil
}

// stamp gives e an id and a time if it has none.
func stamp(e *event.Event) {
	if e.At == 0 {
		e.At = time.Now().UnixMicro()
	}
	if len(e.Id) == 0 {
		id := uuid.Must(uuid.NewV7())
		e.Id = id[:]
	}
}

// kept tells whether an event of kind k ends or settles something.
func kept(k event.Kind) bool {
	switch k {
	case kindUnavailable, kindClosed, kindDelivered, kindEdgeLost:
		return true
	}
	return false
}

var (
	kindUnavailable = event.KindOf(&event.Event{Kind: &event.Event_PresenceUnavailable{}})
	kindClosed      = event.KindOf(&event.Event{Kind: &event.Event_ResourceClosed{}})
	kindDelivered   = event.KindOf(&event.Event{Kind: &event.Event_Delivered{}})
	kindEdgeLost    = event.KindOf(&event.Event{Kind: &event.Event_EdgeLost{}})
)

var kindHeaders sync.Map // event.Kind -> []Header

// KindHeader gives the headers of an event of kind k. They are shared: nobody
// may change them.
func KindHeader(k event.Kind) []Header {
	if h, ok := kindHeaders.Load(k); ok {
		return h.([]Header)
	}
	h, _ := kindHeaders.LoadOrStore(k, []Header{{Key: topic.HeaderKind, Value: []byte(k.String())}})
	return h.([]Header)
}

// refuse answers done as Append does, for what cannot be appended.
func (a *Appender) refuse(at topic.Position, done func(topic.Position, error), err error) {
	err = fmt.Errorf("%w: %w", ErrRefused, err)
	a.metrics.failed(err)
	a.done.add(completion{done, at, err})
}

// A waiter waits for n appends.
type waiter struct {
	left  int
	at    topic.Position // of the last one
	errs  []error
	ended chan struct{}
}

func newWaiter(n int) *waiter { return &waiter{left: n, ended: make(chan struct{})} }

// done is called on the one goroutine of the appender.
func (w *waiter) done(at topic.Position, err error) {
	w.at = at
	if err != nil {
		w.errs = append(w.errs, err)
	}
	if w.left--; w.left == 0 {
		close(w.ended)
	}
}

func (w *waiter) wait(ctx context.Context) error {
	select {
	case <-w.ended:
		return errors.Join(w.errs...)
	case <-ctx.Done():
		return ctx.Err()
	}
}
