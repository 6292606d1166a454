package account

import (
	"maps"
	"slices"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/roster"
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

// directedPresence goes to its target, which is noted if it is available (RFC
// 6121, section 4.6.3, rules 1 to 3). A subscriber is noted too, though it hears
// the end as a broadcast: it may be none any more by then, or by the time that
// the presence reaches it, and a resource that is not available hears none.
func (f *folding) directedPresence(d *event.DirectedPresence) {
	r, ok := f.session(d.GetResource())
	to := jid.FromCanonical(d.GetTo())
	if !ok || to.IsZero() {
		return
	}
	if !f.Policy().Allows(privacy.PresenceOut, r.Name, to) {
		return
	}
	if d.GetAvailable() && !f.Directed.Has(r.Name, to.String()) && d.GetMaxTargets() > 0 && len(f.Directed[r.Name]) >= int(d.GetMaxTargets()) {
		f.refuse(r.Name, to, d.GetPresence(), overLimit)
		return
	}
	if !d.GetAvailable() {
		if f.Directed.Remove(r.Name, to.String()) {
			note(&f.Changes.Directed, r.Name)
		}
	} else if f.Directed.Add(r.Name, to.String()) {
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

// cancelled tells a contact that was a subscriber, and got directed presence
// too, that each resource which directed it is unavailable: the cancellation
// takes precedence (RFC 6121, section 4.6.1), and directed presence that is
// still on its way does not outlive it.
func (f *folding) cancelled(before, next roster.Item) {
	if before.State&^next.State&subscription.From == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.Directed)) {
		for _, target := range slices.Sorted(maps.Keys(f.Directed[name])) {
			if to := jid.FromCanonical(target); to.Bare() == next.Contact && f.Directed.Remove(name, target) {
				note(&f.Changes.Directed, name)
				f.direct(name, to, false, nil)
			}
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
