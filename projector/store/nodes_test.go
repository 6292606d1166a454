package store

import (
	"testing"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Payloads are written once and not loaded: a state without them goes on.
func TestPayloadsAreNotLoaded(t *testing.T) {
	s, _ := opened(t)
	if _, err := s.Open(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	who := jid.MustBare("u1@localhost")
	publish := func(id string) *event.Event {
		return &event.Event{At: 5, Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
			Node: "n", Id: id, Payload: []byte("<x>" + id + "</x>"), Config: &event.NodeConfig{MaxItems: 3},
		}}}
	}
	state := account.New(who)
	state.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	for i, id := range []string{"z", "b", "y", "a"} {
		state.Apply(int64(2+i), publish(id))
	}
	state.Apply(6, &event.Event{Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{Space: 1, Payload: []byte("<vCard/>")}}})
	first := Unit{Advances: []Advance{{Partition: 1, From: 0, To: 7, Marks: []byte{}}}}
	first.Collect(state, 1)
	if len(first.Put.NodeItems) != 3 || len(first.Put.Storage) != 1 || first.Put.Storage[0].Payload != "<vCard/>" {
		t.Fatalf("to be written: %+v", first.Put)
	}
	if err := s.Commit(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	loaded, err := s.Load(t.Context(), []jid.Bare{who})
	if err != nil {
		t.Fatal(err)
	}
	for what, state := range map[string]*account.State{"collected": state, "loaded": loaded[who.String()]} {
		items := state.Nodes["n"].Items
		if len(items) != 3 || items[0].ID != "b" || items[1].ID != "y" || items[2].ID != "a" || items[2].Version != 5 || items[2].At != 5 {
			t.Errorf("%s: items %+v", what, items)
		}
		for _, i := range items {
			if i.Payload != nil {
				t.Errorf("%s: a payload is kept", what)
			}
		}
		if e := state.Storage[account.StorageKey{Space: 1}]; e.Version != 6 || e.Payload != nil {
			t.Errorf("%s: stored %+v", what, e)
		}
	}
	var next Unit
	again := loaded[who.String()]
	again.Apply(7, publish("b"))
	next.Collect(again, 1)
	if len(next.Put.NodeItems) != 1 || next.Put.NodeItems[0].Payload != "<x>b</x>" || next.Remove.Len() != 0 {
		t.Errorf("to be written after: %+v, removed %+v", next.Put, next.Remove)
	}
}
