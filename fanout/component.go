package fanout

import (
	"slices"
	"sync"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// served tells which edge holds the connection of which component (XEP-0114).
// Every edge tells every worker, whatever partitions that has.
type served struct {
	mu      sync.Mutex
	domains map[string][]connection // the newest last
}

type connection struct {
	edge  *peer
	since int64
}

// serves takes in what an edge says. Of two connections of one component the
// later one counts, and the edge of the other hears of it.
func (w *Worker) serves(e *peer, s *wire.Serves) {
	for domain, c := range w.served.replace(e, s.GetComponents()) {
		for _, other := range c[:len(c)-1] {
			other.edge.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Replaced{
				Replaced: &wire.Replaced{Domain: domain, Since: c[len(c)-1].since},
			}}))
		}
	}
}

// replace makes components those of the edge, and gives the connections of
// each that has several.
func (s *served) replace(e *peer, components []*wire.Component) map[string][]connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	for domain, list := range s.domains {
		if list = slices.DeleteFunc(list, func(c connection) bool { return c.edge == e }); len(list) == 0 {
			delete(s.domains, domain)
		} else {
			s.domains[domain] = list
		}
	}
	several := make(map[string][]connection)
	for _, c := range components {
		if s.domains == nil {
			s.domains = make(map[string][]connection)
		}
		list := append(s.domains[c.GetDomain()], connection{e, c.GetSince()})
		slices.SortStableFunc(list, func(a, b connection) int { return int(min(1, max(-1, a.since-b.since))) })
		s.domains[c.GetDomain()] = list
		if len(list) > 1 {
			several[c.GetDomain()] = slices.Clone(list)
		}
	}
	return several
}

// holder gives the edge that holds the component's connection, nil if none does.
func (s *served) holder(domain string) *peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.domains[domain]; len(list) > 0 {
		return list[len(list)-1].edge
	}
	return nil
}

// toComponent passes a stanza on that is for a component, or refuses what only
// a component takes; it tells whether it was one of these. Nothing of an
// account is asked, so it does not wait for the tail.
func (p *partition) toComponent(from *peer, iq *wire.Iq) bool {
	if e := p.worker.served.holder(jid.FromCanonical(iq.GetTo()).Domain()); e != nil {
		sendOn(e, iq)
		return true
	}
	if iq.GetKind() != wire.Iq_KIND_IQ && iq.GetType() != "error" {
		refuse(from, iq)
		return true
	}
	return false
}

func sendOn(e *peer, iq *wire.Iq) {
	e.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Iq{Iq: iq}}))
}

// directedToComponent passes directed presence on that is for a component. Who
// is no component and has no session takes none.
func (p *partition) directedToComponent(name string, d *event.DirectedReceived) {
	to := jid.BareFromCanonical(name)
	if e := p.worker.served.holder(to.Domain()); e != nil {
		sendOn(e, wire.DirectedStanza(to, d))
	}
}

// outcomeToComponent passes the error on that answers a component's message.
func (p *partition) outcomeToComponent(o *output) {
	to := jid.BareFromCanonical(o.key)
	e := p.worker.served.holder(to.Domain())
	if s := wire.OutcomeStanza(to, o.output.GetOutcome()); e != nil && s != nil {
		sendOn(e, s)
	}
}
