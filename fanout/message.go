package fanout

import (
	"slices"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/wire"
)

// stored is a message that waits for its Delivered.
type stored struct {
	offset   int64
	at       int64
	accepted *event.MessageAccepted
	heaps    bool        // nobody was there to take it: only so many may wait
	chosen   []uuid.UUID // living bindings that it was sent to
	held     bool        // for nothing but older messages, which are being loaded
}

// accepted routes a message when it is accepted, and keeps it if it is
// storable.
func (p *partition) accepted(offset int64, name string, e *event.Event, m *event.MessageAccepted) {
	a := p.accounts[name]
	if a == nil {
		return // it waits in Postgres, or bounces
	}
	s := &stored{offset: offset, at: e.GetAt(), accepted: m}
	if p.isCopy(a, offset, m) {
		return
	}
	d := p.routed(offset, a, m)
	if s.heaps = m.GetMessage().GetStorable() && d.Action == message.Store; s.heaps && full(len(a.inbox), m) {
		return // its sender has heard it from the fold
	}
	storable := m.GetMessage().GetStorable() && (d.Action == message.Deliver || d.Action == message.Store)
	if storable {
		a.inbox = append(a.inbox, s)
		p.waiting[a] = struct{}{}
		a.remember(offset, m)
	}
	// Before the tail has caught up the message may be delivered already: what
	// is kept is routed then. And nothing overtakes what is still to be loaded.
	switch {
	case d.Action != message.Deliver:
	case !storable, p.caughtUp && !a.loading:
		p.deliver(a, s, d.To, storable, false)
	case p.caughtUp:
		s.held = true
	}
	p.received(offset, a, e, m, d)
}

// deliver sends a message to resources.
func (p *partition) deliver(a *acct, s *stored, to []string, keep, delayed bool) {
	s.chosen = s.chosen[:0]
	for _, name := range to {
		s.chosen = append(s.chosen, a.resources[name].Binding)
	}
	for _, key := range p.edgesOf(a, "", -1) {
		if e := p.peers[key]; e != nil {
			p.sendMessage(e, a, s, keep, delayed)
		}
	}
}

// sendMessage sends a message to those chosen sessions that the edge holds.
func (p *partition) sendMessage(e *peer, a *acct, s *stored, keep, delayed bool) {
	var bindings [][]byte
	for _, r := range a.resources {
		if r.Edge == e.id && r.Epoch == e.epoch && slices.Contains(s.chosen, r.Binding) {
			bindings = append(bindings, r.Binding[:])
		}
	}
	if len(bindings) == 0 {
		return
	}
	at := s.at
	if delayed {
		at = 0
	}
	p.send(e, item{kind: kindMessage, free: delayed, at: p.measured(at), bytes: frame(&wire.Frame{What: &wire.Frame_Message{Message: &wire.Message{
		Account: a.name, Offset: s.offset, Bindings: bindings, Accepted: s.accepted,
		At: s.at, Delayed: delayed, Stored: keep,
	}}})})
}

// route sends what waits for the account and is on its way to nobody, in the
// order of the log. As long as nobody takes messages only those go that name a
// resource which was there before them: the others wait on, also for who is
// merely connected.
func (p *partition) route(a *acct) {
	if !p.caughtUp || a.loading {
		return
	}
	takes := a.takes()
	for _, s := range a.inbox {
		if len(s.chosen) > 0 || !takes && !a.meant(s) {
			continue
		}
		t, from, policy := message.Type(s.accepted.GetMessage().GetType()), jid.FromCanonical(s.accepted.GetFrom()), p.lets(a.name)
		d := policy.Route(t, s.accepted.GetResource(), from, a.resources)
		if d.Action != message.Deliver {
			// It was addressed to a resource that is gone: any may take it.
			d = policy.Route(t, "", from, a.resources)
		}
		if d.Action == message.Deliver {
			p.deliver(a, s, d.To, true, !s.held)
			s.held = false
		}
	}
}

// takes tells whether a resource gets messages to the bare JID.
func (a *acct) takes() bool {
	for _, r := range a.resources {
		if r.Takes() {
			return true
		}
	}
	return false
}

// meant tells whether the session that the message was addressed to goes on.
func (a *acct) meant(s *stored) bool {
	r, connected := a.resources[s.accepted.GetResource()]
	return connected && r.Began < s.offset
}

// ended routes again what was sent to a binding that has ended without
// Delivered.
func (p *partition) ended(a *acct, binding uuid.UUID) {
	again := false
	for _, s := range a.inbox {
		if i := slices.Index(s.chosen, binding); i >= 0 {
			s.chosen = slices.Delete(s.chosen, i, i+1)
			again = again || len(s.chosen) == 0
		}
	}
	if again {
		p.route(a)
	}
}

// resend sends what may have been on its way when the edge's last stream
// broke; the edge knows copies.
func (p *partition) resend(e *peer) {
	for a := range p.waiting {
		for _, s := range a.inbox {
			p.sendMessage(e, a, s, true, true)
		}
	}
}

// settled ends the wait of a message: it is delivered, or expired.
func (p *partition) settled(name string, offset int64) {
	a := p.accounts[name]
	if a == nil {
		return
	}
	if a.loading {
		if a.settled == nil {
			a.settled = make(map[int64]struct{})
		}
		a.settled[offset] = struct{}{}
	}
	if i, ok := slices.BinarySearchFunc(a.inbox, offset, byOffset); ok {
		a.inbox = slices.Delete(a.inbox, i, i+1)
		if len(a.inbox) == 0 {
			a.inbox = nil
			delete(p.waiting, a)
		}
	}
}

func byOffset(s *stored, offset int64) int {
	switch {
	case s.offset < offset:
		return -1
	case s.offset > offset:
		return 1
	}
	return 0
}

// loadedInbox merges what Postgres has of an account's inbox and origins, as of
// a snapshot that holds everything below the offset asOf, up to the account's
// first ResourceBound at least.
// What was bound before the account was created, or before the snapshot if
// there is no account, folds to nothing.
func (p *partition) loadedInbox(a *acct, rows []*stored, created, asOf int64, origins message.Origins) {
	if p.accounts[a.name] != a || !a.loading {
		return
	}
	a.loading = false
	for _, r := range a.resources {
		if r.Bound < created {
			p.gone(p.next, a, r, 0)
		}
	}
	if len(a.resources) == 0 {
		return
	}
	a.judge(rows, asOf, origins)
	for _, s := range rows {
		if _, settled := a.settled[s.offset]; settled || s.offset >= p.next {
			continue // what the tail has not reached will come by it
		}
		if i, known := slices.BinarySearchFunc(a.inbox, s.offset, byOffset); !known {
			a.inbox = slices.Insert(a.inbox, i, s)
		}
	}
	if g := p.guards[a.name]; g != nil {
		if g.withheld < asOf {
			g.withheld = -1
		}
		p.fetchWithheld(a, g)
	}
	if !a.loading {
		a.settled = nil
	}
	if len(a.inbox) == 0 {
		delete(p.waiting, a)
		return
	}
	p.waiting[a] = struct{}{}
	p.route(a)
}
