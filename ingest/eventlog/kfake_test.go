package eventlog

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"

	"github.com/rollcall/rollcall/schema/topic"
)

func TestMain(m *testing.M) {
	// A real broker lives as long as the process; its goroutines are a child's.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/rollcall/rollcall/deploy/local.(*child).spawn.func1"),
		goleak.IgnoreAnyFunction("os/exec.(*Cmd).Start.func2"))
}

// limit ends a test that hangs with what it waited for.
const limit = 30 * time.Second

func fake(t testing.TB, brokers, partitions int) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(int32(partitions), topic.Account, topic.Outbox),
		kfake.SeedTopics(1, topic.DeadLetter), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// appender gives an Appender that runs until the test ends.
func appender(t testing.TB, o Options) *Appender {
	t.Helper()
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) error { return a.Run(ctx) })
	return a
}

// background runs f until the test ends or stop is called.
func background(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var owned sync.WaitGroup
	owned.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); owned.Wait() }
	t.Cleanup(stop)
	return stop
}

// reader collects what a Tail delivers.
type reader struct {
	t    testing.TB
	tail *Tail
	mu   sync.Mutex
	more chan struct{}
	got  map[int32][]Fetched
}

func readerOf(t testing.TB, brokers []string, from map[int32]int64) *reader {
	t.Helper()
	return pacedReader(t, brokers, from, 0)
}

func pacedReader(t testing.TB, brokers []string, from map[int32]int64, pace time.Duration) *reader {
	t.Helper()
	tail, err := NewTail(TailOptions{Brokers: brokers, Topic: topic.Account, Pace: pace, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, tail: tail, more: make(chan struct{}, 1), got: make(map[int32][]Fetched)}
	for p, offset := range from {
		tail.Assign(p, offset)
	}
	background(t, func(ctx context.Context) error { return tail.Run(ctx, r.handle) })
	return r
}

func (r *reader) handle(_ context.Context, b Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[b.Partition] = append(r.got[b.Partition], b.Records...)
	select {
	case r.more <- struct{}{}:
	default:
	}
	return nil
}

// wait waits until n records are there and gives them by partition.
func (r *reader) wait(n int) map[int32][]Fetched {
	r.t.Helper()
	deadline := time.After(limit)
	for {
		r.mu.Lock()
		have := 0
		for _, records := range r.got {
			have += len(records)
		}
		if have >= n {
			defer r.mu.Unlock()
			got := make(map[int32][]Fetched)
			for p, records := range r.got {
				got[p] = append([]Fetched(nil), records...)
			}
			return got
		}
		r.mu.Unlock()
		select {
		case <-r.more:
		case <-deadline:
			r.t.Fatalf("%d of %d records; health: %v", have, n, r.tail.Health())
		}
	}
}

func everyFrom0(partitions int) map[int32]int64 {
	from := make(map[int32]int64)
	for p := range partitions {
		from[int32(p)] = 0
	}
	return from
}

// result is what a done callback said.
type result struct {
	at  topic.Position
	err error
}

// collector gathers results of appends.
type collector struct {
	mu      sync.Mutex
	results []result
	more    chan struct{}
}

func newCollector() *collector { return &collector{more: make(chan struct{}, 1)} }

func (c *collector) done(at topic.Position, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.results = append(c.results, result{at, err})
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *collector) wait(t testing.TB, n int) []result {
	t.Helper()
	deadline := time.After(limit)
	for {
		c.mu.Lock()
		if len(c.results) >= n {
			defer c.mu.Unlock()
			return append([]result(nil), c.results...)
		}
		have := len(c.results)
		c.mu.Unlock()
		select {
		case <-c.more:
		case <-deadline:
			t.Fatalf("%d of %d answers", have, n)
		}
	}
}

func record(partition int, value string) Record {
	return Record{Topic: topic.Account, Partition: int32(partition), Key: []byte("k"), Value: []byte(value)}
}

func number(i int) string { return fmt.Sprintf("%08d", i) }

// lossy makes listeners whose connections break instead of carrying some
// answers.
type lossy struct{ lose atomic.Int64 }

func (l *lossy) listen(network, address string) (net.Listener, error) {
	inner, err := net.Listen(network, address)
	return &lossyListener{inner, l}, err
}

type lossyListener struct {
	net.Listener
	faults *lossy
}

func (l *lossyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lossyConn{c, l.faults}, nil
}

type lossyConn struct {
	net.Conn
	faults *lossy
}

func (c *lossyConn) Write(b []byte) (int, error) {
	// Small answers are those to produce and metadata requests.
	if len(b) < 2000 && c.faults.lose.Load() > 0 && c.faults.lose.Add(-1) >= 0 {
		c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
