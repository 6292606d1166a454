package model

import (
	"maps"
	"slices"
)

// connect binds a resource; who had it is thrown out (RFC 6120, section 7.7.2.2).
func (m *Model) connect(who string, edge int) {
	name, resource := split(who)
	a := m.accounts[name]
	if old := a.sessions[resource]; old != nil {
		m.end(a, resource)
	}
	a.sessions[resource] = &Session{
		Full: a.bare + "/" + resource, Edge: edge,
		directed: make(map[string]bool), View: make(map[string]Seen), Roster: make(map[string]string),
	}
}

// end ends a session, however (section 4.5.2).
func (m *Model) end(a *account, resource string) {
	s := a.sessions[resource]
	m.withdraw(a, s)
	delete(a.sessions, resource)
}

// available is initial or subsequent presence (sections 4.2.2 and 4.4.2).
func (m *Model) available(a *account, s *Session, p Seen, priority int) {
	initial, took := !s.Available, s.Available && s.priority >= 0
	s.Available, s.said, s.priority = true, p, priority
	if initial {
		// Section 4.2.2: what others answer to a probe.
		for _, b := range m.accounts {
			for _, r := range b.sessions {
				if m.sees(a, s, b, r) {
					s.hear(r.Full, &r.said)
				}
			}
		}
		// Section 3.1.3, rule 4: requests come again until they are answered.
		for _, name := range slices.Sorted(maps.Keys(a.roster)) {
			if a.roster[name].askIn && a.allows(s, "subscription", name) {
				s.Must = append(s.Must, "subscribe "+m.accounts[name].bare)
				s.May = append(s.May, "subscribe "+m.accounts[name].bare)
			}
		}
	}
	m.broadcast(a, s, &p)
	if !took && priority >= 0 {
		a.release()
	}
}

// withdraw makes a session unavailable (section 4.5.2); who only got directed
// presence hears of it too (section 4.6.3, rule 2).
func (m *Model) withdraw(a *account, s *Session) {
	if s.Available {
		m.broadcast(a, s, nil)
		clear(s.View) // it is told nothing more, and what it was told grows old
	}
	s.Available, s.said, s.priority = false, Seen{}, 0
	m.endDirected(s)
}

// endDirected tells all who got directed presence that it is over.
func (m *Model) endDirected(s *Session) {
	targets := slices.Sorted(maps.Keys(s.directed))
	clear(s.directed)
	for _, to := range targets {
		m.direct(s, to, nil)
	}
}

// cancelled ends what a's sessions directed to an account that was a subscriber
// (section 4.6.1).
func (m *Model) cancelled(a *account, before item, b *account) {
	if !before.from || a.contact(b.name).from {
		return
	}
	for _, s := range a.sessions {
		for _, to := range slices.Sorted(maps.Keys(s.directed)) {
			if name, _ := split(to); name == b.name {
				delete(s.directed, to)
				m.direct(s, to, nil)
			}
		}
	}
}

// sendsDirected is presence to one other (section 4.6.3).
func (m *Model) sendsDirected(a *account, s *Session, to string, p *Seen) {
	name, _ := split(to)
	switch {
	case !a.allows(s, "presence-out", name): // XEP-0191, section 3.3
		m.refuse(s, "not-acceptable")
		return
	case p == nil:
		delete(s.directed, to)
	default:
		s.directed[to] = true
	}
	m.direct(s, to, p)
}

// direct delivers presence of s to a bare or full JID (sections 8.5.2 and
// 8.5.3). Who sends unavailable is taken off the addressee's lists, if it is
// there under the same address (section 4.6.1).
func (m *Model) direct(s *Session, to string, p *Seen) {
	name, resource := split(to)
	b := m.accounts[name]
	from := m.short(s.Full)
	sender, _ := split(from)
	for r, t := range b.sessions {
		if (resource == "" && t.Available || resource == r) && b.allows(t, "presence-in", sender) {
			t.hear(s.Full, p)
		}
	}
	if p == nil && b.allows(b.sessions[resource], "presence-in", sender) {
		for _, t := range b.sessions {
			delete(t.directed, from)
		}
	}
}

// short gives "name/resource" of a full JID.
func (m *Model) short(full string) string {
	at := len(full)
	for i := range full {
		if full[i] == '@' {
			at = i
		}
	}
	return full[:at] + full[at+1+len(m.domain):]
}
