package fanout

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// heldIq waits for the tail.
type heldIq struct {
	from  *peer
	iq    *wire.Iq
	until time.Time
}

// maxHeldIqs bounds what waits for one partition's tail.
const maxHeldIqs = 10000

// iq sends an iq on to the edge of its addressee, once the tail has passed
// what its sender's edge had appended.
func (p *partition) iq(from *peer, iq *wire.Iq) {
	if p.next > iq.GetAfter() {
		p.forward(from, iq)
		return
	}
	if len(p.iqs) >= maxHeldIqs {
		refuse(from, iq)
		return
	}
	p.iqs = append(p.iqs, heldIq{from, iq, time.Now().Add(p.worker.options.HoldIq)})
}

func (p *partition) forward(from *peer, iq *wire.Iq) {
	to := jid.FromCanonical(iq.GetTo())
	if a := p.accounts[to.Bare().String()]; a != nil {
		if r, ok := a.resources[to.Resource()]; ok {
			if e := p.peers[edgeKey{r.Edge, r.Epoch}]; e != nil {
				e.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Iq{Iq: iq}}))
				return
			}
		}
	}
	refuse(from, iq)
}

// refuse sends an iq back: nobody takes it.
func refuse(from *peer, iq *wire.Iq) {
	back := proto.CloneOf(iq)
	back.Refused = true
	from.queue.say(marshal(&wire.ToEdge{What: &wire.ToEdge_Iq{Iq: back}}))
}

// releaseIqs sends on what the tail has passed.
func (p *partition) releaseIqs() {
	if len(p.iqs) == 0 {
		return
	}
	held := p.iqs
	p.iqs = nil
	for _, h := range held {
		if p.next > h.iq.GetAfter() {
			p.forward(h.from, h.iq)
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
