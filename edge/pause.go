package edge

import "github.com/rollcall/rollcall/edge/stanza"

// pause is what a session has while its client's stanzas wait for something
// that must be known first. They wait in their order, those that are read
// already here, all others outside.
type pause struct {
	stanzas []*stanza.Stanza
}

// pause has all stanzas of the client wait from now on. What it gives ends
// that, in the mailbox; to call it again does nothing.
func (s *session) pause() (end func()) {
	p := new(pause)
	s.paused = p
	s.mail.hold(true)
	return func() {
		if s.paused != p {
			return
		}
		s.paused = nil
		for _, st := range p.stanzas {
			s.take(st) // another pause takes in the rest
		}
		if !s.ended {
			s.mail.hold(s.held || s.paused != nil)
		}
	}
}

// waits tells that a stanza has to wait, and keeps it until it may be taken.
func (s *session) waits(st *stanza.Stanza) bool {
	if s.paused == nil {
		if s.blind || !s.undecided(st) {
			return false
		}
		s.awaitPolicy()
	}
	s.paused.stanzas = append(s.paused.stanzas, st)
	return true
}
