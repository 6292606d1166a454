package fanout_test

import (
	"slices"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

// News of a node go to the edges that follow its account, in the log's order
// with presence and revocations, and not to others.
func TestNewsOfNodesFollowRoutes(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet, nurse)
	w.befriend(juliet, romeo)
	e1, e2, e3 := w.attach("e1", 1), w.attach("e2", 1), w.attach("e3", 1)
	w.work("w", nil, all...)
	balcony := e1.bind(juliet, "balcony")
	e2.follow(juliet, romeo)
	e3.follow(nurse, nurse)
	e2.mu.Lock()
	e2.heard = nil
	e2.mu.Unlock()

	balcony.write(&event.Event{Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
		Node: "mood", Id: "1", Payload: []byte("<x/>"), Config: &event.NodeConfig{Access: event.Access_ACCESS_OPEN}, Resource: "balcony",
	}}})
	balcony.write(&event.Event{Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{Node: "mood", Id: "1"}}})
	balcony.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
	balcony.write(&event.Event{Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{
		Node: "mood", Id: "1", Notify: true, Access: event.Access_ACCESS_OWNER, Resource: "balcony",
	}}})
	balcony.write(&event.Event{Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{Node: "mood"}}})
	balcony.write(&event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "mood", Purge: true, Resource: "balcony"}}})
	balcony.write(&event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "mood", Resource: "balcony"}}})
	want := []string{
		`news juliet@x mood 1 "<x/>" ACCESS_OPEN by balcony, retracted false, purged false, deleted false`,
		`admission juliet@x romeo@x false`,
		`news juliet@x mood 1 "" ACCESS_OWNER by balcony, retracted true, purged false, deleted false`,
		`news juliet@x mood  "" ACCESS_UNSPECIFIED by balcony, retracted false, purged true, deleted false`,
		`news juliet@x mood  "" ACCESS_UNSPECIFIED by balcony, retracted false, purged false, deleted true`,
	}
	e2.hears(want[len(want)-1])
	e2.mu.Lock()
	defer e2.mu.Unlock()
	if !slices.Equal(e2.heard, want) {
		t.Errorf("heard %q", e2.heard)
	}
	e3.mu.Lock()
	defer e3.mu.Unlock()
	if slices.ContainsFunc(e3.heard, func(h string) bool { return h[:4] == "news" }) {
		t.Errorf("another edge heard %q", e3.heard)
	}
}
