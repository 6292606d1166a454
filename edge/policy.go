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
	if p.doubt {
		l.doubt.Store(true)
	}
	was := l.policy.Swap(p.policy)
	first := !l.policyKnown.Swap(true)
	var waiting []func()
	if !p.doubt {
		l.doubt.Store(false)
		waiting, l.forPolicy = l.forPolicy, nil
	}
	if first || was != nil || p.policy != nil {
		for contact := range l.contacts {
			l.server.followedOf(contact).accept(b, contact, l)
		}
		if !p.doubt {
			l.refuseDirected(b, p.policy)
		}
	}
	l.mu.Unlock()
	if !p.doubt {
		l.releaseDirected(b)
	}
	for _, f := range waiting {
		f()
	}
}

// refuseDirected shows those unavailable whose directed presence a session has
// got and must get no more (XEP-0016, section 2.10), and forgets that it has.
// l.mu is held.
func (l *local) refuseDirected(b *batch, now *privacy.Compiled) {
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
			case now.Allows(privacy.PresenceIn, s.resource, from):
				keep = append(keep, s)
			default:
				refused = true
				if d.available && s.mayHave(to, d) {
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

// sure tells that it is known what the account lets through.
func (l *local) sure() bool { return l.policyKnown.Load() && !l.doubt.Load() }

// lets gives what the account lets through, and whether that is in doubt.
func (l *local) lets() (c *privacy.Compiled, doubt bool) {
	for {
		c, doubt = l.policy.Load(), l.doubt.Load()
		if l.policy.Load() == c {
			return c, doubt
		}
	}
}

// oncePolicy calls f, from any goroutine, once what the account lets through is
// known for sure; at once if it is.
func (l *local) oncePolicy(f func()) {
	l.mu.Lock()
	if !l.sure() {
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

// undecided tells that it is not known whether the session may send a stanza.
// Of presence it need not be: the fold knows.
func (s *session) undecided(st *stanza.Stanza) bool {
	switch {
	case s.local.sure() || !s.forOthers(st):
		return false
	case !s.local.policyKnown.Load():
		return true
	case st.Kind == stanza.Presence:
		return false
	}
	c, doubt := s.local.lets()
	to, _ := jid.Parse(st.To)
	return doubt && !c.Blocks(to) && !c.Allows(privacy.Sent, s.resource, to)
}

// awaitPolicy has the client's stanzas wait until it is known whether its
// account lets them pass to others. That takes as long as a worker's first
// answer, or as the projector is behind.
func (s *session) awaitPolicy() {
	end := s.pause()
	s.local.oncePolicy(func() {
		s.post(func() {
			s.blind = false
			end()
		})
	})
	s.server.later(s, time.Now().Add(s.server.opts.AnswerIn), func() {
		s.blind = !s.local.sure()
		end()
	})
}

// refused tells why the session must not send a stanza to somebody, nil if it
// may (XEP-0191, section 3.3; XEP-0016, section 2.14).
func (s *session) refused(st *stanza.Stanza, to jid.JID) error {
	c, doubt := s.local.lets()
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
	switch {
	case c.Allows(kind, s.resource, to):
		return nil
	case !doubt || c.Blocks(to):
		return s.local.blockedError(to)
	case st.Kind == stanza.Presence:
		return nil
	}
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "it is not known yet whether your lists let it pass"}
}

// blockedError tells that the account lets nothing pass to somebody.
func (l *local) blockedError(to jid.JID) *stanza.Error {
	bad := &stanza.Error{Type: stanza.Cancel, Condition: stanza.NotAcceptable}
	if l.policy.Load().Blocks(to) {
		bad.App = stanza.New(stanza.NSBlockErr, "blocked").Bytes()
	}
	return bad
}
