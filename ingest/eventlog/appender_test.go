package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rollcall/rollcall/schema/topic"
)

func allStored(t *testing.T, results []result) {
	t.Helper()
	for _, r := range results {
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
}

func TestAppendAndTail(t *testing.T) {
	c := fake(t, 3, 8)
	a := appender(t, Options{Brokers: c.ListenAddrs()})
	r := readerOf(t, c.ListenAddrs(), everyFrom0(8))
	answers := newCollector()
	const n = 5000
	for i := range n {
		a.Append(record(i%8, number(i)), false, answers.done)
	}
	results := answers.wait(t, n)
	allStored(t, results)
	next := make(map[int32]int64)
	for _, res := range results {
		if res.at.Offset != next[res.at.Partition] {
			t.Fatalf("told of %s after offset %d", res.at, next[res.at.Partition]-1)
		}
		next[res.at.Partition]++
	}
	for p, records := range r.wait(n) {
		for i, f := range records {
			if f.Offset != int64(i) || string(f.Value) != number(i*8+int(p)) {
				t.Fatalf("partition %d: record %d has offset %d and value %s", p, i, f.Offset, f.Value)
			}
		}
	}
}

// What is queued goes in one request, and nothing is asked while idle.
func TestGroupCommit(t *testing.T) {
	c := fake(t, 1, 8)
	produced := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: -1, Observe: true})
	a, err := New(Options{Brokers: c.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	answers := newCollector()
	for i := range 1000 {
		a.Append(record(i%8, number(i)), false, answers.done)
	}
	background(t, a.Run)
	allStored(t, answers.wait(t, 1000))
	if got := produced.Hits(); got != 1 {
		t.Errorf("1000 queued records took %d requests, want 1", got)
	}
	a.Append(record(1, "alone"), false, answers.done)
	allStored(t, answers.wait(t, 1001))
	if err := a.Flush(testContext(t)); err != nil {
		t.Error(err)
	}
	if got := produced.Hits(); got != 2 {
		t.Errorf("a lone record more took %d requests in all, want 2", got)
	}
	if a.Queued() != 0 {
		t.Errorf("%d bytes queued, want 0", a.Queued())
	}
}

// Each partition's records, less what a mark drops, are what was appended in
// its order, whatever happens to leaders, answers and connections.
func TestOrderUnderFaults(t *testing.T) {
	const partitions, each = 8, 400
	var faults lossy
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic.Account), kfake.ListenFn(faults.listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	a := appender(t, Options{Brokers: c.ListenAddrs(), Topics: []string{topic.Account}, Timeout: limit, RequestTimeout: time.Second})
	tailed := readerOf(t, c.ListenAddrs(), everyFrom0(partitions))

	answers := newCollector()
	random := rand.New(rand.NewPCG(1, 2))
	for i := range each {
		for p := range partitions {
			a.Append(record(p, number(i)), i%3 == 0, answers.done)
		}
		p := random.Int32N(partitions)
		switch i % 40 {
		case 0:
			if err := c.MoveTopicPartition(topic.Account, p, random.Int32N(3)); err != nil {
				t.Fatal(err)
			}
		case 10: // stored, yet answered by an error
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{p}, Err: kerr.RequestTimedOut, Count: 2})
		case 20:
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 1})
		case 30: // stored, and the answer is lost with its connection
			faults.lose.Add(2)
		}
		if i%20 == 19 {
			answers.wait(t, (i-10)*partitions)
		}
	}
	allStored(t, answers.wait(t, each*partitions))

	stored, duplicates := consume(t, c.ListenAddrs(), topic.Account, answers.results)
	for p := range int32(partitions) {
		marked := 0
		for _, rec := range stored[p] {
			if string(rec.Value) >= number(marked) {
				if string(rec.Value) != number(marked) {
					t.Fatalf("partition %d: %s comes where %s should", p, rec.Value, number(marked))
				}
				marked++
			}
		}
		if marked != each {
			t.Fatalf("partition %d: %d records, want %d", p, marked, each)
		}
	}
	if duplicates == 0 {
		t.Error("no answer was lost: the test shows nothing")
	}
	total := 0
	for _, records := range stored {
		total += len(records)
	}
	for p, records := range tailed.wait(total) {
		for i, f := range records {
			if want := stored[p][i]; f.Offset != want.Offset || !bytes.Equal(f.Value, want.Value) {
				t.Fatalf("partition %d: the tail has %d %s where another client reads %d %s", p, f.Offset, f.Value, want.Offset, want.Value)
			}
		}
	}
}

// consume reads a topic to its end with another client library, checks that
// every acknowledged position is there, and counts values stored again.
func consume(t *testing.T, brokers []string, of string, acknowledged []result) (map[int32][]*kgo.Record, int) {
	t.Helper()
	ctx := testContext(t)
	admin, err := NewAdmin(brokers)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ends, err := admin.Ends(ctx, of)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(of),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	left := int64(0)
	for _, end := range ends {
		left += end
	}
	records := make(map[int32][]*kgo.Record)
	duplicates := 0
	seen := make(map[string]bool)
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d records missing", left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			records[r.Partition] = append(records[r.Partition], r)
			id := fmt.Sprint(r.Partition, string(r.Value))
			if seen[id] {
				duplicates++
			}
			seen[id] = true
		})
	}
	for _, a := range acknowledged {
		if a.err == nil && a.at.Offset >= int64(len(records[a.at.Partition])) {
			t.Fatalf("acknowledged %s is missing", a.at)
		}
	}
	return records, duplicates
}

// A broker that takes a request and says nothing costs one request's time.
func TestHungBroker(t *testing.T) {
	c := fake(t, 1, 1)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return nil, nil, true })
	a := appender(t, Options{Brokers: c.ListenAddrs(), Timeout: limit, RequestTimeout: 200 * time.Millisecond})
	answers := newCollector()
	a.Append(record(0, "x"), false, answers.done)
	allStored(t, answers.wait(t, 1))
}

// Away: what may fail does, what is kept arrives when the broker is back, and
// what was acknowledged before is still there.
func TestBrokerAwayAndBack(t *testing.T) {
	dir := t.TempDir()
	start := func(ports ...int) *kfake.Cluster {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(ports...), kfake.DataDir(dir),
			kfake.SeedTopics(2, topic.Account))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	port := freePort(t)
	c := start(port)
	brokers := c.ListenAddrs()
	a := appender(t, Options{Brokers: brokers, Topics: []string{topic.Account}, Timeout: 300 * time.Millisecond})
	r := readerOf(t, brokers, everyFrom0(2))
	answers := newCollector()
	for i := range 100 {
		a.Append(record(i%2, number(i)), true, answers.done)
	}
	allStored(t, answers.wait(t, 100))
	r.wait(100)

	c.Close()
	gone := newCollector()
	for i := range 10 {
		a.Append(record(i%2, "may fail"), false, gone.done)
		a.Append(record(i%2, number(100+i)), true, answers.done)
	}
	for _, res := range gone.wait(t, 10) {
		if !errors.Is(res.err, ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", res.err)
		}
	}
	c = start(port)
	defer c.Close()
	allStored(t, answers.wait(t, 110))
	for p, records := range r.wait(110) {
		for i, f := range records {
			if want := number(2*i + int(p)); f.Offset != int64(i) || string(f.Value) != want {
				t.Errorf("partition %d, record %d: %d %s, want %s", p, i, f.Offset, f.Value, want)
			}
		}
	}
	consume(t, brokers, topic.Account, answers.results)
}

func TestBounds(t *testing.T) {
	a, err := New(Options{Brokers: []string{"127.0.0.1:1"}, MaxQueuedRecords: 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	taken, full, kept := newCollector(), newCollector(), newCollector()
	for range 10 {
		a.Append(record(0, "x"), false, taken.done)
	}
	a.Append(record(0, "x"), false, full.done)
	if a.TryAppend(record(0, "x"), false, func(topic.Position, error) { t.Error("told of a record that was not taken") }) {
		t.Error("over the bound: taken")
	}
	if !a.TryAppend(record(0, "x"), true, kept.done) {
		t.Error("what is kept has more room: not taken")
	}
	large := newCollector()
	a.Append(record(0, string(make([]byte, 1<<20))), true, large.done)

	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	if err := full.wait(t, 1)[0].err; !errors.Is(err, ErrFull) {
		t.Errorf("over the bound: got %v, want ErrFull", err)
	}
	if err := large.wait(t, 1)[0].err; !errors.Is(err, ErrRefused) {
		t.Errorf("too large: got %v, want ErrRefused", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, res := range append(taken.wait(t, 10), kept.wait(t, 1)...) {
		if !errors.Is(res.err, ErrClosed) {
			t.Errorf("at the end: got %v, want ErrClosed", res.err)
		}
	}
}

// A broker's final refusal fails the batch and not what comes after it.
func TestRefusal(t *testing.T) {
	c := fake(t, 1, 1)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed, Count: 1})
	a := appender(t, Options{Brokers: c.ListenAddrs()})
	answers := newCollector()
	a.Append(record(0, "no"), true, answers.done)
	if err := answers.wait(t, 1)[0].err; !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	a.Append(record(0, "yes"), false, answers.done)
	allStored(t, answers.wait(t, 2)[1:])
}

// While a retry waits, later records neither overtake it nor are lost.
func TestMoreComesDuringRetry(t *testing.T) {
	c := fake(t, 1, 1)
	hits := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 3})
	a := appender(t, Options{Brokers: c.ListenAddrs(), Timeout: limit, RequestTimeout: time.Second})
	answers := newCollector()
	var sent atomic.Int64
	for hits.Hits() < 3 {
		a.Append(record(0, number(int(sent.Add(1))-1)), false, answers.done)
		if err := hits.Wait(testContext(t), min(hits.Hits()+1, 3)); err != nil {
			t.Fatal(err)
		}
	}
	n := int(sent.Load())
	allStored(t, answers.wait(t, n))
	for i, f := range readerOf(t, c.ListenAddrs(), everyFrom0(1)).wait(n)[0] {
		if string(f.Value) != number(i) {
			t.Errorf("offset %d: got %s", f.Offset, f.Value)
		}
	}
}

// A record's time is over also while a request with it is under way.
func TestTimeIsOverInFlight(t *testing.T) {
	c := fake(t, 1, 1)
	var mute atomic.Bool
	mute.Store(true)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, nil, mute.Load()
	})
	a := appender(t, Options{Brokers: c.ListenAddrs(), Timeout: 150 * time.Millisecond, RequestTimeout: 100 * time.Millisecond})
	given, kept, behind := newCollector(), newCollector(), newCollector()
	last, chained := record(0, "given up"), record(0, "behind it")
	last.Chain = new(Chain)
	chained.Chain = last.Chain
	a.Append(last, false, given.done)
	a.Append(record(0, "kept"), true, kept.done)
	a.Append(chained, true, behind.done)
	if err := given.wait(t, 1)[0].err; !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	mute.Store(false)
	allStored(t, kept.wait(t, 1))
	if err := behind.wait(t, 1)[0].err; !errors.Is(err, ErrBroken) {
		t.Errorf("behind it in its chain: got %v, want ErrBroken", err)
	}
}

func TestMetrics(t *testing.T) {
	c := fake(t, 1, 2)
	registry := prometheus.NewRegistry()
	ctx := testContext(t)
	for range 2 { // the second finds the names free again
		a, err := New(Options{Brokers: c.ListenAddrs(), Registerer: registry})
		if err != nil {
			t.Fatal(err)
		}
		stop := background(t, a.Run)
		answers := newCollector()
		for range 3 {
			a.Append(record(0, "x"), false, answers.done)
		}
		allStored(t, answers.wait(t, 3))
		a.Append(record(0, string(make([]byte, 1<<20))), false, answers.done)
		answers.wait(t, 4)
		tail, err := NewTail(TailOptions{Brokers: c.ListenAddrs(), Topic: topic.Account, Registerer: registry})
		if err != nil {
			t.Fatal(err)
		}
		tail.Assign(0, 0)
		lag := -1.0
		if err := tail.Run(ctx, func(ctx context.Context, b Batch) error {
			if lag >= 0 {
				return nil
			}
			lag = float64(b.HighWater) - float64(len(b.Records))
			return errors.New("enough")
		}); err == nil || lag != 0 {
			t.Errorf("lag %v, %v", lag, err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() { // one for each reason of a failure
				got[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		if got["rollcall_eventlog_append_seconds"] != 3 || got["rollcall_eventlog_append_failures_total"] != 1 || got["rollcall_eventlog_queued_bytes"] != 0 {
			t.Errorf("got %v", got)
		}
		stop()
		late := newCollector()
		a.Append(record(0, "late"), true, late.done)
		if err := late.wait(t, 1)[0].err; !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: got %v, want ErrClosed", err)
		}
	}
}
