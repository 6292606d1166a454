package model

import (
	"slices"
)

// message routes a message with a body (section 8.5). What its addressee lets
// not pass is answered as if nobody were there (XEP-0191, section 3.2). What the
// sender's client sends again under an id of its own nobody hears of (XEP-0359).
func (m *Model) message(a *account, s *Session, kind, to, origin string) {
	name, resource := split(to)
	b := m.accounts[name]
	if !a.allows(s, "sent", name) {
		m.refuse(s, "not-acceptable")
		return
	}
	keeps := origin != "" && (kind == "chat" || kind == "normal")
	sent := [2]string{a.name, origin}
	if keeps && b.origins[sent] {
		return
	}
	if keeps {
		b.origins[sent] = true
	}
	told := "message " + m.id
	unheard := func() {
		if keeps {
			delete(b.origins, sent)
		}
		if kind != "headline" && kind != "error" {
			m.refuse(s, "service-unavailable")
		}
	}
	if resource != "" {
		if r := b.sessions[resource]; r != nil { // 8.5.3.1
			if b.allows(r, "message", a.name) {
				r.Must = append(r.Must, told)
			} else {
				unheard()
			}
			return
		}
		if kind != "chat" { // 8.5.3.2.1
			unheard()
			return
		}
	}
	if kind == "groupchat" || kind == "error" { // 8.5.2
		unheard()
		return
	}
	there, taken := false, false
	for _, r := range b.ordered() {
		if !r.Available || r.priority < 0 {
			continue
		}
		there = true
		if b.allows(r, "message", a.name) {
			r.Must = append(r.Must, told)
			taken = true
		}
	}
	switch {
	case taken:
	case there || !b.allows(nil, "message", a.name):
		unheard()
	case kind != "headline":
		b.waiting = append(b.waiting, letter{m.id, a.name, resource})
	}
}

// release gives those who take messages what waits (section 8.5.2.2.1,
// XEP-0160): but a resource that a message was addressed to and that has come
// since is the one that gets it.
func (b *account) release() {
	var takes []*Session
	for _, r := range b.ordered() {
		if r.Available && r.priority >= 0 {
			takes = append(takes, r)
		}
	}
	if len(takes) == 0 {
		return
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(l letter) (taken bool) {
		to := takes
		if r := b.sessions[l.resource]; r != nil && b.allows(r, "message", l.from) {
			to = []*Session{r}
		}
		for _, r := range to {
			if b.allows(r, "message", l.from) {
				r.Must = append(r.Must, "message "+l.id)
				taken = true
			}
		}
		return taken
	})
}

// refuse answers the command's stanza with an error.
func (m *Model) refuse(s *Session, condition string) {
	s.Must = append(s.Must, "error "+m.id+" "+condition)
}
