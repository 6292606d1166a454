package fanout

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// newRouting gives a partition that has caught up, with two edges attached and
// without a Postgres behind it.
func newRouting(t testing.TB) (*partition, [2]*peer) {
	o := Options{AnswerAccounts: 10, Logger: slog.New(slog.DiscardHandler)}
	w := &Worker{options: o, metrics: newMetrics(nil, nil), inboxes: newInboxes(&o)}
	p := newPartition(t.Context(), w, 3)
	p.claim, p.caughtUp = 9, true
	var edges [2]*peer
	for n := range edges {
		edges[n] = &peer{edgeKey: edgeKey{fmt.Sprint("e", n+1), 1}, queue: testQueue(1<<40, 1<<30)}
		p.attach(edges[n])
	}
	p.flush()
	return p, edges
}

// bindOn binds a resource of an account, whose inbox is empty, and makes it
// available unless the priority is 1000; it gives the binding.
func bindOn(p *partition, offset int64, account, resource, edge string, priority int32) []byte {
	id := uuid.Must(uuid.NewV7())
	p.event(offset, account, &event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: edge, Epoch: 1}}})
	p.loadedInbox(p.accounts[account], nil, 0, 0, nil)
	if priority < 1000 {
		p.event(offset+1, account, &event.Event{Binding: id[:], Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
			Resource: resource, Presence: &event.Presence{Priority: priority},
		}}})
	}
	return id[:]
}

// BenchmarkMessage measures what a worker does for a message between two
// accounts, from the decoded records to the items for the edges: accepted,
// sent, delivered.
func BenchmarkMessage(b *testing.B) {
	for _, resources := range []int{1, 2} {
		b.Run(fmt.Sprint("resources=", resources), func(b *testing.B) {
			p, edges := newRouting(b)
			offset := int64(10)
			for n := range resources {
				for _, account := range []string{"romeo@x", "juliet@x"} {
					bindOn(p, offset, account, fmt.Sprint("r", n), edges[n].id, 0)
					offset += 2
				}
			}
			sender := p.accounts["juliet@x"].resources["r0"].Binding
			said := &event.Message{
				Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: "m1", Body: "hello", Payload: []byte("<body>hello</body>"), Storable: true,
				Copies: event.Copies_COPIES_ALL,
			}
			accepted := &event.Event{Id: make([]byte, 16), Binding: sender[:], Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
				From: "juliet@x/r0", Resource: "r0", Message: said,
			}}}
			sent := &event.Event{Binding: sender[:], Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{Resource: "r0", To: "romeo@x/r0", Message: said}}}
			delivered := &event.Delivered{Resource: "r0"}
			taken := &event.Event{Kind: &event.Event_Delivered{Delivered: delivered}}
			b.ReportAllocs()
			for b.Loop() {
				p.event(offset, "romeo@x", accepted)
				p.event(offset+1, "juliet@x", sent)
				delivered.Offset = offset
				p.event(offset+2, "romeo@x", taken)
				offset += 3
				for _, e := range edges {
					p.pending[e] = p.pending[e][:0]
				}
			}
		})
	}
}
