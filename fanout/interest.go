package fanout

import (
	"slices"

	"github.com/rollcall/rollcall/schema/wire"
)

// asked is an interest whose answer is in the making, or an iq that is to be
// permitted.
type asked struct {
	iq       *wire.Iq // from the edge; nil for an interest
	edge     *peer
	number   uint64
	whole    bool
	accounts []string
	pairs    []pair // to be checked; the account itself needs no check
	selves   []string
	unheard  []string // accounts whose presence the edge is told from the answer on
	admitted []bool   // of pairs
	directed bool     // of an iq: the addressed resource directed presence to its sender
	snapshot int64    // next offset of the projection that was asked
}

// assign tells an edge's stream that the worker serves the partition. What
// waits for it under an earlier claim is dropped.
func (p *partition) assign(e *peer) {
	e.queue.open(p.number, p.claim)
	p.send(e, item{whole: true, kind: kindAnswer, bytes: marshal(&wire.ToEdge{What: &wire.ToEdge_Assigned{
		Assigned: &wire.Assigned{Partition: p.number, Claim: p.claim},
	}})})
}

// interest notes whom an edge follows, and has the pairs checked. Admissions
// and policies flow at once, and so does what an account says to itself alone;
// of others the edge hears from the answer on, which comes when the tail has
// caught up: until then it may think somebody admitted who is not any more.
func (p *partition) interest(e *peer, in *wire.Interest) {
	if in.GetClaim() != p.claim || p.peers[e.edgeKey] != e {
		return
	}
	if in.GetWhole() {
		p.unroute(e)
	}
	for _, name := range in.GetDropped() {
		p.unfollow(e, name)
	}
	a := &asked{edge: e, number: in.GetNumber(), whole: in.GetWhole()}
	for _, f := range in.GetFollowed() {
		name := f.GetAccount()
		if edges := p.routes[name]; !slices.Contains(edges, e) {
			p.routes[name] = append(edges, e)
			if slices.ContainsFunc(f.GetFollowers(), func(follower string) bool { return follower != name }) {
				p.unheard[route{e, name}] = a
				a.unheard = append(a.unheard, name)
			}
		}
		a.accounts = append(a.accounts, name)
		if g := p.guards[name]; g != nil {
			// Frames flow before the answer, and must not go by a policy that the
			// edge has from an earlier worker.
			p.send(e, audienceItem(name, p.next-1, g))
		}
		for _, follower := range f.GetFollowers() {
			if follower == name {
				a.selves = append(a.selves, name)
			} else {
				a.pairs = append(a.pairs, pair{name, follower})
			}
		}
	}
	switch {
	case len(a.accounts) == 0 && !a.whole: // only dropped
	case len(a.pairs) == 0:
		p.checked(a)
	default:
		p.checks++
		p.worker.checker.ask(p, a)
	}
}

// route is an edge that follows an account.
type route struct {
	edge    *peer
	account string
}

// hears tells that an edge that follows the account has had the answer to that.
func (p *partition) hears(e *peer, name string) bool {
	return len(p.unheard) == 0 || p.unheard[route{e, name}] == nil
}

func (p *partition) unfollow(e *peer, name string) {
	delete(p.unheard, route{e, name})
	edges := p.routes[name]
	i := slices.Index(edges, e)
	if i < 0 {
		return
	}
	if len(edges) == 1 {
		delete(p.routes, name)
		return
	}
	p.routes[name] = slices.Delete(edges, i, i+1)
}

// unroute takes an edge out of every route.
func (p *partition) unroute(e *peer) {
	for name := range p.routes {
		p.unfollow(e, name)
	}
}

// checked takes an interest, or an iq, whose pairs are checked.
func (p *partition) checked(a *asked) {
	if a.iq != nil {
		p.permitted(a)
		return
	}
	if p.caughtUp {
		p.answer(a)
		return
	}
	p.answers = append(p.answers, a)
}

// answer gives the presence of the accounts as of now, and the admissions.
func (p *partition) answer(a *asked) {
	if len(a.pairs) > 0 {
		p.checks--
		defer p.projected(a.snapshot)
	}
	if p.peers[a.edge.edgeKey] != a.edge {
		return
	}
	present := func(m *answerMessage, name string) {
		m.account(name)
		if g := p.guards[name]; g != nil {
			m.audience(g.audience(name, p.next-1))
		}
		if known := p.accounts[name]; known != nil {
			for _, said := range known.said {
				m.present(said)
			}
		}
	}
	for _, name := range a.unheard {
		if key := (route{a.edge, name}); p.unheard[key] == a {
			delete(p.unheard, key)
		}
	}
	accounts, pairs, selves, at := a.accounts, a.pairs, a.selves, 0
	for first := true; first || len(accounts) > 0; first = false {
		n := min(len(accounts), p.worker.options.AnswerAccounts)
		m := newAnswer(p.number, p.claim, a.number, a.whole && first, p.next)
		for _, name := range accounts[:n] {
			present(m, name)
			for len(selves) > 0 && selves[0] == name {
				m.admission(&wire.Admission{Account: name, Follower: name, Offset: p.next - 1, Admitted: true})
				selves = selves[1:]
			}
			for len(pairs) > 0 && pairs[0].account == name {
				m.admission(p.admission(pairs[0], a.admitted[at], a.snapshot))
				pairs, at = pairs[1:], at+1
			}
		}
		accounts = accounts[n:]
		p.send(a.edge, item{whole: true, kind: kindAnswer, bytes: m.toEdge()})
	}
}

// admission corrects what the snapshot says by revocations that the tail has
// seen since.
func (p *partition) admission(of pair, admitted bool, snapshot int64) *wire.Admission {
	m := &wire.Admission{Account: of.account, Follower: of.follower, Offset: snapshot - 1, Admitted: admitted}
	if admitted {
		for _, key := range []pair{of, {account: of.account}} {
			if at, ok := p.revoked[key]; ok && at >= snapshot && at > m.Offset {
				m.Offset, m.Admitted = at, false
			}
		}
	}
	return m
}

// projected notes how far the partition is projected, and forgets the
// revocations that every later check will see.
func (p *partition) projected(next int64) {
	p.known = max(p.known, next)
	if p.checks > 0 {
		return // an older snapshot may be under way
	}
	for key, at := range p.revoked {
		if at < p.known {
			delete(p.revoked, key)
		}
	}
}
