// Package node holds the rules of the nodes of an account (XEP-0163, a subset
// of XEP-0060): which items a node keeps, and who may read them. It is pure.
package node

import "slices"

// Access tells who may read a node (XEP-0060, section 4.5). The numbers are
// those of event.Access.
type Access int32

// The access models that are supported.
const (
	Presence Access = 1 + iota // who may see the account's presence; the default
	Open                       // everybody
	Owner                      // the account alone: "whitelist" with nobody on it
)

// Allows tells whether a node with this access may be read by another account,
// which is admitted if it may see the owner's presence. What is no known
// access is for the owner alone.
func (a Access) Allows(admitted bool) bool { return a == Open || a == Presence && admitted }

// Config is how a node is configured (XEP-0060, section 16.4.4).
type Config struct {
	Access     Access
	MaxItems   uint32 // that are kept; 0 stands for 1
	Transient  bool   // items are only notified
	NoLastItem bool   // the last item is not sent to who becomes available
}

// Default is the configuration of a node that nobody configured (XEP-0163,
// section 5).
var Default = Config{Access: Presence, MaxItems: 1}

// Keeps gives how many items the node keeps.
func (c Config) Keeps() int {
	switch {
	case c.Transient:
		return 0
	case c.MaxItems == 0:
		return 1
	}
	return int(c.MaxItems)
}

// An Item is an item of a node.
type Item struct {
	ID      string
	Version int64  // offset of the event that published it
	At      int64  // when, microseconds since 1970 UTC
	Payload []byte // XML; nil also where only the rest was loaded: no rule reads it
}

// A Node is a node with its items, the one that was published last at the end.
// It is a value: no method changes the items that it was given.
type Node struct {
	Config
	Version int64 // offset of the event that made or configured it
	Items   []Item
}

// Find gives the place of an item, -1 if it is not there.
func (n Node) Find(id string) int {
	return slices.IndexFunc(n.Items, func(i Item) bool { return i.ID == id })
}

// Publish gives the node with i as its last item, in the place of one with the
// same id, and the ids of the items that it does not keep any more. A transient
// node stays as it was.
func (n Node) Publish(i Item) (Node, []string) {
	if n.Keeps() == 0 {
		return n, nil
	}
	items := make([]Item, 0, len(n.Items)+1)
	for _, old := range n.Items {
		if old.ID != i.ID {
			items = append(items, old)
		}
	}
	n.Items = append(items, i)
	return n.prune()
}

// Configure gives the node with another configuration, and the ids of the
// items that it does not keep any more.
func (n Node) Configure(c Config, version int64) (Node, []string) {
	n.Config, n.Version = c, version
	return n.prune()
}

// Retract gives the node without an item; it is not ok if there is none.
func (n Node) Retract(id string) (_ Node, ok bool) {
	i := n.Find(id)
	if i < 0 {
		return n, false
	}
	n.Items = slices.Delete(slices.Clone(n.Items), i, i+1)
	return n, true
}

// Purge gives the node without items, and the ids of those it had.
func (n Node) Purge() (Node, []string) {
	gone := ids(n.Items)
	n.Items = nil
	return n, gone
}

// prune drops the oldest items of too many.
func (n Node) prune() (Node, []string) {
	over := len(n.Items) - n.Keeps()
	if over <= 0 {
		return n, nil
	}
	gone := ids(n.Items[:over])
	n.Items = n.Items[over:]
	return n, gone
}

func ids(items []Item) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = item.ID
	}
	return all
}
