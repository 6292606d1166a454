package eventlog

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/topic"
)

// The whole on real brokers: topics, concurrent appends, tail, offsets, group.
func TestOnEngines(t *testing.T) {
	localtest.Kafkas(t, func(t *testing.T, brokers []string) {
		const partitions, writers, each = 8, 8, 1000
		ctx := testContext(t)
		for range 2 {
			if err := EnsureTopics(ctx, brokers, TopicsOptions{Partitions: partitions}); err != nil {
				t.Fatal(err)
			}
		}
		var wrong *PartitionsError
		if err := EnsureTopics(ctx, brokers, TopicsOptions{Partitions: 4}); !errors.As(err, &wrong) {
			t.Errorf("another number of partitions: got %v", err)
		}

		// The broker may have records of an earlier run in this process.
		admin, err := NewAdmin(brokers)
		if err != nil {
			t.Fatal(err)
		}
		defer admin.Close()
		first, err := admin.Ends(ctx, topic.Account)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		a := appender(t, Options{Brokers: brokers})
		tailed := readerOf(t, brokers, first)
		answers := newCollector()
		var owned sync.WaitGroup
		for p := range writers {
			owned.Go(func() {
				for i := range each {
					a.Append(record(p, number(i)), false, answers.done)
				}
			})
		}
		owned.Wait()
		allStored(t, answers.wait(t, writers*each))
		stored, _ := consume(t, brokers, topic.Account, answers.results)
		for p, records := range tailed.wait(writers * each) {
			for i, f := range records {
				other := stored[p][f.Offset]
				if f.Offset != first[p]+int64(i) || string(f.Value) != number(i) || string(other.Value) != number(i) {
					t.Fatalf("partition %d: the tail has %d %s, another client %s", p, f.Offset, f.Value, other.Value)
				}
			}
		}

		// By time: all of it from before it began, nothing from after it ended.
		for _, x := range []struct {
			at   time.Time
			more int64
		}{{began, 0}, {time.Now().Add(time.Hour), each}} {
			offsets, err := admin.At(ctx, topic.Account, x.at)
			if err != nil {
				t.Fatal(err)
			}
			for p := range int32(writers) {
				if offsets[p] != first[p]+x.more {
					t.Errorf("at %v partition %d: %d, it began at %d", x.at, p, offsets[p], first[p])
				}
			}
		}

		late := quietTail(t, brokers)
		late.Assign(3, first[3]+each+1)
		err = late.Run(ctx, nil)
		var missing *OffsetError
		if !errors.As(err, &missing) || missing.First != 0 || missing.End != first[3]+each {
			t.Errorf("an offset past the end: got %v", err)
		}

		g := &group{t: t, brokers: brokers, has: make(map[string][]int32), changed: make(chan struct{}, 1), session: 6 * time.Second}
		m, leave := g.join("a")
		g.settle(partitions, "a")
		if err := m.Commit(ctx, topic.Account, map[int32]int64{2: 20}); err != nil {
			t.Error(err)
		}
		g.join("b")
		g.settle(partitions, "a", "b")
		if got, err := m.Committed(ctx, topic.Account); err != nil || len(got) != 1 || got[2] != 20 {
			t.Errorf("committed: %v, %v", got, err)
		}
		leave()
		g.settle(partitions, "b")
	})
}
