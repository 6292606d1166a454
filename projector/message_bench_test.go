package projector_test

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

// How fast messages between 2,000 accounts get into Postgres and what they
// cause into the log, each with its Delivered; with and without the ids that
// clients give them, which are remembered of each account.
func BenchmarkProjectMessages(b *testing.B) {
	for _, origins := range []bool{false, true} {
		b.Run(fmt.Sprintf("origins=%v", origins), func(b *testing.B) {
			bench := newBench(b)
			c := newCrowd(bench.log, 2_000)
			bench.group.Give("a", all()...)
			o := bench.options("a")
			o.Tail = bench.log.Tail(5000)
			stop, _ := bench.start(o)
			bench.settle()
			if err := stop(); err != nil {
				b.Fatal(err)
			}
			const round = 20_000
			n := 0
			for b.Loop() {
				b.StopTimer()
				for range round {
					i, from := n*7919%2_000, c.accounts[(n+1)%2_000]
					m := &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: fmt.Sprint(n), Body: "hello there", Payload: []byte("<body>hello there</body>"),
						Storable: true, Archive: event.Archive_ARCHIVE_YES}
					if origins {
						m.OriginId = fmt.Sprint("b5f0a3c2-7c1e-4a57-9f3e-", n)
					}
					at := c.put(i, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: from.String() + "/desk", Message: m, MaxWaiting: 1000}}})
					c.put(i, &event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: at.Offset, Resource: "desk"}}})
					n++
				}
				o.Tail = bench.log.Tail(5000)
				b.StartTimer()
				stop, _ := bench.start(o)
				bench.settle()
				b.StopTimer()
				if err := stop(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
