package edge_test

import (
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// A projector that takes over from another may publish again what that one
// had: clients hear of it once.
func TestCopiesInTheOutboxAreDropped(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	juliet := jid.MustBare("juliet@example.com")
	partition := topic.Partition(juliet, 4)
	next := int64(1000)
	tell := func(origin string, sequence uint64, index uint32, from string) {
		p.edge.Frames(partition, []*wire.Frame{{What: &wire.Frame_Output{Output: &wire.Output{
			Account: juliet.String(), Offset: next, Output: &event.Output{
				Origin: origin, Sequence: sequence, Index: index,
				Kind: &event.Output_SubscriptionStanza{SubscriptionStanza: &event.SubscriptionStanza{From: from, Verb: event.Verb_VERB_SUBSCRIBE}},
			},
		}}}})
		next++
	}
	tell("p/100", 100, 0, "a@example.com")
	tell("p/100", 100, 1, "b@example.com")
	tell("p/100", 100, 0, "a@example.com")
	tell("p/100", 100, 1, "b@example.com")
	tell("p/200", 7, 0, "c@example.com")
	tell("p/100", 101, 0, "d@example.com")
	p.expect("juliet/balcony", "presence type=subscribe from=a@", "presence type=subscribe from=b@",
		"presence type=subscribe from=c@", "presence type=subscribe from=d@")
}
