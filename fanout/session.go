package fanout

import (
	"bytes"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/wire"
)

// bound starts a session, or goes on with one; an earlier one of the resource
// ends here. Who would resume what is not the resource's last session gets
// nothing. Whether a resource that is gone may be resumed is known to the
// projection alone: it is taken for bound, and its edge, which reads there
// that it is not, closes it.
func (p *partition) bound(offset int64, name string, e *event.Event, b *event.ResourceBound) {
	a := p.accounts[name]
	if a == nil {
		a = &acct{name: name, resources: make(map[string]presence.Resource, 1), said: make(map[string][]byte, 1), loading: true}
		p.accounts[name] = a
		p.worker.inboxes.ask(p, a, offset)
	}
	old, had := a.resources[b.GetResource()]
	r := presence.Bind(b.GetResource(), event.ID(e), b.GetEdge(), b.GetEpoch(), offset, event.Time(e))
	switch resumes := b.GetResumes(); {
	case had && len(resumes) > 0:
		if !bytes.Equal(old.Binding[:], resumes) {
			return
		}
		r = r.Resume(old)
	case had && b.GetInherits() && !p.private(name, r.Name):
		r = r.Inherit(old)
	}
	a.resources[r.Name] = r
	if !had {
		return
	}
	if !r.Inherited {
		p.withdrawn(offset, a, old, e.GetAt(), nil)
	}
	if len(b.GetResumes()) == 0 && !r.Inherited {
		p.sessionOver(offset, name, r.Name)
	}
	if holder := p.peers[edgeKey{old.Edge, old.Epoch}]; holder != nil {
		p.send(holder, item{kind: kindSuperseded, bytes: frame(&wire.Frame{What: &wire.Frame_Superseded{
			Superseded: &wire.Superseded{Account: name, Binding: old.Binding[:]},
		}})})
	}
	p.ended(a, old.Binding)
}

// confirmed tells that r says what it has inherited: that is no news, but from
// now on it takes messages.
func (p *partition) confirmed(a *acct, r presence.Resource, said *event.Presence) bool {
	if !r.Inherited {
		return false
	}
	var was wire.Presence
	if proto.Unmarshal(a.said[r.Name], &was) != nil || !contentOf(was.GetPresence()).Same(contentOf(said)) {
		return false
	}
	r.Inherited = false
	a.resources[r.Name] = r
	if r.Takes() {
		p.route(a)
	}
	return true
}

func contentOf(p *event.Presence) presence.Content {
	return presence.Content{
		Show: p.GetShow(), Status: p.GetStatus(), Lang: p.GetLang(), Payload: p.GetPayload(),
		Priority: int8(max(-128, min(p.GetPriority(), 127))),
	}
}
