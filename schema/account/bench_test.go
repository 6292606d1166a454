package account

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// busy gives an account with an available resource and contacts, and the
// binding of that resource.
func busy(contacts int) (*State, []byte) {
	s := New(bare("juliet"))
	s.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{}})
	binding := make([]byte, 16)
	binding[0] = 1
	s.Apply(2, &event.Event{Id: binding, Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "balcony", Edge: "e1", Epoch: 3}}})
	s.Apply(3, &event.Event{Binding: binding, Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "balcony"}}})
	for i := range contacts {
		name := jid.MustBare(fmt.Sprintf("contact%d@example.com", i)).String()
		for _, v := range []event.Verb{event.Verb_VERB_SUBSCRIBE, event.Verb_VERB_SUBSCRIBED} {
			s.Apply(int64(4+i), &event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: name, Verb: v}}})
			s.Apply(int64(4+i), &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: name, Verb: v}}})
		}
	}
	s.Changes.Reset()
	return s, binding
}

func BenchmarkApply(b *testing.B) {
	for _, contacts := range []int{10, 100, 1000} {
		s, binding := busy(contacts)
		message := &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: "hello", Storable: true}
		for _, c := range []struct {
			name   string
			events []*event.Event // applied in turn
		}{
			{"presence", []*event.Event{
				{At: 1, Binding: binding, Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "balcony", Presence: &event.Presence{Show: "away", Status: "brb"}}}},
			}},
			{"set", []*event.Event{
				{At: 1, Binding: binding, Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: "contact1@example.com", Name: "One", RequestId: "r"}}},
			}},
			{"subscription", []*event.Event{
				{At: 1, Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: "romeo@example.com", Verb: event.Verb_VERB_SUBSCRIBE}}},
				{At: 1, Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: "romeo@example.com", Verb: event.Verb_VERB_UNSUBSCRIBE}}},
			}},
			{"message", []*event.Event{
				{At: 1, Id: binding, Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: "contact1@example.com/x", Message: message}}},
				{At: 1, Kind: &event.Event_Delivered{Delivered: &event.Delivered{Resource: "balcony"}}},
			}},
		} {
			b.Run(fmt.Sprintf("%s/contacts=%d", c.name, contacts), func(b *testing.B) {
				b.ReportAllocs()
				offset := int64(1 << 20)
				for b.Loop() {
					for _, e := range c.events {
						if d := e.GetDelivered(); d != nil {
							d.Offset = offset
						} else {
							offset++
						}
						s.Apply(offset, e)
					}
					s.Changes.Reset()
				}
				b.ReportMetric(float64(b.N*len(c.events))/b.Elapsed().Seconds(), "folds/s")
			})
		}
	}
}

func BenchmarkAdmit(b *testing.B) {
	var m Marks
	events := make([]*event.Event, 32)
	for i := range events {
		events[i] = from(fmt.Sprintf("edge/%d/1", i), 0, 0)
	}
	m.Admit(lost("gone", 1))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e := events[i%len(events)]
		e.Sequence++
		if !m.Admit(e) {
			b.Fatal("not admitted")
		}
		i++
	}
}
