package projector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// A crowd is accounts that are connected, whose presence then changes.
type crowd struct {
	log      *logtest.Log
	accounts []jid.Bare
	bindings [][]byte
	sequence uint64
}

func newCrowd(l *logtest.Log, n int) *crowd {
	c := &crowd{log: l}
	for i := range n {
		c.accounts = append(c.accounts, jid.MustBare(fmt.Sprintf("user%d@localhost", i)))
		id := uuid.New()
		c.bindings = append(c.bindings, id[:])
		c.put(i, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
		c.put(i, &event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "desk", Edge: "e1", Epoch: 1}}})
	}
	return c
}

func (c *crowd) put(i int, e *event.Event) topic.Position {
	c.sequence++
	e.At, e.Origin, e.Sequence, e.Binding = 1_790_000_000_000_000+int64(c.sequence), "edge/e1/1", c.sequence, c.bindings[i]
	if e.Id == nil {
		id := uuid.New()
		e.Id = id[:]
	}
	value, err := event.Marshal(e)
	if err != nil {
		panic(err)
	}
	a := c.accounts[i]
	return c.log.Put(projector.Record{Topic: topic.Account, Partition: topic.Partition(a, c.log.Partitions), Key: []byte(a.String()), Value: value})
}

func (c *crowd) change(n int) topic.Position {
	i := n * 7919 % len(c.accounts)
	return c.put(i, &event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "desk",
		Presence: &event.Presence{Show: []string{"", "away", "dnd"}[n%3], Status: fmt.Sprint("status ", n), Priority: 5}}}})
}

// How fast a log of presence changes gets into Postgres: events in all, of
// which those of one account in one unit are one row.
func BenchmarkProject(b *testing.B) {
	for _, accounts := range []int{2_000, 20_000} {
		b.Run(fmt.Sprintf("accounts=%d", accounts), func(b *testing.B) {
			bench := newBench(b)
			c := newCrowd(bench.log, accounts)
			bench.group.Give("a", all()...)
			o := bench.options("a")
			o.Tail = bench.log.Tail(5000)
			stop, _ := bench.start(o)
			bench.settle()
			if err := stop(); err != nil {
				b.Fatal(err)
			}
			const round = 100_000
			n := 0
			for b.Loop() {
				b.StopTimer()
				for range round {
					c.change(n)
					n++
				}
				o.Tail = bench.log.Tail(5000)
				b.StartTimer()
				stop, _ := bench.start(o) // with nothing in memory
				bench.settle()
				b.StopTimer()
				if err := stop(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// From the append of a lone event to its commit; and, for a subscription
// request to somebody else, until its reaction is in the log.
func BenchmarkLatency(b *testing.B) {
	bench := newBench(b)
	c := newCrowd(bench.log, 100)
	bench.group.Give("a", all()...)
	stop, _ := bench.start(bench.options("a"))
	bench.settle()
	b.Run("commit", func(b *testing.B) {
		n := 0
		for b.Loop() {
			at := c.change(n)
			n++
			var next int64
			for next <= at.Offset {
				if err := bench.pool.QueryRow(b.Context(), "SELECT next_offset FROM views.projected WHERE partition = $1", at.Partition).Scan(&next); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("reaction", func(b *testing.B) {
		n := 0
		for b.Loop() {
			to := c.accounts[(n+1)%100]
			before := len(bench.log.Records(topic.Outbox, topic.Partition(c.accounts[n%100], partitions)))
			c.put(n%100, &event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: to.String(), Name: fmt.Sprint(n), RequestId: "r", Resource: "desk"}}})
			for len(bench.log.Records(topic.Outbox, topic.Partition(c.accounts[n%100], partitions))) < before+2 {
				time.Sleep(50 * time.Microsecond)
			}
			n++
		}
	})
	if err := stop(); err != nil {
		b.Fatal(err)
	}
}

// The fold alone, decoding included.
func BenchmarkFold(b *testing.B) {
	l := logtest.New(1)
	c := newCrowd(l, 1000)
	for n := range 10_000 {
		c.change(n)
	}
	records := l.Records(topic.Account, 0)
	events := 0
	for b.Loop() {
		p := fold.Partition{Of: 1}
		states := make(map[string]*account.State)
		for offset, record := range records {
			r, err := fold.Decode(0, int64(offset), record.Key, record.Value)
			if err != nil || r.Garbage != nil {
				b.Fatal(err, r.Garbage)
			}
			s := states[r.Key]
			if s == nil {
				bare, err := fold.Account(r.Key, 0, 1)
				if err != nil {
					b.Fatal(err)
				}
				s = account.New(bare)
				states[r.Key] = s
			}
			if p.Admit(&r) {
				p.Discard(&r, s)
			}
		}
		events += len(records)
	}
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
}
