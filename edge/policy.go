package edge

import (
	"maps"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
)

// setPolicy makes p what the account lets through as of an offset: sessions
// lose sight of whom they must not see, and see whom they may.
func (l *local) setPolicy(b *batch, p *own) {
	if p == nil {
		return
	}
	l.mu.Lock()
	if l.ended || l.policyKnown.Load() && p.at < l.policyAt {
		l.mu.Unlock()
		return
	}
	l.policyAt = p.at
	was := l.policy.Swap(p.policy)
	first := !l.policyKnown.Swap(true)
	waiting := l.forPolicy
	l.forPolicy = nil
	if first || was != nil || p.policy != nil {
		for contact := range l.contacts {
			l.server.followedOf(contact).accept(b, contact, l)
		}
		l.refuseDirected(b, was, p.policy)
	}
	l.mu.Unlock()
	for _, f := range waiting {
		f()
	}
}

// refuseDirected shows those unavailable whose directed presence a session has
// got and must get no more (XEP-0016, section 2.10), and forgets that it has.
// l.mu is held.
func (l *local) refuseDirected(b *batch, was, now *privacy.Compiled) {
	if now == nil {
		return
	}
	l.directedMu.Lock()
	defer l.directedMu.Unlock()
	for to, d := range maps.Clone(l.directed) {
		from := jid.FromCanonical(to.from)
		var keep []*session // that have it still
		refused := false
		for _, s := range l.sessions() {
			switch {
			case to.resource != "" && to.resource != s.resource:
			case !was.Allows(privacy.PresenceIn, s.resource, from) || now.Allows(privacy.PresenceIn, s.resource, from):
				keep = append(keep, s)
			default:
				refused = true
				if d.available {
					s.out.presence(b, to.from, preparePresence(to.from, false, nil), l.bare)
				}
			}
		}
		if !refused {
			continue
		}
		// What was for all sessions is now for each of those that are left.
		delete(l.directed, to)
		for _, s := range keep {
			if one := (directedTo{to.from, s.resource}); l.directed[one].version < d.version {
				l.directed[one] = d
			}
		}
	}
}

// oncePolicy calls f, from any goroutine, once what the account lets through is
// known; at once if it is.
func (l *local) oncePolicy(f func()) {
	l.mu.Lock()
	if !l.policyKnown.Load() {
		l.forPolicy = append(l.forPolicy, f)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	f()
}

// forOthers tells that a stanza is for another account.
func (s *session) forOthers(st *stanza.Stanza) bool {
	if st.To == "" {
		return false
	}
	to, err := jid.Parse(st.To)
	return err == nil && to.Local() != "" && to.Bare() != s.local.account
}

// awaitPolicy has the client's stanzas wait until it is known whether its
// account lets anything pass to others. That takes as long as a worker's first
// answer.
func (s *session) awaitPolicy() {
	end := s.pause()
	s.local.oncePolicy(func() { s.post(end) })
	s.server.later(s, time.Now().Add(s.server.opts.AnswerIn), func() {
		s.blind = !s.local.policyKnown.Load()
		end()
	})
}

// refused tells why the session must not send a stanza to somebody, nil if it
// may (XEP-0191, section 3.3; XEP-0016, section 2.14).
func (s *session) refused(st *stanza.Stanza, to jid.JID) error {
	c := s.local.policy.Load()
	if c == nil && s.local.policyKnown.Load() || to.Local() == "" || to.Bare() == s.local.account {
		return nil
	}
	if c == nil {
		return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "it is not known yet whom you block"}
	}
	kind := privacy.Sent
	if st.Kind == stanza.Presence {
		kind = privacy.Subscription
		if st.Type == "" || st.Type == "unavailable" {
			kind = privacy.PresenceOut
		}
	}
	if c.Allows(kind, s.resource, to) {
		return nil
	}
	return s.local.blockedError(to)
}

// blockedError tells that the account lets nothing pass to somebody.
func (l *local) blockedError(to jid.JID) *stanza.Error {
	bad := &stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable}
	if l.policy.Load().Blocks(to) {
		bad.App = stanza.New(stanza.NSBlockErr, "blocked").Bytes()
	}
	return bad
}
