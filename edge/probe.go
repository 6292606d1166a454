package edge

import (
	"context"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
)

// maxProbes is how many probes of one account may wait for the first word of
// another's presence.
const maxProbes = 8

// probe is a client's request for the presence of a bare or full JID (RFC
// 6121, section 4.3).
type probe struct {
	session  *session
	resource string // of the JID; empty for all
	id       string
}

// probe answers a client's probe from what the edge knows, once all that the
// client sent before is settled. It is never answered with an error (RFC 6121,
// section 4.3).
func (s *session) probe(st *stanza.Stanza) {
	to, err := s.addressee(st)
	if err != nil || to.Local() == "" {
		return
	}
	p := probe{s, to.Resource(), st.ID}
	s.order.then(func() {
		if s.local.loaded() {
			s.local.probe(p, to.Bare())
			return
		}
		go func() {
			ctx, cancel := s.server.context(s.server.opts.ReadIn)
			defer cancel()
			if s.readContacts(ctx) == nil {
				s.local.probe(p, to.Bare())
			}
		}()
	})
}

// readContacts reads the roster for a session that did not ask for it.
func (s *session) readContacts(ctx context.Context) error {
	r, err := s.server.opts.Rosters.Roster(ctx, s.local.account, s.local.partition, 0)
	if err == nil {
		s.took(r)
	}
	return err
}

// probe answers for whom the account follows by what it may see. Of everybody
// else it sees nothing, whether they exist or not (RFC 6121, section 4.3.2),
// but that somebody who directed presence here is still there (4.6.6).
func (l *local) probe(p probe, bare jid.Bare) {
	name := bare.String()
	l.mu.Lock()
	_, follows := l.contacts[name]
	l.mu.Unlock()
	var b batch
	defer b.flush()
	full := name + "/" + p.resource
	switch {
	case follows || name == l.bare:
		l.server.followedOf(name).probe(&b, name, p)
	case p.resource != "" && l.sharing(p.session, full):
		p.say(&b, stanza.Header{From: full}, stanza.PresenceData{})
	default:
		p.denied(&b, name)
	}
}

// probe answers p, or keeps it until it is known what the prober may see.
func (f *followed) probe(b *batch, bare string, p probe) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.accounts[bare]
	if w == nil {
		return
	}
	fo := w.followers[p.session.local.bare]
	switch {
	case fo == nil:
	case fo.offset >= 0 || w.bare == fo.local.bare:
		f.answerProbe(b, w, fo, p)
	case len(fo.probes) < maxProbes:
		fo.probes = append(fo.probes, p)
	}
}

// answerProbes answers those that wait. f.mu is held.
func (f *followed) answerProbes(b *batch, w *watched, fo *follower) {
	for _, p := range fo.probes {
		f.answerProbe(b, w, fo, p)
	}
	fo.probes = nil
}

// answerProbe answers as RFC 6121, section 4.3.2, says. f.mu is held.
func (f *followed) answerProbe(b *batch, w *watched, fo *follower, p probe) {
	if !fo.admitted {
		p.denied(b, w.bare)
		return
	}
	// Who is blocked gets no answer (XEP-0191, section 3.3), who must not see
	// something the one that it gets when that is not there, without a time
	// (XEP-0186, section 3.1.1).
	if !fo.out.Allows(privacy.Subscription, "", p.session.jid()) {
		return
	}
	var last int64
	found, hidden := false, false
	for _, r := range w.registers {
		switch {
		case !fo.passes(r, p.session):
			hidden = true
		case !r.available:
			last = max(last, r.at)
		case fo.local.overtaken(p.session, r.full, max(r.version, fo.since)):
			// By presence that was directed here; the client has what it says.
			if (p.resource == "" || p.resource == r.resource) && fo.local.sharing(p.session, r.full) {
				found = true
				p.say(b, stanza.Header{From: r.full}, stanza.PresenceData{})
			}
		case p.resource == "":
			found = true
			p.session.out.presence(b, r.full, r.stanza, fo.local.bare)
		case p.resource == r.resource:
			// That it is there and no more.
			found = true
			p.say(b, stanza.Header{From: r.full}, stanza.PresenceData{})
		}
	}
	if found {
		return
	}
	h := stanza.Header{From: w.bare, ID: p.id, Type: "unavailable"}
	if p.resource != "" {
		h.From += "/" + p.resource
		last = 0
	}
	var said stanza.PresenceData
	if last > 0 && !hidden {
		domain := jid.BareFromCanonical(w.bare).Domain()
		said.Payload = stanza.AppendDelay(nil, domain, time.UnixMicro(last))
	}
	p.say(b, h, said)
}

// denied tells the prober that it is no subscriber.
func (p probe) denied(b *batch, bare string) {
	p.say(b, stanza.Header{From: bare, ID: p.id, Type: "unsubscribed"}, stanza.PresenceData{})
}

func (p probe) say(b *batch, h stanza.Header, d stanza.PresenceData) {
	h.To = p.session.local.bare
	p.session.out.write(b, func(dst []byte) []byte { return stanza.AppendPresence(dst, h, d) }, nil)
}
