package history

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// BenchmarkCopy copies a log of messages and presence into an empty archive, in
// blocks of the given rows; it reports records a second.
func BenchmarkCopy(b *testing.B) {
	for _, rows := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint("rows=", rows), func(b *testing.B) {
			total := min(100*rows, 1_200_000)
			for b.Loop() {
				b.StopTimer()
				bench := newBench(b)
				fill(b, bench.log, total)
				h := bench.writer(func(o *Options) { o.MaxRows = rows })
				b.StartTimer()
				stop := bench.running(h)
				bench.archived(bench.log.ends())
				b.StopTimer()
				if err := stop(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(total)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkLone is the time from a record in the log to its row in ClickHouse,
// with the default linger.
func BenchmarkLone(b *testing.B) {
	bench := newBench(b)
	bench.running(bench.writer(func(o *Options) { o.Linger = 0 }))
	for b.Loop() {
		fill(b, bench.log, 1)
		bench.archived(bench.log.ends())
	}
}

// BenchmarkRead reads a partition back.
func BenchmarkRead(b *testing.B) {
	bench := newBench(b)
	const total = 200_000
	fill(b, bench.log, total)
	stop := bench.running(bench.writer(func(o *Options) { o.MaxRows = 50_000 }))
	bench.archived(bench.log.ends())
	if err := stop(); err != nil {
		b.Fatal(err)
	}
	read := 0
	for b.Loop() {
		for p := range int32(partitions) {
			err := NewArchive(bench.conn).Read(b.Context(), p, 0, total, func(int64, string, []byte) error { read++; return nil })
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "records/s")
}

// fill writes n records of 4,000 accounts: half messages, half presence, whose
// sessions come, become available, go away and end.
func fill(b testing.TB, log *memoryLog, n int) {
	accounts := make([]string, 4000)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("user%d@rollcall.example", i)
	}
	bindings := make(map[string]uuid.UUID)
	for i := range n {
		account, e := accounts[i*7%4000], new(event.Event)
		switch {
		case i%2 == 0:
			e.Kind = &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: accounts[i/2%4000] + "/desk",
				Message: chat(fmt.Sprintf("message %d: an ordinary line of a conversation", i))}}
		case i/4000%4 == 0:
			id := uuid.New()
			e.Id, bindings[account] = id[:], id
			e.Kind = &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "phone", Edge: "e1", Epoch: 4}}
		case i/4000%4 == 3:
			e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: "phone"}}
		default:
			e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
				Resource: "phone", Presence: &event.Presence{Show: "away", Status: "back soon", Priority: 5}}}
		}
		if id := bindings[account]; i%2 == 1 && e.Id == nil {
			e.Binding = id[:]
		}
		log.event(b, account, noon.Add(time.Duration(i)*time.Millisecond), e)
	}
}
