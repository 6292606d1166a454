package account

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
)

// Lines of text for nodes and storage:
//
//	juliet/balcony publishes mood 1 happy [open|owner] [3] [transient]
//	juliet/balcony retracts mood 1
//	juliet/balcony configures mood open 3
//	juliet/balcony deletes mood        juliet/balcony purges mood
//	juliet/balcony stores card text    juliet/balcony stores card

// nodeEvent gives the event of such a line.
func nodeEvent(resource, verb string, words []string) *event.Event {
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	config := func(words []string) *event.NodeConfig {
		c := &event.NodeConfig{}
		for _, word := range words {
			switch n, err := strconv.Atoi(word); {
			case err == nil:
				c.MaxItems = uint32(n)
			case word == "open":
				c.Access = event.Access_ACCESS_OPEN
			case word == "owner":
				c.Access = event.Access_ACCESS_OWNER
			case word == "transient":
				c.Transient = true
			}
		}
		return c
	}
	switch verb {
	case "publishes":
		return &event.Event{Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
			Node: arg(0), Id: arg(1), Payload: []byte(arg(2)), Config: config(words[min(3, len(words)):]), RequestId: "n1", Resource: resource,
		}}}
	case "retracts":
		return &event.Event{Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{
			Node: arg(0), Id: arg(1), RequestId: "n1", Resource: resource,
		}}}
	case "configures":
		return &event.Event{Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{
			Node: arg(0), Config: config(words[1:]), RequestId: "n1", Resource: resource,
		}}}
	case "deletes", "purges":
		return &event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{
			Node: arg(0), Purge: verb == "purges", RequestId: "n1", Resource: resource,
		}}}
	case "stores":
		return &event.Event{Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{
			Space: event.StorageSet_SPACE_PRIVATE, Name: arg(0), Payload: []byte(arg(1)), RequestId: "n1", Resource: resource,
		}}}
	}
	return nil
}

// changedNodes describes what was touched of nodes and storage.
func (s *State) changedNodes(name string) (lines []string) {
	for _, n := range slices.Sorted(maps.Keys(s.Changes.Nodes)) {
		lines = append(lines, name+": node "+n+" "+s.describeNode(n))
	}
	order := func(a, b NodeItem) int { return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.ID, b.ID)) }
	for _, k := range slices.SortedFunc(maps.Keys(s.Changes.NodeItems), order) {
		text := "gone"
		if i := s.Nodes[k.Node].Find(k.ID); i >= 0 {
			item := s.Nodes[k.Node].Items[i]
			text = fmt.Sprintf("%s, version %d, %d of %d", item.Payload, item.Version, i+1, len(s.Nodes[k.Node].Items))
		}
		lines = append(lines, fmt.Sprintf("%s: item %s of %s %s", name, k.ID, k.Node, text))
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.Changes.Storage), func(a, b StorageKey) int { return strings.Compare(a.Name, b.Name) }) {
		text := "gone"
		if e, ok := s.Storage[k]; ok {
			text = fmt.Sprintf("%s, version %d", e.Payload, e.Version)
		}
		lines = append(lines, name+": stored "+k.Name+" "+text)
	}
	return lines
}

func (s *State) describeNode(name string) string {
	n, ok := s.Nodes[name]
	if !ok {
		return "gone"
	}
	access := map[node.Access]string{node.Presence: "presence", node.Open: "open", node.Owner: "owner"}[n.Access]
	return fmt.Sprintf("%s, keeps %d, version %d", access, n.Keeps(), n.Version)
}

// touchNodes notes everything as touched.
func (s *State) touchNodes() {
	for name, n := range s.Nodes {
		note(&s.Changes.Nodes, name)
		for _, i := range n.Items {
			note(&s.Changes.NodeItems, NodeItem{name, i.ID})
		}
	}
	for k := range s.Storage {
		note(&s.Changes.Storage, k)
	}
}

// items gives all items by their names.
func (s *State) items() map[NodeItem]node.Item {
	all := make(map[NodeItem]node.Item)
	for name, n := range s.Nodes {
		for _, i := range n.Items {
			all[NodeItem{name, i.ID}] = i
		}
	}
	return all
}

// configs gives all nodes without their items.
func (s *State) configs() map[string]node.Node {
	all := maps.Clone(s.Nodes)
	for name, n := range all {
		n.Items = nil
		all[name] = n
	}
	return all
}
