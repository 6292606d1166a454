package model

import (
	"maps"
	"slices"
	"strings"
)

// rule is an item of a privacy list (XEP-0016, section 2.1).
type rule struct {
	allow       bool
	kind, value string   // "jid", "group", "subscription" or nothing
	what        []string // "message", "presence-in", "presence-out"; none is everything
}

// rules reads "deny jid bob message,presence-in; allow subscription both; deny".
func rules(text string) (list []rule) {
	for _, line := range strings.Split(text, ";") {
		f := strings.Fields(line)
		r := rule{allow: f[0] == "allow"}
		if len(f) > 2 {
			r.kind, r.value = f[1], f[2]
		}
		if len(f) == 2 || len(f) == 4 {
			r.what = strings.Split(f[len(f)-1], ",")
		}
		list = append(list, r)
	}
	return list
}

// allows tells whether a lets traffic of one kind pass between a session of
// it, or the account as a whole, and another account. The kinds are those of a
// rule, "subscription" for what manages one and "sent" for messages that go;
// only rules for everything are about these two. The block list counts first
// (XEP-0191, section 4), then the session's active list or the default one
// (XEP-0016, section 2.2).
func (a *account) allows(s *Session, kind, other string) bool {
	if other == a.name {
		return true
	}
	if a.blocked[other] {
		return false
	}
	list := a.lists[a.fallback]
	if s != nil && s.active != "" {
		list = a.lists[s.active]
	}
	for _, r := range list {
		if (len(r.what) == 0 || slices.Contains(r.what, kind)) && a.matches(r, other) {
			return r.allow
		}
	}
	return true
}

func (a *account) matches(r rule, other string) bool {
	i := a.contact(other)
	switch r.kind {
	case "jid":
		return r.value == other
	case "group":
		return i.listed && slices.Contains(strings.Split(i.groups, ","), r.value)
	case "subscription":
		return r.value == strings.Fields(i.state())[0]
	}
	return true
}

// sees tells whether a session of b is shown the presence of a session of a.
// Whoever asked for nothing is shown nothing, and everybody sees themselves.
func (m *Model) sees(b *account, t *Session, a *account, s *Session) bool {
	switch {
	case !t.Available || !s.Available:
		return false
	case a == b:
		return true
	}
	return a.contact(b.name).from && b.contact(a.name).to && !s.invisible &&
		a.allows(s, "presence-out", b.name) && b.allows(t, "presence-in", a.name)
}

// sight is who sees whom.
type sight map[[2]*Session]bool

func (m *Model) sight() sight {
	all := make(sight)
	for _, b := range m.accounts {
		for _, t := range b.sessions {
			for _, a := range m.accounts {
				for _, s := range a.sessions {
					if m.sees(b, t, a, s) {
						all[[2]*Session{t, s}] = true
					}
				}
			}
		}
	}
	return all
}

// changed shows what has become visible and hides what is no more, other than
// by what the sessions sent themselves (XEP-0191, sections 3.3 and 3.4;
// XEP-0016, sections 2.10 and 2.11; XEP-0186, section 3.1).
func (m *Model) changed(before sight) {
	after := m.sight()
	for pair := range before {
		if !after[pair] && pair[0].Available {
			pair[0].hear(pair[1].Full, nil)
		}
	}
	for pair := range after {
		if !before[pair] {
			pair[0].hear(pair[1].Full, &pair[1].said)
		}
	}
	for _, a := range m.accounts {
		a.release()
		m.refuseDirected(a)
	}
}

// refuseDirected ends directed presence to whom the account lets it pass no
// more, and for those whom a session lets it come from no more.
func (m *Model) refuseDirected(a *account) {
	for _, s := range a.sessions {
		for _, to := range slices.Sorted(maps.Keys(s.directed)) {
			if name, _ := split(to); !a.allows(s, "presence-out", name) {
				delete(s.directed, to)
				m.direct(s, to, nil)
			}
		}
		for full := range s.View {
			if name, _ := split(m.short(full)); !a.allows(s, "presence-in", name) {
				delete(s.View, full)
			}
		}
	}
}

// hides is the invisible command (XEP-0186, section 3.1), of a session that is
// available.
func (m *Model) hides(a *account, s *Session) {
	if s.invisible || !s.Available {
		return
	}
	m.endDirected(s)
	s.invisible = true
}

// appears is the visible command: the session is as one that has sent no
// presence yet (section 3.2).
func (m *Model) appears(a *account, s *Session) {
	if !s.invisible {
		return
	}
	if s.Available {
		for _, t := range a.sessions {
			if t.Available {
				t.hear(s.Full, nil)
			}
		}
		clear(s.View)
	}
	s.invisible, s.Available, s.said, s.priority = false, false, Seen{}, 0
}

// defines creates, replaces or, without rules, removes a list (XEP-0016,
// sections 2.6 to 2.8).
func (m *Model) defines(a *account, s *Session, name, text string) {
	if text != "" {
		list := rules(text)
		for _, r := range list {
			if r.kind == "group" && !a.hasGroup(r.value) {
				m.refuse(s, "item-not-found")
				return
			}
		}
		a.lists[name] = list
		return
	}
	switch {
	case a.lists[name] == nil:
		m.refuse(s, "item-not-found")
	case a.usedElsewhere(name, s):
		m.refuse(s, "conflict")
	default:
		delete(a.lists, name)
		if a.fallback == name {
			a.fallback = ""
		}
		for _, t := range a.sessions {
			if t.active == name {
				t.active = ""
			}
		}
	}
}

func (a *account) hasGroup(group string) bool {
	for _, i := range a.roster {
		if i.listed && slices.Contains(strings.Split(i.groups, ","), group) {
			return true
		}
	}
	return false
}

// usedElsewhere tells that a list counts for another session.
func (a *account) usedElsewhere(name string, s *Session) bool {
	for _, t := range a.sessions {
		if t != s && (t.active == name || t.active == "" && a.fallback == name) {
			return true
		}
	}
	return false
}

// activates makes a list the active one of a session (section 2.4).
func (m *Model) activates(a *account, s *Session, name string) {
	if name != "" && a.lists[name] == nil {
		m.refuse(s, "item-not-found")
		return
	}
	s.active = name
}

// prefers makes a list the default one (section 2.5).
func (m *Model) prefers(a *account, s *Session, name string) {
	switch {
	case name != "" && a.lists[name] == nil:
		m.refuse(s, "item-not-found")
	case a.fallback != "" && a.fallback != name && a.usedElsewhere(a.fallback, s):
		m.refuse(s, "conflict")
	default:
		a.fallback = name
	}
}

// ByRoster tells that an account has rules that refer to its roster.
func (m *Model) ByRoster(name string) bool {
	for _, list := range m.accounts[name].lists {
		if slices.ContainsFunc(list, func(r rule) bool { return r.kind == "group" || r.kind == "subscription" }) {
			return true
		}
	}
	return false
}
