package edge

import (
	"slices"
	"sync"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/fault"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// maxGone is how many unavailable full JIDs of an account are remembered, so
// that late news of their past is recognised as such.
const maxGone = 16

// followed is what the edge knows of one partition: who is online in it, and
// who here wants to hear of it. Frames of different partitions run in parallel.
//
// Its lock comes after local.mu, and before local.directedMu and outbound.mu.
type followed struct {
	links   Links
	metrics *metrics
	number  int32

	mu       sync.Mutex
	accounts map[string]*watched // by bare JID
	probed   bool                // what is merged answers a question: who asks nobody is not told
}

// watched is an account that local accounts follow, perhaps one of them itself.
type watched struct {
	bare      string
	registers []*register
	followers map[string]*follower // by bare JID; never empty
	heard     int64                // the next offset of which there may be news of its nodes
	newest    map[string]int64     // offset of the newest news by node; nil before any
	answered  int64                // next offset of the last answer; 0 before any
	policy    *privacy.Compiled    // what the account shows; nil: everything
	policyAt  int64                // as of this offset
	doubt     bool                 // another policy follows, and it may let more through
	doubtful  bool                 // so it was of the policy before
}

// register holds the newest presence of one full JID; of two, the higher
// version counts, in whatever order they come.
type register struct {
	full, resource string
	version        int64
	at             int64
	available      bool
	stanza         *stanza.Prepared // encoded once for all receivers; nil unless available
}

// follower is a local account that wants the presence of another. Of two
// admissions the one with the higher offset counts.
type follower struct {
	local    *local
	admitted bool
	offset   int64
	probes   []probe // that wait for the first admission
	newsFrom int64   // what happens to nodes from this offset on comes by itself; 0: nothing yet
	since    int64   // of the one that let it in: what was broadcast before counts as sent then (RFC 6121, section 3.1.5)
	missed   bool    // news did not pass for a policy that is in doubt
	guard
}

// follow makes l hear of the account.
func (f *followed) follow(bare string, l *local) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[bare]
	if w == nil {
		w = &watched{bare: bare, followers: make(map[string]*follower, 1), policyAt: -1}
		f.accounts[bare] = w
	}
	if fo := w.followers[l.bare]; fo != nil {
		fo.local = l
		if bare == l.bare && w.policyAt >= 0 {
			// No answer comes again.
			l.doubt.Store(w.doubt)
			l.policy.Store(w.policy)
			l.policyKnown.Store(true)
		}
		fo.in = l.inward(bare)
		return
	}
	// An account sees itself (RFC 6121, section 4.2.2).
	w.followers[l.bare] = &follower{
		local: l, admitted: bare == l.bare, offset: -1, since: -1,
		guard: guard{out: outward(w.policy, l), sure: outward(w.policy, l), in: l.inward(bare)},
	}
	f.links.Follow(f.number, bare, l.bare)
}

// unfollow ends it; the sessions that saw the account see it go.
func (f *followed) unfollow(b *batch, bare string, l *local) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[bare]
	if w == nil {
		return
	}
	fo := w.followers[l.bare]
	if fo == nil || fo.local != l {
		return
	}
	if fo.admitted {
		f.hide(b, w, fo)
	}
	delete(w.followers, l.bare)
	if len(w.followers) == 0 {
		delete(f.accounts, bare)
	}
	f.links.Unfollow(f.number, bare, l.bare)
}

// enter makes a session one that takes presence, and gives it what is known of
// its own account, in the same moment: what comes later comes by itself.
func (f *followed) enter(s *session) {
	var b batch
	f.mu.Lock()
	s.available.Store(true)
	f.give(&b, s.local.bare, s)
	f.mu.Unlock()
	b.flush()
}

// show gives one session what its account may know of bare.
func (f *followed) show(b *batch, bare string, s *session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.give(b, bare, s)
}

// give is show while f.mu is held.
func (f *followed) give(b *batch, bare string, s *session) {
	w := f.accounts[bare]
	if w == nil {
		return
	}
	fo := w.followers[s.local.bare]
	if fo == nil || !fo.admitted {
		return
	}
	for _, r := range w.registers {
		if r.available && !s.succeeds(r) && fo.passes(r, s) && !s.local.overtaken(s, r.full, max(r.version, fo.since)) {
			s.out.presence(b, r.full, r.stanza, s.local.bare)
			f.metrics.deliveries.Inc()
		}
	}
}

// succeeds tells whether r is as an earlier session of s's resource left it,
// whose end may not be known here yet: its client took it for its own.
func (s *session) succeeds(r *register) bool {
	return s.anew && r.version <= s.boundAt && r.full == s.full
}

// interest gives all that the edge follows in the partition.
func (f *followed) interest() []*wire.Followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*wire.Followed, 0, len(f.accounts))
	for bare, w := range f.accounts {
		names := make([]string, 0, len(w.followers))
		for name := range w.followers {
			names = append(names, name)
		}
		all = append(all, &wire.Followed{Account: bare, Followers: names})
	}
	return all
}

// answer merges the presence of the accounts that a worker was asked about.
// What is to be done for the sessions of those accounts themselves is given,
// for when f.mu is free.
func (f *followed) answer(b *batch, a *wire.Answer) (owns []*own) {
	f.mu.Lock()
	defer f.mu.Unlock()
	policies := make(map[string]*wire.Audience, len(a.GetAudiences()))
	for _, p := range a.GetAudiences() {
		policies[p.GetAccount()] = p
	}
	present := make(map[string]map[string]bool)
	for _, p := range a.GetPresent() {
		of := present[p.GetAccount()]
		if of == nil {
			of = make(map[string]bool)
			present[p.GetAccount()] = of
		}
		of[p.GetResource()] = true
	}
	for _, bare := range a.GetAccounts() {
		w := f.accounts[bare]
		if w == nil {
			continue
		}
		f.answeredAgain(b, w, a.GetNextOffset())
		// What the policy has opened is seen as it is now, not as it was.
		if f.narrow(b, w, policies[bare], a.GetNextOffset()-1) {
			defer func() {
				f.widen(b, w)
				if o := w.own(); o != nil {
					owns = append(owns, o)
				}
			}()
		}
		for _, r := range slices.Clone(w.registers) {
			if r.available && r.version < a.GetNextOffset() && !present[bare][r.resource] {
				r.version = min(r.version, a.GetNextOffset()-2) // the end is newer
				f.set(b, w, &wire.Presence{Account: bare, Resource: r.resource, Version: a.GetNextOffset() - 1})
			}
		}
	}
	// Presence first: who is admitted then gets each register once.
	for _, p := range a.GetPresent() {
		f.presence(b, p)
	}
	f.probed = true
	for _, adm := range a.GetAdmissions() {
		f.admission(b, adm)
		f.opened(b, adm, a.GetNextOffset())
	}
	f.probed = false
	return nil
}

// presence merges one presence. f.mu is held.
func (f *followed) presence(b *batch, p *wire.Presence) {
	if w := f.accounts[p.GetAccount()]; w != nil {
		f.set(b, w, p)
	}
}

// set merges p into w and tells those who are admitted. f.mu is held.
func (f *followed) set(b *batch, w *watched, p *wire.Presence) {
	i := slices.IndexFunc(w.registers, func(r *register) bool { return r.resource == p.GetResource() })
	if i < 0 {
		w.forgetGone()
		i = len(w.registers)
		full := w.bare + "/" + p.GetResource()
		w.registers = append(w.registers, &register{full: full, resource: p.GetResource(), version: -1})
	}
	r := w.registers[i]
	if p.GetVersion() <= r.version {
		return
	}
	was := r.available
	r.version, r.available, r.at = p.GetVersion(), p.GetAvailable(), p.GetAt()
	if w.policy.Invisible(r.resource) {
		r.at = 0 // is nobody's concern
	}
	if !was && !r.available {
		return
	}
	said := preparePresence(r.full, r.available, p.GetPresence())
	f.metrics.encoded.Inc()
	r.stanza = nil
	if r.available {
		r.stanza = said
	}
	n := 0
	for _, fo := range w.followers {
		if !fo.admitted {
			continue
		}
		all := !r.available
		for _, s := range fo.local.sessions() {
			// Who went offline hears its own farewell (RFC 6121, section 4.5.2).
			if s.succeeds(r) || !fo.passes(r, s) || fo.local.overtaken(s, r.full, max(r.version, fo.since)) {
				all = false
				continue
			}
			if s.available.Load() || !r.available && fo.local.bare == w.bare && s.resource == r.resource && s.echo.CompareAndSwap(true, false) {
				s.out.presence(b, r.full, said, fo.local.bare)
				n++
			}
		}
		if all {
			fo.local.toldEnd(r.full, r.version)
		}
	}
	f.metrics.deliveredSince(p.GetAt(), n)
}

// forgetGone drops the oldest unavailable full JID of too many.
func (w *watched) forgetGone() {
	gone, oldest := 0, -1
	for i, r := range w.registers {
		if !r.available {
			gone++
			if oldest < 0 || r.version < w.registers[oldest].version {
				oldest = i
			}
		}
	}
	if gone >= maxGone {
		w.registers = slices.Delete(w.registers, oldest, oldest+1)
	}
}

// admission merges whether a follower may see an account; without a follower
// it is for all of them. f.mu is held.
func (f *followed) admission(b *batch, a *wire.Admission) {
	w := f.accounts[a.GetAccount()]
	if w == nil {
		return
	}
	if a.GetFollower() != "" {
		f.admit(b, w, w.followers[a.GetFollower()], a)
		return
	}
	for _, fo := range w.followers {
		f.admit(b, w, fo, a)
	}
}

// admit merges an admission of one follower. f.mu is held.
func (f *followed) admit(b *batch, w *watched, fo *follower, a *wire.Admission) {
	if fo == nil || a.GetOffset() < fo.offset || w.bare == fo.local.bare {
		return
	}
	fo.offset = a.GetOffset()
	defer f.answerProbes(b, w, fo)
	if fo.admitted == a.GetAdmitted() {
		return
	}
	fo.admitted = a.GetAdmitted()
	if !fo.admitted {
		fo.newsFrom = 0
		if fault.Planted != fault.Unrevoked {
			f.hide(b, w, fo)
		}
		return
	}
	fo.since = a.GetOffset()
	for _, s := range fo.local.sessions() {
		if !s.available.Load() || f.probed && s.unprobed.Load() {
			continue
		}
		for _, r := range w.registers {
			if r.available && fo.passes(r, s) && !fo.local.overtaken(s, r.full, max(r.version, fo.since)) {
				s.out.presence(b, r.full, r.stanza, fo.local.bare)
				f.metrics.deliveries.Inc()
			}
		}
	}
}

// hide tells fo's sessions that each available resource of w that they saw is
// gone. f.mu is held.
func (f *followed) hide(b *batch, w *watched, fo *follower) {
	l := fo.local
	if w.bare == l.bare {
		return
	}
	for _, r := range w.registers {
		if !r.available {
			continue
		}
		var said *stanza.Prepared
		for _, s := range l.sessions() {
			if s.available.Load() && fo.passes(r, s) {
				if said == nil {
					said = preparePresence(r.full, false, nil)
				}
				s.out.presence(b, r.full, said, l.bare)
				f.metrics.deliveries.Inc()
			}
		}
	}
}
