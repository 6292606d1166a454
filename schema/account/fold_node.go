package account

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
	"github.com/rollcall/rollcall/schema/presence"
)

// A NodeItem names an item of a node of an account.
type NodeItem struct{ Node, ID string }

// A StorageKey names what an account keeps: its vCard (XEP-0054), or private
// XML (XEP-0049) by its name.
type StorageKey struct {
	Space event.StorageSet_Space
	Name  string
}

// A StorageEntry is what is kept. Payload is XML, and nil where only the rest
// was loaded: the fold does not read it.
type StorageEntry struct {
	Version int64 // offset of the event that set it
	Payload []byte
}

// A Departure is the last end of presence: when the last available resource
// went (XEP-0012, section 4). It is zero before any.
type Departure struct {
	At     int64 // microseconds since 1970 UTC
	Status string
}

// nodeItemPublished adds an item. The node is made as the event says if it is
// not there; one that is there stays as it is configured, for the edge has
// checked that the publisher expects that (XEP-0060, section 7.1.5).
func (f *folding) nodeItemPublished(p *event.NodeItemPublished) {
	n, there := f.Nodes[p.GetNode()]
	if !there {
		n = node.Node{Config: nodeConfig(p.GetConfig()), Version: f.offset}
		note(&f.Changes.Nodes, p.GetNode())
	}
	n, gone := n.Publish(node.Item{ID: p.GetId(), Version: f.offset, At: f.e.GetAt(), Payload: p.GetPayload()})
	put(&f.Nodes, p.GetNode(), n)
	f.noteItems(p.GetNode(), append(gone, p.GetId()))
	f.answer(p.GetResource(), p.GetRequestId(), "")
}

// nodeItemRetracted takes an item away (XEP-0060, section 7.2).
func (f *folding) nodeItemRetracted(r *event.NodeItemRetracted) {
	n, ok := f.Nodes[r.GetNode()].Retract(r.GetId())
	if !ok {
		f.answer(r.GetResource(), r.GetRequestId(), "item-not-found")
		return
	}
	f.Nodes[r.GetNode()] = n
	f.noteItems(r.GetNode(), []string{r.GetId()})
	f.answer(r.GetResource(), r.GetRequestId(), "")
}

// nodeConfigured makes or configures a node (XEP-0060, sections 8.1 and 8.2).
func (f *folding) nodeConfigured(c *event.NodeConfigured) {
	n, gone := f.Nodes[c.GetNode()].Configure(nodeConfig(c.GetConfig()), f.offset)
	put(&f.Nodes, c.GetNode(), n)
	note(&f.Changes.Nodes, c.GetNode())
	f.noteItems(c.GetNode(), gone)
	f.answer(c.GetResource(), c.GetRequestId(), "")
}

// nodeDeleted takes a node away, or only its items (XEP-0060, sections 8.4 and
// 8.5).
func (f *folding) nodeDeleted(d *event.NodeDeleted) {
	n, there := f.Nodes[d.GetNode()]
	if !there {
		f.answer(d.GetResource(), d.GetRequestId(), "item-not-found")
		return
	}
	n, gone := n.Purge()
	f.noteItems(d.GetNode(), gone)
	if d.GetPurge() {
		f.Nodes[d.GetNode()] = n
	} else {
		delete(f.Nodes, d.GetNode())
		note(&f.Changes.Nodes, d.GetNode())
	}
	f.answer(d.GetResource(), d.GetRequestId(), "")
}

// storageSet replaces what is kept under a name.
func (f *folding) storageSet(s *event.StorageSet) {
	key := StorageKey{s.GetSpace(), s.GetName()}
	if len(s.GetPayload()) == 0 {
		if _, there := f.Storage[key]; there {
			delete(f.Storage, key)
			note(&f.Changes.Storage, key)
		}
	} else {
		put(&f.Storage, key, StorageEntry{Version: f.offset, Payload: s.GetPayload()})
		note(&f.Changes.Storage, key)
	}
	f.answer(s.GetResource(), s.GetRequestId(), "")
}

func (f *folding) noteItems(name string, ids []string) {
	for _, id := range ids {
		note(&f.Changes.NodeItems, NodeItem{name, id})
	}
}

// dropNodes forgets all that the account published or kept.
func (f *folding) dropNodes() {
	for name, n := range f.Nodes {
		note(&f.Changes.Nodes, name)
		for _, i := range n.Items {
			note(&f.Changes.NodeItems, NodeItem{name, i.ID})
		}
	}
	for key := range f.Storage {
		note(&f.Changes.Storage, key)
	}
}

// departed is called after a resource, which was r, has ceased to be what it
// was: if it was the last available one, that is the account's departure.
func (f *folding) departed(r presence.Resource, status string) {
	if f.seen(r) {
		f.left(status)
	}
}

// left is departed for a resource that subscribers saw.
func (f *folding) left(status string) {
	for _, other := range f.Resources {
		if f.seen(other) {
			return
		}
	}
	f.Departed = Departure{At: f.e.GetAt(), Status: status}
	f.Changes.Account = true
}

// nodeConfig gives what c says, without a c the default.
func nodeConfig(c *event.NodeConfig) node.Config {
	if c == nil {
		return node.Default
	}
	access := node.Access(c.GetAccess())
	if access == 0 {
		access = node.Presence
	}
	return node.Config{Access: access, MaxItems: c.GetMaxItems(), Transient: c.GetTransient(), NoLastItem: c.GetNoLastItem()}
}
