package fanout

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// heldIq waits for the tail, or for what the addressee's lists let through.
type heldIq struct {
	from  *peer
	iq    *wire.Iq
	until time.Time
}

// maxHeldIqs bounds what waits in one partition.
const maxHeldIqs = 10000

// iq sends an iq on to the edge of its addressee, once the tail has passed
// what its sender's edge had appended, and nothing is in doubt.
func (p *partition) iq(from *peer, iq *wire.Iq) {
	if p.toComponent(from, iq) {
		return
	}
	if p.decidable(iq) {
		p.permit(from, iq)
		return
	}
	if len(p.iqs) >= maxHeldIqs {
		refuse(from, iq)
		return
	}
	p.iqs = append(p.iqs, heldIq{from, iq, time.Now().Add(p.worker.options.HoldIq)})
}

// decidable tells that the tail has passed what an iq follows, and that it is
// known whether the addressee's lists let it through.
func (p *partition) decidable(iq *wire.Iq) bool {
	if p.next <= iq.GetAfter() && (iq.GetAfter() > 0 || !p.caughtUp) { // there may be no record at all
		return false
	}
	to, sender := jid.FromCanonical(iq.GetTo()), jid.FromCanonical(iq.GetFrom())
	g := p.guards[to.Bare().String()]
	return g == nil || g.doubt < 0 || g.policy.Blocks(sender) ||
		g.policy.Allows(privacy.IQ, to.Resource(), sender) && !g.policy.Hides(to.Resource(), sender)
}

// permit asks whether the addressee shares its presence with who asks it
// something, by a subscription or by directed presence; else the iq would tell
// that it is there. An answer needs no permission. RFC 6121, section 8.5.3.1.
func (p *partition) permit(from *peer, iq *wire.Iq) {
	to, sender := jid.FromCanonical(iq.GetTo()), jid.FromCanonical(iq.GetFrom())
	account, asks := to.Bare(), iq.GetType() == "get" || iq.GetType() == "set"
	passes := p.lets(account.String()).Allows(privacy.IQ, to.Resource(), sender)
	switch {
	case account == sender.Bare() || !asks && passes:
		p.forward(from, iq)
	case !asks: // silently (XEP-0191, section 3.3)
	case !passes || p.holder(iq) == nil:
		refuse(from, iq)
	default:
		p.checks++
		p.worker.checker.ask(p, &asked{iq: iq, edge: from, pairs: []pair{{account.String(), sender.Bare().String()}}})
	}
}

// permitted sends an iq on that was checked.
func (p *partition) permitted(a *asked) {
	p.checks--
	defer p.projected(a.snapshot)
	if p.peers[a.edge.edgeKey] != a.edge {
		return
	}
	if p.shares(a) {
		p.forward(a.edge, a.iq)
	} else {
		refuse(a.edge, a.iq)
	}
}

// shares tells that the addressed resource lets the sender of an iq know that
// it is there: as a subscriber from whom it is not hidden, or by directed
// presence.
func (p *partition) shares(a *asked) bool {
	to, sender, policy := jid.FromCanonical(a.iq.GetTo()), jid.FromCanonical(a.iq.GetFrom()), p.lets(a.pairs[0].account)
	seen := a.admitted[0] && !policy.Hides(to.Resource(), sender)
	return policy.Allows(privacy.IQ, to.Resource(), sender) && p.admission(a.pairs[0], seen || a.directed, a.snapshot).GetAdmitted()
}

// holder gives the edge that holds the addressed session, nil if there is no
// such session or its edge is not attached.
func (p *partition) holder(iq *wire.Iq) *peer {
	to := jid.FromCanonical(iq.GetTo())
	if a := p.accounts[to.Bare().String()]; a != nil {
		if r, ok := a.resources[to.Resource()]; ok {
			return p.peers[edgeKey{r.Edge, r.Epoch}]
		}
	}
	return nil
}

func (p *partition) forward(from *peer, iq *wire.Iq) {
	if e := p.holder(iq); e != nil {
		e.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Iq{Iq: iq}}))
		return
	}
	refuse(from, iq)
}

// refuse sends an iq back: nobody takes it.
func refuse(from *peer, iq *wire.Iq) {
	back := proto.CloneOf(iq)
	back.Refused = true
	from.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Iq{Iq: back}}))
}

// releaseIqs sends on what waits no more.
func (p *partition) releaseIqs() {
	if len(p.iqs) == 0 {
		return
	}
	held := p.iqs
	p.iqs = nil
	for _, h := range held {
		if p.decidable(h.iq) {
			p.permit(h.from, h.iq)
		} else {
			p.iqs = append(p.iqs, h)
		}
	}
}

// expireIqs refuses what has waited too long.
func (p *partition) expireIqs() {
	now := time.Now()
	for len(p.iqs) > 0 && now.After(p.iqs[0].until) {
		refuse(p.iqs[0].from, p.iqs[0].iq)
		p.iqs[0] = heldIq{}
		p.iqs = p.iqs[1:]
	}
}
