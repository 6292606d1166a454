package edge

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/fault"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// A guard is what stands between an account and one of its followers beside
// the subscription: what the account shows, and what the follower takes in. It
// is empty for nearly all pairs: a policy is in it only if it may concern this
// very pair, so that who uses none, or concerns others, costs nothing while
// presence is multiplied.
type guard struct {
	out  *privacy.Compiled // of the account
	also *privacy.Compiled // of the account too, while an answer is merged
	in   *privacy.Compiled // of the follower
	sure *privacy.Compiled // of the account: what it showed when that was last known
}

// open tells that the guard lets everything through.
func (g *guard) open() bool { return g.out == nil && g.also == nil && g.in == nil }

// passes tells that a session may see a full JID of the account.
func (g *guard) passes(r *register, s *session) bool {
	return g.open() || g.check(r, s)
}

func (g *guard) check(r *register, s *session) bool {
	viewer := jid.FromCanonical(s.full)
	return !g.out.Hides(r.resource, viewer) && !g.also.Hides(r.resource, viewer) &&
		g.in.Allows(privacy.PresenceIn, s.resource, jid.FromCanonical(r.full))
}

// outward gives c if it may hide something from l.
func outward(c *privacy.Compiled, l *local) *privacy.Compiled {
	if c.Concerns(privacy.PresenceOut, l.account) {
		return c
	}
	return nil
}

// inward gives what l lets in if that may refuse something of the account.
// Before it is known it refuses everything.
func (l *local) inward(account string) *privacy.Compiled {
	if account == l.bare {
		return nil
	}
	if !l.policyKnown.Load() {
		return refusesAll
	}
	if c := l.policy.Load(); c.Concerns(privacy.PresenceIn, jid.BareFromCanonical(account)) {
		return c
	}
	return nil
}

var refusesAll = privacy.New(&event.Policy{DefaultRules: []*event.PolicyRule{{All: true}}})

// audience merges the policy of an account that came by itself. It gives the
// account's own sessions here what is to be done for them once f.mu is free.
func (f *followed) audience(b *batch, a *wire.Audience) *own {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[a.GetAccount()]
	if w == nil || !f.narrow(b, w, a, a.GetOffset()) {
		return nil
	}
	f.widen(b, w)
	return w.own()
}

// narrow makes the policy of a, nil for none, that of w beside the one it had:
// who must not see something any more sees it go. It is not ok if a is older
// than that. f.mu is held, and widen is called before it is not.
func (f *followed) narrow(b *batch, w *watched, a *wire.Audience, at int64) bool {
	if at < w.policyAt {
		return false
	}
	w.policyAt = at
	w.doubtful, w.doubt = w.doubt, a.GetDoubt()
	if a.GetPolicy() == nil && w.policy == nil {
		return true
	}
	w.policy = privacy.New(a.GetPolicy())
	for _, fo := range w.followers {
		next := outward(w.policy, fo.local)
		if next == nil {
			continue
		}
		stricter := fo.guard
		stricter.also = next
		f.reguard(b, w, fo, stricter, w.doubt)
	}
	return true
}

// widen lets the policy alone count that narrow made: who may see something
// now sees it. f.mu is held.
func (f *followed) widen(b *batch, w *watched) {
	for _, fo := range w.followers {
		if fo.out != nil || fo.also != nil || fo.sure != nil {
			next := guard{out: fo.also, in: fo.in, sure: fo.sure}
			if !w.doubt {
				next.sure = fo.also
			}
			if !w.doubt && !w.doubtful || fo.opens(w) {
				// What was broadcast while it did not pass counts as sent now. What
				// was in doubt alone has passed all the time.
				fo.since = max(fo.since, w.policyAt)
			}
			f.reguard(b, w, fo, next, w.doubt)
		}
		f.hearMissed(b, w, fo)
	}
}

// opens tells that the guard lets something through that did not pass when that
// was last known. f.mu is held.
func (fo *follower) opens(w *watched) bool {
	if fo.sure == nil {
		return false
	}
	for _, r := range w.registers {
		for _, s := range fo.local.sessions() {
			if viewer := jid.FromCanonical(s.full); r.available && fo.sure.Hides(r.resource, viewer) && !fo.also.Hides(r.resource, viewer) {
				return true
			}
		}
	}
	return false
}

// reguard gives fo another guard, and its sessions what that changes for them.
// In doubt nobody loses sight of directed presence: whether that is over its
// sender's history says, or refuseDirected. f.mu is held.
func (f *followed) reguard(b *batch, w *watched, fo *follower, next guard, doubt bool) {
	was := fo.guard
	fo.guard = next
	if !fo.admitted || was.open() && next.open() {
		return
	}
	for _, r := range w.registers {
		if !r.available {
			continue
		}
		for _, s := range fo.local.sessions() {
			if !s.available.Load() {
				continue
			}
			switch before, now := was.passes(r, s), next.passes(r, s); {
			case before && !now && doubt && fo.local.overtaken(s, r.full, max(r.version, fo.since)) && fo.local.sharing(s, r.full):
			case before && !now:
				s.out.presence(b, r.full, preparePresence(r.full, false, nil), fo.local.bare)
				f.metrics.deliveries.Inc()
				if fault.Planted == fault.Forgetful {
					return
				}
			case now && !before && !fo.local.overtaken(s, r.full, max(r.version, fo.since)):
				s.out.presence(b, r.full, r.stanza, fo.local.bare)
				f.metrics.deliveries.Inc()
			}
		}
	}
}

// accept has l's sessions take in of the account what l lets in now.
func (f *followed) accept(b *batch, bare string, l *local) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[bare]
	if w == nil {
		return
	}
	if fo := w.followers[l.bare]; fo != nil && fo.local == l {
		next := fo.guard
		next.in = l.inward(bare)
		f.reguard(b, w, fo, next, l.doubt.Load())
		f.hearMissed(b, w, fo)
	}
}

// own is a policy for the sessions of the account itself.
type own struct {
	local  *local
	policy *privacy.Compiled
	at     int64
	doubt  bool
}

// own gives the policy of w for its own sessions here, nil if it has none.
func (w *watched) own() *own {
	if fo := w.followers[w.bare]; fo != nil {
		return &own{fo.local, w.policy, w.policyAt, w.doubt}
	}
	return nil
}
