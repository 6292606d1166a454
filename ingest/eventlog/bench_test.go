package eventlog

import (
	"context"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/topic"
)

// benchmarks run on both brokers, with the log's topics of 8 partitions.
func onBrokers(b *testing.B, run func(b *testing.B, brokers []string)) {
	ensure := func(b *testing.B, brokers []string) {
		if err := EnsureTopics(testContext(b), brokers, TopicsOptions{Partitions: 8}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("embedded", func(b *testing.B) {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		ensure(b, c.ListenAddrs())
		run(b, c.ListenAddrs())
	})
	b.Run("apache", func(b *testing.B) {
		brokers, why, ok := localtest.ApacheKafka(b)
		if !ok {
			b.Log(why)
			return
		}
		ensure(b, brokers)
		run(b, brokers)
	})
}

var value200 = string(make([]byte, 200))

func wait(a *Appender, p int, done chan error) error {
	a.Append(record(p, value200), false, func(_ topic.Position, err error) { done <- err })
	return <-done
}

func BenchmarkAppendAlone(b *testing.B) {
	onBrokers(b, func(b *testing.B, brokers []string) {
		a := appender(b, Options{Brokers: brokers})
		done := make(chan error, 1)
		b.ReportAllocs()
		for b.Loop() {
			if err := wait(a, 1, done); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// 64 goroutines, each waiting for its own append, over 8 partitions.
func BenchmarkAppend64(b *testing.B) {
	onBrokers(b, func(b *testing.B, brokers []string) {
		a := appender(b, Options{Brokers: brokers})
		work := make(chan struct{})
		var owned sync.WaitGroup
		for i := range 64 {
			owned.Go(func() {
				done := make(chan error, 1)
				for range work {
					if err := wait(a, i%8, done); err != nil {
						b.Error(err)
					}
				}
			})
		}
		b.ReportAllocs()
		for b.Loop() {
			work <- struct{}{}
		}
		close(work)
		owned.Wait()
	})
}

// One goroutine that waits for nothing but the bound of the queue.
func BenchmarkAppendStream(b *testing.B) {
	onBrokers(b, func(b *testing.B, brokers []string) {
		a := appender(b, Options{Brokers: brokers})
		room := make(chan struct{}, 20_000)
		done := func(_ topic.Position, err error) {
			if err != nil {
				b.Error(err)
			}
			<-room
		}
		rec := record(0, value200)
		b.ReportAllocs()
		i := int32(0)
		for b.Loop() {
			room <- struct{}{}
			rec.Partition = i % 8
			a.Append(rec, false, done)
			i++
		}
		if err := a.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkTail(b *testing.B) {
	onBrokers(b, func(b *testing.B, brokers []string) {
		const each = 20_000
		fill(b, brokers, 8, each)
		ends, err := adminEnds(b, brokers)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() { // the same 8 x 20,000 records again
			tail := quietTail(b, brokers)
			for p, end := range ends {
				tail.Assign(p, end-each)
			}
			left := 8 * each
			ctx, stop := context.WithCancel(context.Background())
			if err := tail.Run(ctx, func(_ context.Context, batch Batch) error {
				if left -= len(batch.Records); left == 0 {
					stop()
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
			stop()
		}
		b.ReportMetric(float64(8*each)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	})
}

func adminEnds(b *testing.B, brokers []string) (map[int32]int64, error) {
	a, err := NewAdmin(brokers)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return a.Ends(testContext(b), topic.Account)
}
