package account

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/subscription"
)

// presenceAvailable is initial or subsequent presence (RFC 6121, sections 4.2
// and 4.4). Whom it is broadcast to is not decided here: fan-out reads the
// same event and the roster's From.
func (f *folding) presenceAvailable(p *event.PresenceAvailable) {
	if r, ok := f.session(p.GetResource()); ok {
		said := content(p.GetPresence())
		if same, ok := r.Confirm(said); ok {
			f.keepResource(same)
			return
		}
		f.keepResource(r.Broadcast(said, f.offset, event.Time(f.e)))
		f.forgetSubscribers(r.Name)
	}
}

// presenceUnavailable ends the presence session; the resource stays connected
// (RFC 6121, section 4.5.2).
func (f *folding) presenceUnavailable(p *event.PresenceUnavailable) {
	if r, ok := f.session(p.GetResource()); ok {
		f.endDirected(r.Name, p.GetPresence())
		f.keepResource(r.Withdraw(content(p.GetPresence()), f.offset, event.Time(f.e)))
		f.departed(r, p.GetPresence().GetStatus())
	}
}

// directedPresence goes to its target. An available one is noted unless its
// target will hear of the end anyway: as a subscriber of a resource that is
// available (RFC 6121, section 4.6.3, rules 1 to 3).
func (f *folding) directedPresence(d *event.DirectedPresence) {
	r, ok := f.session(d.GetResource())
	to := jid.FromCanonical(d.GetTo())
	if !ok || to.IsZero() {
		return
	}
	if !f.Policy().Allows(privacy.PresenceOut, r.Name, to) {
		return
	}
	noted := d.GetAvailable() && !(f.seen(r) && f.subscribed(to.Bare()))
	if noted && !f.Directed.Has(r.Name, to.String()) && d.GetMaxTargets() > 0 && len(f.Directed[r.Name]) >= int(d.GetMaxTargets()) {
		f.refuse(r.Name, to, d.GetPresence(), overLimit)
		return
	}
	if !d.GetAvailable() {
		if f.Directed.Remove(r.Name, to.String()) {
			note(&f.Changes.Directed, r.Name)
		}
	} else if noted && f.Directed.Add(r.Name, to.String()) {
		note(&f.Changes.Directed, r.Name)
	}
	f.direct(r.Name, to, d.GetAvailable(), d.GetPresence())
}

// directedReceived is presence that somebody directed here. Who so becomes
// unavailable needs not hear more of us (RFC 6121, section 4.6.1, SHOULD).
func (f *folding) directedReceived(d *event.DirectedReceived) {
	if d.GetAvailable() || len(f.Directed) == 0 || !f.Policy().Allows(privacy.PresenceIn, d.GetResource(), jid.FromCanonical(d.GetFrom())) {
		return
	}
	for name := range f.Directed {
		if f.Directed.Remove(name, d.GetFrom()) {
			note(&f.Changes.Directed, name)
		}
	}
}

// endDirected tells all who got directed presence of a resource that it is
// unavailable, and forgets them (RFC 6121, section 4.6.3, rule 2).
func (f *folding) endDirected(name string, p *event.Presence) {
	targets := f.Directed.Take(name)
	if targets == nil {
		return
	}
	note(&f.Changes.Directed, name)
	for _, target := range targets {
		f.direct(name, jid.FromCanonical(target), false, p)
	}
}

// forgetDirected drops what was noted of a contact that is a subscriber now,
// and so hears every broadcast of an available resource (RFC 6121, section
// 4.6.1). A resource of it stays: one that is not available hears none.
func (f *folding) forgetDirected(contact jid.Bare) {
	for name, targets := range f.Directed {
		if !f.seen(f.Resources[name]) {
			continue
		}
		for target := range targets {
			if target == contact.String() && f.Directed.Remove(name, target) {
				note(&f.Changes.Directed, name)
			}
		}
	}
}

// forgetSubscribers drops of those that got directed presence of a resource
// while it was not seen who hears its broadcasts from now on.
func (f *folding) forgetSubscribers(name string) {
	if len(f.Directed[name]) == 0 || !f.seen(f.Resources[name]) {
		return
	}
	for target := range f.Directed[name] {
		if to := jid.FromCanonical(target); !to.IsFull() && f.subscribed(to.Bare()) && f.Directed.Remove(name, target) {
			note(&f.Changes.Directed, name)
		}
	}
}

// direct reacts with presence of a resource in the history of its target. Its
// version puts it in one order with the broadcasts of that resource.
func (f *folding) direct(name string, to jid.JID, available bool, p *event.Presence) {
	f.react(to.Bare(), &event.Event{Kind: &event.Event_DirectedReceived{DirectedReceived: &event.DirectedReceived{
		From: f.Account.WithCanonical(name).String(), Resource: to.Resource(), Available: available, Presence: p, Version: f.offset,
	}}})
}

// subscribed tells that b hears the account's broadcasts; the account itself
// does (RFC 6121, section 4.2.2).
func (f *folding) subscribed(b jid.Bare) bool {
	return b == f.Account || f.Roster[b].State&subscription.From != 0
}

// content gives what p says; without p, nothing. A priority out of range is cut
// to it: the edge lets none through (RFC 6121, section 4.7.2.3).
func content(p *event.Presence) presence.Content {
	return presence.Content{
		Show:     p.GetShow(),
		Status:   p.GetStatus(),
		Priority: int8(max(-128, min(p.GetPriority(), 127))),
		Payload:  p.GetPayload(),
		Lang:     p.GetLang(),
		ID:       p.GetId(),
	}
}
