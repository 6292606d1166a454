package edge

import (
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Limits bound what one session, or one account, may ask for, so that nobody
// slows others. A negative number is no limit.
type Limits struct {
	Roster   int // items of a roster; 5000
	Pending  int // requests to subscribe that wait for an account, of contacts outside its roster; 1000
	Waiting  int // messages that wait for an account that takes none; 1000
	Directed int // targets of directed presence of a session; 500
	Asking   int // iqs of a session that are not answered yet; 256
	Archive  int // queries of archives, of an account here, that are not answered yet; 64

	StanzaRate  int           // stanzas that a session may send a second, for long; 200
	StanzaBurst int           // and at once; 4000
	ByteRate    int           // bytes that a session may send a second, for long; 256 KiB
	ByteBurst   int           // and at once; 4 MiB
	Patience    time.Duration // how long a session may always be over its rates; 5m
}

func (l *Limits) fill() {
	for _, d := range []struct {
		n   *int
		def int
	}{
		{&l.Roster, 5000}, {&l.Pending, 1000}, {&l.Waiting, 1000}, {&l.Directed, 500}, {&l.Asking, 256}, {&l.Archive, 64},
		{&l.StanzaRate, 200}, {&l.StanzaBurst, 4000}, {&l.ByteRate, 256 << 10}, {&l.ByteBurst, 4 << 20},
	} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	if l.Patience == 0 {
		l.Patience = 5 * time.Minute
	}
}

// What goes with events, where 0 is no limit.
func (l *Limits) items() uint32    { return uint32(max(l.Roster, 0)) }
func (l *Limits) requests() uint32 { return uint32(max(l.Pending, 0)) }
func (l *Limits) waiting() uint32  { return uint32(max(l.Waiting, 0)) }
func (l *Limits) targets() uint32  { return uint32(max(l.Directed, 0)) }

// asksTooMuch tells whether the session has as many requests open as it may.
func (s *session) asksTooMuch() bool {
	most := s.server.opts.Limits.Asking
	if most < 0 || len(s.requests)+int(s.asking.Load()) < most {
		return false
	}
	s.server.metrics.limited.WithLabelValues("asking").Inc()
	return true
}

func tooManyRequests() *stanza.Error {
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "too many requests are not answered yet"}
}

// took makes the contacts those of a roster that was read for the session. One
// session more than an account may have, on all edges together, ends.
func (s *session) took(r *Roster) {
	s.local.setContacts(r)
	if most := s.server.opts.MaxResources; r.Resources > most {
		s.post(func() {
			if !s.ended {
				s.server.metrics.limited.WithLabelValues("resources").Inc()
				s.end("too many resources", &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "the account has too many resources"})
			}
		})
	}
}

// slow has the client wait that sends more than it may: nothing is read from it
// for a while. It is called by the reader.
func (s *session) slow(p *pace, stanzas, bytes int) error {
	wait, err := p.take(time.Now(), stanzas, bytes)
	if err != nil {
		s.server.metrics.limited.WithLabelValues("patience").Inc()
		return err
	}
	if wait <= 0 {
		return nil
	}
	s.server.metrics.limited.WithLabelValues("rate").Inc()
	for wait > 0 && s.alive() {
		step := min(wait, maxPause)
		time.Sleep(step)
		wait -= step
	}
	if idle := s.server.opts.IdlePing; idle > 0 {
		s.deadline(time.Now().Add(idle))
	}
	return nil
}

// maxPause is how long a reader sleeps before it looks whether its session is
// still there.
const maxPause = 250 * time.Millisecond
