package node

import (
	"slices"
	"strings"
	"testing"
)

func names(n Node) string { return strings.Join(ids(n.Items), " ") }

func TestItemsAreKeptInOrder(t *testing.T) {
	n := Node{Config: Config{MaxItems: 3}}
	var gone []string
	for _, step := range []struct{ id, want, gone string }{
		{"a", "a", ""}, {"b", "a b", ""}, {"c", "a b c", ""}, {"a", "b c a", ""}, {"d", "c a d", "b"},
	} {
		before, items := n, slices.Clone(n.Items)
		if n, gone = n.Publish(Item{ID: step.id}); names(n) != step.want || strings.Join(gone, " ") != step.gone {
			t.Errorf("after %s: %s, gone %v", step.id, names(n), gone)
		}
		if !slices.EqualFunc(before.Items, items, func(a, b Item) bool { return a.ID == b.ID }) {
			t.Error("the items given were changed")
		}
	}
	n, gone = n.Configure(Config{MaxItems: 1}, 9)
	if names(n) != "d" || strings.Join(gone, " ") != "c a" || n.Version != 9 {
		t.Errorf("configured: %s, gone %v", names(n), gone)
	}
	if n, gone = n.Publish(Item{ID: "e"}); names(n) != "e" || len(gone) != 1 {
		t.Errorf("a node of one item: %s, gone %v", names(n), gone)
	}
	if _, ok := n.Retract("d"); ok {
		t.Error("retracted what is not there")
	}
	if n, ok := n.Retract("e"); !ok || len(n.Items) != 0 {
		t.Error("not retracted")
	}
	if n, gone := n.Purge(); len(n.Items) != 0 || len(gone) != 1 {
		t.Error("not purged")
	}
	if n, gone := (Node{Config: Config{Transient: true, MaxItems: 5}}).Publish(Item{ID: "a"}); len(n.Items) != 0 || gone != nil {
		t.Error("a transient node keeps an item")
	}
}

func TestAccess(t *testing.T) {
	for access, want := range map[Access][2]bool{Presence: {false, true}, Open: {true, true}, Owner: {false, false}, 0: {false, false}, 9: {false, false}} {
		if access.Allows(false) != want[0] || access.Allows(true) != want[1] {
			t.Errorf("access %d", access)
		}
	}
	if Default.Keeps() != 1 || (Config{}).Keeps() != 1 {
		t.Error("an unconfigured node keeps one item")
	}
}
