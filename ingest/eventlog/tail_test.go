package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rollcall/rollcall/schema/topic"
)

// fill appends n records to each partition and waits for them.
func fill(t testing.TB, brokers []string, partitions, n int) {
	t.Helper()
	a := appender(t, Options{Brokers: brokers})
	answers := newCollector()
	for i := range n {
		for p := range partitions {
			a.Append(record(p, number(i)), false, answers.done)
		}
	}
	for _, r := range answers.wait(t, n*partitions) {
		if r.err != nil {
			t.Fatal(r.err)
		}
	}
}

func quietTail(t testing.TB, brokers []string) *Tail {
	t.Helper()
	tail, err := NewTail(TailOptions{Brokers: brokers, Topic: topic.Account, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tail
}

func TestTailTellsMissingOffsets(t *testing.T) {
	c := fake(t, 2, 4)
	fill(t, c.ListenAddrs(), 4, 10)
	if err := c.DeleteRecords(topic.Account, 2, 7); err != nil {
		t.Fatal(err)
	}
	for _, asked := range []int64{3, 11} {
		tail := quietTail(t, c.ListenAddrs())
		tail.Assign(0, 0)
		tail.Assign(2, asked)
		err := tail.Run(testContext(t), func(_ context.Context, b Batch) error {
			if b.Partition == 2 {
				t.Errorf("asked for %d, got %d", asked, b.Records[0].Offset)
			}
			return nil
		})
		var missing *OffsetError
		if !errors.As(err, &missing) {
			t.Fatalf("got %v, want an OffsetError", err)
		}
		if want := (OffsetError{topic.Account, 2, asked, 7, 10}); *missing != want {
			t.Errorf("got %+v, want %+v", *missing, want)
		}
	}
}

func TestTailFromOffsets(t *testing.T) {
	c := fake(t, 2, 4)
	fill(t, c.ListenAddrs(), 4, 100)
	r := readerOf(t, c.ListenAddrs(), map[int32]int64{0: 0, 1: 37, 2: 99, 3: 100})
	for p, records := range r.wait(100 + 63 + 1) {
		first := map[int32]int64{0: 0, 1: 37, 2: 99}[p]
		for i, f := range records {
			if f.Offset != first+int64(i) || string(f.Value) != number(int(f.Offset)) || string(f.Key) != "k" {
				t.Fatalf("partition %d: got %d %s %s", p, f.Offset, f.Key, f.Value)
			}
		}
	}
}

// After Unassign nothing more comes; assigned again, it starts where asked.
func TestTailAssignments(t *testing.T) {
	c := fake(t, 2, 4)
	fill(t, c.ListenAddrs(), 4, 200)
	r := readerOf(t, c.ListenAddrs(), everyFrom0(2))
	r.wait(400)
	r.tail.Assign(2, 100)
	r.wait(500)
	r.tail.Unassign(0)
	r.tail.Unassign(2)
	fill(t, c.ListenAddrs(), 4, 1)
	got := r.wait(501)
	if n := len(got[0]) + len(got[2]); n != 300 {
		t.Errorf("%d records of unassigned partitions, want the 300 from before", n)
	}
	r.tail.Assign(0, 200)
	got = r.wait(502)
	if last := got[0][len(got[0])-1]; last.Offset != 200 || len(got[0]) != 201 {
		t.Errorf("assigned again from 200: got %d records, the last %d", len(got[0]), last.Offset)
	}
	r.tail.Assign(1, 150) // anew, while assigned
	got = r.wait(502 + 51)
	var offsets []int64
	for _, f := range got[1][201:] {
		offsets = append(offsets, f.Offset)
	}
	if len(offsets) != 51 || offsets[0] != 150 || !slices.IsSorted(offsets) {
		t.Errorf("assigned anew from 150: got %v", offsets)
	}
}

func TestTailHandlerEndsPartitionOrRun(t *testing.T) {
	c := fake(t, 1, 2)
	fill(t, c.ListenAddrs(), 2, 10)
	tail := quietTail(t, c.ListenAddrs())
	tail.Assign(0, 0)
	tail.Assign(1, 0)
	stop := errors.New("stop")
	calls := make(map[int32]int)
	err := tail.Run(testContext(t), func(_ context.Context, b Batch) error {
		calls[b.Partition]++
		if b.Partition == 0 {
			tail.Assign(1, 0) // so that 1 comes again
			return ErrUnassign
		}
		if calls[0] == 0 {
			return nil
		}
		return stop
	})
	if !errors.Is(err, stop) || calls[0] != 1 {
		t.Errorf("got %v after %d calls for partition 0", err, calls[0])
	}
}

// Many assignments at once interrupt the poll a few times, not each.
func TestAssignmentsGather(t *testing.T) {
	c := fake(t, 1, 64)
	polls := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true})
	fill(t, c.ListenAddrs(), 64, 1)
	r := readerOf(t, c.ListenAddrs(), everyFrom0(64))
	r.wait(64)
	if got := polls.Hits(); got > 32 {
		t.Errorf("%d polls for 64 assignments", got)
	}
}

// After an answer a paced Tail rests, and what came meanwhile comes in one
// answer; an assignment ends the rest.
func TestPaceGathersRecords(t *testing.T) {
	c := fake(t, 1, 2)
	fill(t, c.ListenAddrs(), 2, 1)
	r := pacedReader(t, c.ListenAddrs(), everyFrom0(1), time.Hour)
	r.wait(1)
	polls := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Count: -1, Observe: true})
	for range 10 {
		fill(t, c.ListenAddrs(), 1, 1)
	}
	r.tail.Assign(1, 0)
	r.wait(12)
	if got := polls.Hits(); got > 3 { // the first assignment may end one rest, too
		t.Errorf("%d polls for 11 records", got)
	}
}

// Batches by other clients: compressed, several to an answer, and with the
// brokers' own records between, which are passed over.
func TestTailReadsWhatOthersWrite(t *testing.T) {
	c := fake(t, 1, 1)
	ctx := testContext(t)
	var codecs = []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for i, codec := range codecs {
		client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ProducerBatchCompression(codec),
			kgo.TransactionalID(number(i)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for n := range 100 {
			rec := &kgo.Record{Topic: topic.Account, Value: []byte(number(i*100 + n)), Headers: []kgo.RecordHeader{{Key: topic.HeaderKind, Value: []byte("x")}}}
			if err := client.ProduceSync(ctx, rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
	got := readerOf(t, c.ListenAddrs(), everyFrom0(1)).wait(500)[0]
	for i, f := range got {
		if want := int64(i + i/100); f.Offset != want || string(f.Value) != number(i) || string(f.Header(topic.HeaderKind)) != "x" || f.Key != nil {
			t.Fatalf("record %d: got %d %q %s, want offset %d", i, f.Offset, f.Key, f.Value, want)
		}
	}
}

func TestEndsAndStarts(t *testing.T) {
	c := fake(t, 2, 4)
	fill(t, c.ListenAddrs(), 4, 10)
	if err := c.DeleteRecords(topic.Account, 2, 7); err != nil {
		t.Fatal(err)
	}
	tail := quietTail(t, c.ListenAddrs())
	defer tail.Close()
	ctx := testContext(t)
	ends, err := tail.Ends(ctx, topic.Account)
	if err != nil || len(ends) != 4 || ends[0] != 10 {
		t.Errorf("ends: %v, %v", ends, err)
	}
	starts, err := tail.Starts(ctx, topic.Account)
	if err != nil || len(starts) != 4 || starts[2] != 7 || starts[0] != 0 {
		t.Errorf("starts: %v, %v", starts, err)
	}
	if outbox, err := tail.Ends(ctx, topic.Outbox); err != nil || len(outbox) != 4 || outbox[1] != 0 {
		t.Errorf("another topic's ends: %v, %v", outbox, err)
	}
	if n, err := tail.Partitions(ctx); n != 4 || err != nil {
		t.Errorf("partitions: %d, %v", n, err)
	}
}

func TestTailHealth(t *testing.T) {
	c := fake(t, 1, 1)
	r := readerOf(t, c.ListenAddrs(), everyFrom0(1))
	fill(t, c.ListenAddrs(), 1, 1)
	r.wait(1)
	if err := r.tail.Health(); err != nil {
		t.Error(err)
	}
	c.Close()
	for ctx := testContext(t); r.tail.Health() == nil; {
		if !sleep(ctx, backoff(1)) {
			t.Fatal("healthy without a broker")
		}
	}
}
