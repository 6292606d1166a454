package model

import (
	"maps"
	"slices"
)

// message routes a message with a body (section 8.5).
func (m *Model) message(s *Session, kind, to string) {
	name, resource := split(to)
	b := m.accounts[name]
	told := "message " + m.id
	if resource != "" {
		if r := b.sessions[resource]; r != nil { // 8.5.3.1
			r.Must = append(r.Must, told)
			return
		}
		switch kind { // 8.5.3.2.1
		case "chat":
		case "headline", "error":
			return
		default:
			m.refuse(s, "service-unavailable")
			return
		}
	}
	switch kind { // 8.5.2
	case "groupchat":
		m.refuse(s, "service-unavailable")
		return
	case "error":
		return
	}
	taken := false
	for _, name := range slices.Sorted(maps.Keys(b.sessions)) {
		if r := b.sessions[name]; r.Available && r.priority >= 0 {
			r.Must = append(r.Must, told)
			taken = true
		}
	}
	if !taken && kind != "headline" {
		b.waiting = append(b.waiting, letter{m.id, resource})
	}
}

// release gives s what waits, now that it takes messages (section 8.5.2.2.1,
// XEP-0160): but a resource that a message was addressed to and that has come
// since is the one that gets it.
func (b *account) release(s *Session) {
	for _, l := range b.waiting {
		to := s
		if r := b.sessions[l.resource]; r != nil {
			to = r
		}
		to.Must = append(to.Must, "message "+l.id)
	}
	b.waiting = nil
}

// refuse answers the command's stanza with an error.
func (m *Model) refuse(s *Session, condition string) {
	s.Must = append(s.Must, "error "+m.id+" "+condition)
}
