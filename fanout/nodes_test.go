package fanout_test

import (
	"fmt"
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
		`news juliet@x mood 1 "" ACCESS_OPEN by balcony, retracted true, purged false, deleted false`,
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

// Who publishes under an access that was read before another was set in the
// log is heard by who may hear it by the log.
func TestNewsUnderTheAccessOfTheLog(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	e1, e2 := w.attach("e1", 1), w.attach("e2", 1)
	w.work("w", nil, all...)
	balcony := e1.bind(juliet, "balcony")
	e2.follow(juliet, juliet)
	publish := func(node, id string, access event.Access) {
		balcony.write(&event.Event{Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
			Node: node, Id: id, Config: &event.NodeConfig{Access: access},
		}}})
	}
	publish("a", "1", event.Access_ACCESS_PRESENCE)
	balcony.write(&event.Event{Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{
		Node: "a", Config: &event.NodeConfig{Access: event.Access_ACCESS_OWNER},
	}}})
	publish("a", "2", event.Access_ACCESS_PRESENCE)
	publish("b", "1", event.Access_ACCESS_OWNER) // makes the node
	publish("b", "2", event.Access_ACCESS_OPEN)
	balcony.write(&event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "b", Access: event.Access_ACCESS_OPEN}}})
	publish("b", "3", event.Access_ACCESS_OPEN) // makes it anew
	told := func(node, id, access string, deleted bool) string {
		return fmt.Sprintf("news juliet@x %s %s \"\" %s by , retracted false, purged false, deleted %v", node, id, access, deleted)
	}
	want := []string{
		told("a", "1", "ACCESS_PRESENCE", false), told("a", "2", "ACCESS_OWNER", false), told("b", "1", "ACCESS_OWNER", false),
		told("b", "2", "ACCESS_OWNER", false), told("b", "", "ACCESS_OWNER", true), told("b", "3", "ACCESS_OPEN", false),
	}
	e2.hears(want[len(want)-1])
	e2.mu.Lock()
	defer e2.mu.Unlock()
	got := slices.DeleteFunc(slices.Clone(e2.heard), func(h string) bool { return h[:4] != "news" })
	if !slices.Equal(got, want) {
		t.Errorf("heard %q", got)
	}
}
