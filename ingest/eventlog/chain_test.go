package eventlog

import (
	"errors"
	"log/slog"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Once a record of a chain has failed, nothing behind it in its partition is
// stored; other partitions and other chains go on.
func TestChain(t *testing.T) {
	chained := func(p int, value string, c *Chain) Record {
		r := record(p, value)
		r.Chain = c
		return r
	}
	for _, x := range []struct {
		name  string
		fault func(c *kfake.Cluster)
		first Record
		err   error
	}{
		{"refused by the broker", func(c *kfake.Cluster) {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{0}, Err: kerr.TopicAuthorizationFailed, Count: 1})
		}, record(0, "first"), ErrRefused},
		{"too large", func(*kfake.Cluster) {}, record(0, string(make([]byte, 1000))), ErrRefused},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := fake(t, 1, 2)
			x.fault(c)
			// Each record of a partition goes in a batch of its own.
			a, err := New(Options{Brokers: c.ListenAddrs(), MaxBatchBytes: 60, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			chain, other := new(Chain), new(Chain)
			x.first.Chain = chain
			first, behind, stored := newCollector(), newCollector(), newCollector()
			a.Append(x.first, true, first.done)
			a.Append(chained(0, "behind 1", chain), true, behind.done)
			a.Append(chained(0, "of another chain", other), true, stored.done)
			a.Append(chained(1, "elsewhere", chain), true, stored.done)
			a.Append(record(0, "of none"), true, stored.done)
			a.Append(chained(0, "behind 2", chain), false, behind.done)
			background(t, a.Run)
			if err := first.wait(t, 1)[0].err; !errors.Is(err, x.err) {
				t.Errorf("the first: got %v, want %v", err, x.err)
			}
			a.Append(chained(0, "behind 3", chain), true, behind.done)
			for _, got := range behind.wait(t, 3) {
				if !errors.Is(got.err, ErrBroken) {
					t.Errorf("behind it: got %v, want ErrBroken", got.err)
				}
			}
			allStored(t, stored.wait(t, 3))
			again := newCollector()
			a.Append(chained(0, "first", new(Chain)), true, again.done)
			allStored(t, again.wait(t, 1))
			records := readerOf(t, c.ListenAddrs(), everyFrom0(2)).wait(4)
			var got []string
			for _, f := range slices.Concat(records[0], records[1]) {
				got = append(got, string(f.Value))
			}
			if want := []string{"of another chain", "of none", "first", "elsewhere"}; !slices.Equal(got, want) {
				t.Errorf("stored %q, want %q", got, want)
			}
		})
	}
}
