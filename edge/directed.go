package edge

import (
	"slices"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/wire"
)

// maxDirected is how many senders and targets of directed presence an account
// remembers.
const maxDirected = 64

// directedTo names who sent directed presence, by full JID, and the resource
// it was for, none for all available ones.
type directedTo struct{ from, resource string }

// directed is the newest of its kind: its place in the sender's history and in
// the addressee's.
type directed struct {
	version, offset int64
	available       bool
}

// takeDirected is deliverDirected once it is known what the account takes in.
func (l *local) takeDirected(b *batch, d *wire.Directed) {
	if l.policyKnown.Load() {
		l.deliverDirected(b, d, false)
		return
	}
	l.oncePolicy(func() {
		var b batch
		l.deliverDirected(&b, d, false)
		b.flush()
	})
}

// holdDirected keeps directed presence until it is known whether it may come
// in, of too much the newest.
func (l *local) holdDirected(d *wire.Directed) {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	if len(l.held) >= maxDirected {
		l.held = slices.Delete(l.held, 0, 1)
	}
	l.held = append(l.held, d)
}

// releaseDirected is called when that is known.
func (l *local) releaseDirected(b *batch) {
	l.directedMu.Lock()
	held := l.held
	l.held = nil
	l.directedMu.Unlock()
	for _, d := range held {
		l.deliverDirected(b, d, true)
	}
}

// deliverDirected gives the account's sessions directed presence (RFC 6121,
// section 4.6), unless they were given newer presence of the same full JID. What
// was held is for those alone that were there when it came.
func (l *local) deliverDirected(b *batch, d *wire.Directed, held bool) {
	from, target := jid.FromCanonical(d.GetFrom()), directedTo{d.GetFrom(), d.GetResource()}
	// Only who is available was told.
	told := l.server.followedOf(from.Bare().String()).told(from.Bare().String(), from.Resource(), l) > d.GetVersion()
	said := preparePresence(d.GetFrom(), d.GetAvailable(), d.GetPresence())
	l.server.metrics.encoded.Inc()
	now := directed{d.GetVersion(), d.GetOffset(), d.GetAvailable()}
	c, doubt := l.lets()
	var took []*session
	refused := false
	for _, s := range l.sessions() {
		if d.GetResource() != "" && s.resource != d.GetResource() || told && s.available.Load() {
			continue
		}
		if !c.Allows(privacy.PresenceIn, s.resource, from) {
			refused = true
			continue
		}
		took = append(took, s)
		if d.GetResource() == "" && !s.available.Load() || held && !s.mayHave(target, now) || l.hasDirected(s, target, d.GetVersion()) {
			continue
		}
		to := l.bare
		if d.GetResource() != "" {
			to = s.full
		}
		s.out.presence(b, d.GetFrom(), said, to)
		l.server.metrics.deliveries.Inc()
	}
	if refused && doubt {
		l.holdDirected(d)
	}
	switch {
	case len(took) == 0:
	case !refused:
		l.noteDirected(target, now)
	default: // they alone have it
		for _, s := range took {
			l.noteDirected(directedTo{target.from, s.resource}, now)
		}
	}
}

// mayHave tells that the session was there when directed presence came, and
// took such.
func (s *session) mayHave(to directedTo, d directed) bool {
	if to.resource == "" {
		return s.available.Load() && d.offset > s.availableSince.Load()
	}
	return d.offset > s.boundAt
}

// hasDirected tells whether the session was given that directed presence, or
// newer of the same full JID. One event of the sender may end what it directed
// to the account and what it directed to a resource of it.
func (l *local) hasDirected(s *session, to directedTo, version int64) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	return l.directed[to].version >= version ||
		l.directed[directedTo{to.from, ""}].version > version || l.directed[directedTo{to.from, s.resource}].version > version
}

// toldEnd notes that all sessions that take presence were told the end of a full
// JID by a broadcast: if it also directed presence to all of them, they need
// not hear the same end again.
func (l *local) toldEnd(full string, version int64) {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	to := directedTo{full, ""}
	if d, ok := l.directed[to]; ok && d.available && d.version < version {
		l.directed[to] = directed{version, d.offset, false}
	}
}

// overtaken tells whether the session was given directed presence of the full
// JID that is newer, or the same end of it, since it became available: what was
// before that is answered anew by initial presence (RFC 6121, section 4.3.2).
func (l *local) overtaken(s *session, full string, version int64) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	if len(l.directed) == 0 {
		return false
	}
	since := s.availableSince.Load()
	for _, resource := range [...]string{"", s.resource} {
		if d := l.directed[directedTo{full, resource}]; d.version >= version && d.offset > since {
			return true
		}
	}
	return false
}

// sharing tells whether the newest presence that the full JID directed to the
// session is available.
func (l *local) sharing(s *session, full string) bool {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	all, one := l.directed[directedTo{full, ""}], l.directed[directedTo{full, s.resource}]
	if one.version > all.version {
		return one.available
	}
	return all.available
}

func (l *local) noteDirected(to directedTo, d directed) {
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	if d.version <= l.directed[to].version {
		return
	}
	if l.directed == nil {
		l.directed = make(map[directedTo]directed)
	}
	if len(l.directed) >= maxDirected {
		var oldest directedTo
		for k, v := range l.directed {
			if oldest.from == "" || v.offset < l.directed[oldest].offset {
				oldest = k
			}
		}
		delete(l.directed, oldest)
	}
	l.directed[to] = d
}

// told gives the version of what is known of a full JID to the sessions of l
// as subscribers, -1 if they are not told.
func (f *followed) told(bare, resource string, l *local) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[bare]
	if w == nil {
		return -1
	}
	if fo := w.followers[l.bare]; fo == nil || !fo.admitted || fo.out.Hides(resource, l.account.JID()) {
		return -1
	}
	for _, r := range w.registers {
		if r.resource == resource {
			return r.version
		}
	}
	return -1
}
