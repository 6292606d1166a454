package watch

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// How fast a stream that goes on from an older position gets there: each record
// is decoded and folded, one in four of them a change.
func BenchmarkApply(b *testing.B) {
	const accounts = 10_000
	type record struct {
		key   string
		value []byte
	}
	var log []record
	put := func(key string, e *event.Event) {
		e.Origin, e.Sequence, e.At = "edge/e1/1", uint64(len(log)+1), int64(len(log))
		value, err := event.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		log = append(log, record{key, value})
	}
	for i := range accounts {
		key, id := fmt.Sprintf("user%d@localhost", i), uuid.New()
		message := func(from string) {
			put(key, &event.Event{Id: id[:], Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: from,
				Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: "What's in a name?", Payload: []byte("<body>What's in a name?</body>"), Storable: true}}}})
		}
		put(key, &event.Event{Id: id[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "balcony", Edge: "e1", Epoch: 1}}})
		put(key, &event.Event{Id: id[:], Binding: id[:], Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "balcony",
			Presence: &event.Presence{Show: "away", Status: "gone to the orchard"}}}})
		message("romeo@localhost/orchard")
		message("nurse@localhost/hall")
	}
	b.ResetTimer()
	for n := 0; b.Loop(); {
		p := New(0, 1)
		changes := 0
		for offset := range log {
			r := &log[offset]
			e, err := event.Decode(r.value)
			if err != nil {
				b.Fatal(err)
			}
			for _, c := range p.Apply(int64(offset), r.key, e) {
				if c.Presence != nil {
					changes++
				}
			}
		}
		if changes != accounts {
			b.Fatalf("%d changes", changes)
		}
		n += len(log)
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	}
}
