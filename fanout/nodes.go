package fanout

import (
	"time"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// nodeAccess is the access of a node as an event in the log has set it.
type nodeAccess struct {
	access event.Access
	at     int64 // microseconds since 1970 UTC
}

type nodeKey struct{ account, node string }

// accessKept is how long the access of a node is remembered, by the log's
// time: longer than an edge takes from reading it to the append of what it
// then publishes.
const accessKept = time.Minute

// node tells the edges that follow an account what happened to its nodes. Who
// of their sessions hears it they decide (XEP-0163, section 4).
func (p *partition) node(offset int64, name string, e *event.Event) {
	if c := e.GetNodeConfigured(); c != nil {
		p.setAccess(nodeKey{name, c.GetNode()}, c.GetConfig().GetAccess(), e.GetAt())
		return
	}
	n := wire.NewsOf(name, offset, e)
	if n == nil {
		return
	}
	// What the publisher's edge has read of the node may be older than this.
	key := nodeKey{name, n.GetNode()}
	if known, ok := p.access[key]; ok {
		n.Access = known.access
	} else if e.GetNodeItemPublished() != nil {
		p.setAccess(key, n.GetAccess(), e.GetAt()) // it may have made the node
	}
	if n.GetDeleted() {
		delete(p.access, key)
	}
	edges := p.routes[name]
	if len(edges) == 0 {
		return
	}
	i := item{kind: kindNews, at: p.measured(e.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_NodeNews{NodeNews: n}})}
	for _, to := range edges {
		if p.hears(to, name) { // else it looks for what it missed when it has its answer
			p.send(to, i)
		}
	}
}

func (p *partition) setAccess(key nodeKey, access event.Access, at int64) {
	if p.access == nil {
		p.access = make(map[nodeKey]nodeAccess)
	}
	p.access[key] = nodeAccess{access, at}
	if at-p.accessPruned < accessKept.Microseconds() {
		return
	}
	p.accessPruned = at
	for key, known := range p.access {
		if known.at < at-accessKept.Microseconds() {
			delete(p.access, key)
		}
	}
}
