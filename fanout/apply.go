package fanout

import (
	"bytes"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// event applies one event, as the fold does, to what fan-out needs of it, and
// makes the frames.
func (p *partition) event(offset int64, name string, e *event.Event) {
	switch k := e.GetKind().(type) {
	case *event.Event_PresenceAvailable:
		p.available(offset, name, e, k.PresenceAvailable)
	case *event.Event_PresenceUnavailable:
		p.unavailable(offset, name, e, k.PresenceUnavailable)
	case *event.Event_MessageAccepted:
		p.accepted(offset, name, e, k.MessageAccepted)
	case *event.Event_MessageSent:
		p.sent(offset, name, e, k.MessageSent)
	case *event.Event_Delivered:
		p.settled(name, k.Delivered.GetOffset())
	case *event.Event_MessageExpired:
		p.settled(name, k.MessageExpired.GetOffset())
	case *event.Event_ResourceBound:
		p.bound(offset, name, e, k.ResourceBound)
	case *event.Event_ResourceClosed:
		p.closed(offset, name, e, k.ResourceClosed)
	case *event.Event_DirectedReceived:
		p.directed(offset, name, e, k.DirectedReceived)
	case *event.Event_SubscriptionSent:
		if k.SubscriptionSent.GetVerb() == event.Verb_VERB_UNSUBSCRIBED && p.passes(name, p.sender(name, e), k.SubscriptionSent.GetContact()) {
			p.revoke(offset, name, k.SubscriptionSent.GetContact())
		}
		p.rosterChanged(offset, name, k.SubscriptionSent.GetContact())
	case *event.Event_SubscriptionReceived:
		if k.SubscriptionReceived.GetVerb() == event.Verb_VERB_UNSUBSCRIBE && p.passes(name, "", k.SubscriptionReceived.GetContact()) {
			p.revoke(offset, name, k.SubscriptionReceived.GetContact())
		}
		p.rosterChanged(offset, name, k.SubscriptionReceived.GetContact())
	case *event.Event_RosterItemSet:
		p.rosterChanged(offset, name, k.RosterItemSet.GetContact())
	case *event.Event_RosterItemRemoved:
		p.revoke(offset, name, k.RosterItemRemoved.GetContact())
		p.rosterChanged(offset, name, k.RosterItemRemoved.GetContact())
	case *event.Event_BlockListChanged, *event.Event_PrivacyListChanged, *event.Event_PrivacyListChosen, *event.Event_VisibilityChanged:
		p.privacy(offset, name, e)
	case *event.Event_AccountCreated:
		delete(p.absent, name)
	case *event.Event_NodeItemPublished, *event.Event_NodeItemRetracted, *event.Event_NodeConfigured, *event.Event_NodeDeleted:
		p.node(offset, name, e)
	case *event.Event_EdgeLost:
		p.edgeLost(offset, e, k.EdgeLost)
	case *event.Event_AccountDeleted:
		p.deleted(offset, name, e)
	}
}

// session gives the connected resource if the event is of its latest binding.
func (p *partition) session(name, resource string, e *event.Event) (*acct, presence.Resource, bool) {
	a := p.accounts[name]
	if a == nil {
		return nil, presence.Resource{}, false
	}
	r, ok := a.resources[resource]
	return a, r, ok && bytes.Equal(r.Binding[:], e.GetBinding())
}

func (p *partition) closed(offset int64, name string, e *event.Event, c *event.ResourceClosed) {
	if a, r, ok := p.session(name, c.GetResource(), e); ok {
		p.gone(offset, a, r, e.GetAt())
	}
}

// gone takes out a resource whose session has ended.
func (p *partition) gone(offset int64, a *acct, r presence.Resource, at int64) {
	delete(a.resources, r.Name)
	p.withdrawn(offset, a, r, at, nil)
	p.sessionOver(offset, a.name, r.Name)
	p.ended(a, r.Binding)
	if len(a.resources) == 0 {
		// The messages wait in Postgres.
		delete(p.accounts, a.name)
		delete(p.waiting, a)
	}
}

func (p *partition) available(offset int64, name string, e *event.Event, said *event.PresenceAvailable) {
	a, r, ok := p.session(name, said.GetResource(), e)
	if !ok {
		return
	}
	if p.confirmed(a, r, said.GetPresence()) {
		return
	}
	took := r.Takes()
	r = r.Broadcast(presence.Content{
		Show:     said.GetPresence().GetShow(),
		Priority: int8(max(-128, min(said.GetPresence().GetPriority(), 127))),
	}, offset, event.Time(e))
	a.resources[r.Name] = r
	encoded := marshal(&wire.Presence{
		Account: name, Resource: r.Name, Version: offset, Available: true, Presence: said.GetPresence(), At: e.GetAt(),
	})
	a.said[r.Name] = encoded
	p.broadcast(name, r.Name, encoded, e.GetAt())
	if !took && r.Takes() {
		p.route(a)
	}
}

func (p *partition) unavailable(offset int64, name string, e *event.Event, said *event.PresenceUnavailable) {
	a, r, ok := p.session(name, said.GetResource(), e)
	if !ok {
		return
	}
	a.resources[r.Name] = r.Withdraw(presence.Content{}, offset, event.Time(e))
	p.withdrawn(offset, a, r, e.GetAt(), said.GetPresence())
}

// withdrawn tells that a resource, which was r, is not available any more.
func (p *partition) withdrawn(offset int64, a *acct, r presence.Resource, at int64, said *event.Presence) {
	if !r.Available {
		return
	}
	delete(a.said, r.Name)
	p.broadcast(a.name, r.Name, marshal(&wire.Presence{
		Account: a.name, Resource: r.Name, Version: offset, Presence: said, At: at,
	}), at)
}

// broadcast queues an encoded wire.Presence for every edge that follows the
// account.
func (p *partition) broadcast(name, resource string, said []byte, at int64) {
	edges := p.routes[name]
	if len(edges) == 0 {
		return
	}
	i := item{register: name + "/" + resource, bytes: presenceFrame(said), kind: kindPresence, at: p.measured(at)}
	for _, e := range edges {
		if p.hears(e, name) {
			p.send(e, i)
		}
	}
}

// measured gives the time from which the delivery of an event is measured: of
// what is old because the partition is new here, none.
func (p *partition) measured(at int64) int64 {
	if !p.caughtUp {
		return 0
	}
	return at
}

// directed passes directed presence on to the edges of its addressee.
func (p *partition) directed(offset int64, name string, e *event.Event, d *event.DirectedReceived) {
	a := p.accounts[name]
	if a == nil {
		p.directedToComponent(name, d)
		return
	}
	if d.GetResource() != "" && !p.doubts(name) && !p.lets(name).Allows(privacy.PresenceIn, d.GetResource(), jid.FromCanonical(d.GetFrom())) {
		return
	}
	edges := p.edgesOf(a, d.GetResource(), -1)
	if len(edges) == 0 {
		return
	}
	i := item{kind: kindDirected, at: p.measured(e.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_Directed{Directed: &wire.Directed{
		Account: name, Resource: d.GetResource(), From: d.GetFrom(), Version: d.GetVersion(),
		Available: d.GetAvailable(), Presence: d.GetPresence(), Offset: offset,
	}}})}
	for _, key := range edges {
		if to := p.peers[key]; to != nil {
			p.send(to, i)
		}
	}
}

// edgesOf gives the edges, each once, that hold the resource, or any resource
// if it is empty; with since >= 0 only those bound at or before it.
func (p *partition) edgesOf(a *acct, resource string, since int64) []edgeKey {
	var edges []edgeKey
next:
	for name, r := range a.resources {
		if resource != "" && name != resource || since >= 0 && r.Bound > since {
			continue
		}
		key := edgeKey{r.Edge, r.Epoch}
		for _, e := range edges {
			if e == key {
				continue next
			}
		}
		edges = append(edges, key)
	}
	return edges
}

// edgeLost ends every session of an edge in that epoch or an earlier one.
func (p *partition) edgeLost(offset int64, e *event.Event, l *event.EdgeLost) {
	for _, a := range p.accounts {
		for _, r := range a.resources {
			if r.Edge == l.GetEdge() && r.Epoch <= l.GetEpoch() {
				p.gone(offset, a, r, e.GetAt())
			}
		}
	}
	for key := range p.outbox.untaken {
		if key.id == l.GetEdge() && key.epoch <= l.GetEpoch() {
			delete(p.outbox.untaken, key)
		}
	}
	p.settleOutbox()
}

// deleted ends an account: nobody may see it until somebody is admitted anew.
func (p *partition) deleted(offset int64, name string, e *event.Event) {
	if a := p.accounts[name]; a != nil {
		a.inbox = nil
		for _, r := range a.resources {
			p.gone(offset, a, r, e.GetAt())
		}
	}
	p.revoke(offset, name, "")
	p.unguard(offset, name)
}

// revoke tells every edge that follows the account to drop the follower; all
// of them if it is empty.
func (p *partition) revoke(offset int64, name, follower string) {
	p.revoked[pair{name, follower}] = offset
	p.admit(&wire.Admission{Account: name, Follower: follower, Offset: offset})
}

// admit sends an admission to every edge that follows the account.
func (p *partition) admit(m *wire.Admission) {
	edges := p.routes[m.GetAccount()]
	if len(edges) == 0 {
		return
	}
	i := item{kind: kindAdmission, bytes: frame(&wire.Frame{What: &wire.Frame_Admission{Admission: m}})}
	for _, e := range edges {
		p.send(e, i)
	}
}
