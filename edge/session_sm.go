package edge

import (
	"net"
	"strconv"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// management is a session's side of stream management (XEP-0198). What its
// client was sent is in the outbound.
type management struct {
	id        string        // by which the client resumes the session; empty if it cannot
	resumeFor time.Duration // how long it may be away
	in        uint32        // stanzas of the client that were taken
	before    uint32        // the last of them that left an event; 0 if none
	back      *comeback     // a client that would resume the session
}

// comeback is a connection whose client resumes a session.
type comeback struct {
	reader reader
	conn   net.Conn
	h      uint32 // stanzas that the client has handled
	previd string
	answer func(dst, resumed []byte) []byte // wraps what is said of the resumption
	done   chan error                       // nil: it goes on; errNotThere, or a *stanza.StreamError
}

// takeSM acts on an element of stream management.
func (s *session) takeSM(st *stanza.Stanza) {
	switch st.Local {
	case "enable":
		if s.sm != nil {
			s.refuseSM(stanza.UnexpectedRequest)
			return
		}
		most, _ := strconv.ParseUint(st.Attr("max"), 10, 31)
		s.enable(st.Attr("resume") == "true" || st.Attr("resume") == "1", int(most))
	case "r":
		if s.sm == nil {
			s.refuseSM(stanza.UnexpectedRequest)
			return
		}
		// What is acknowledged is settled: every append of these stanzas.
		h := s.sm.in
		s.order.then(func() {
			s.out.raw(func(dst []byte) []byte { return appendCount(dst, "a", h, "") })
		})
	case "a":
		if s.sm == nil {
			s.refuseSM(stanza.UnexpectedRequest)
			return
		}
		h, err := strconv.ParseUint(st.Attr("h"), 10, 32)
		if err != nil {
			s.refuseSM(stanza.BadRequest)
			return
		}
		if sent, ok := s.out.ack(uint32(h)); !ok {
			s.end("too much acknowledged", tooHigh(uint32(h), sent))
		}
	case "resume":
		s.refuseSM(stanza.UnexpectedRequest)
	default:
		s.end("unsupported element", &stanza.StreamError{Condition: stanza.UnsupportedStanzaType})
	}
}

// tooHigh is the error for who acknowledges what it was not sent (XEP-0198, section 6).
func tooHigh(h, sent uint32) *stanza.StreamError {
	app := stanza.New(stanza.NSSM, "handled-count-too-high", "h", count(h), "send-count", count(sent))
	return &stanza.StreamError{
		Condition: stanza.StreamUndefined, App: app.Bytes(),
		Text: "you acknowledged " + count(h) + " stanzas, of " + count(sent),
	}
}

func count(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// appendCount appends an element with a count of handled stanzas.
func appendCount(dst []byte, name string, h uint32, previd string) []byte {
	dst = append(dst, '<')
	dst = append(dst, name...)
	dst = append(dst, " xmlns='"+stanza.NSSM+"' h='"...)
	dst = append(strconv.AppendUint(dst, uint64(h), 10), '\'')
	dst = stanza.AppendAttr(dst, "previd", previd)
	return append(dst, "/>"...)
}

// appendFailedSM appends that something of stream management failed.
func appendFailedSM(dst []byte, c stanza.Condition) []byte {
	dst = append(dst, "<failed xmlns='"+stanza.NSSM+"'><"...)
	dst = append(dst, c...)
	return append(dst, " xmlns='"+stanza.NSStanzas+"'/></failed>"...)
}

func (s *session) refuseSM(c stanza.Condition) {
	s.out.raw(func(dst []byte) []byte { return appendFailedSM(dst, c) })
}

// enable begins stream management; most is how many seconds the client wants
// to be able to resume, 0 if it does not say.
func (s *session) enable(resume bool, most int) {
	enabled := s.startSM(nil, resume, most)
	s.out.manage(enabled, s.sm.id != "")
	if s.carbons.Load() && s.resumable() {
		s.noteCarbons(nil)
	}
}

// startSM makes the session count, and appends <enabled/>, after which its
// outbound is to count too.
func (s *session) startSM(dst []byte, resume bool, most int) []byte {
	s.sm = new(management)
	dst = append(dst, "<enabled xmlns='"+stanza.NSSM+"'"...)
	if longest := s.server.opts.ResumeFor; resume && longest > 0 {
		s.sm.resumeFor = longest
		if most > 0 {
			s.sm.resumeFor = min(longest, time.Duration(most)*time.Second)
		}
		s.sm.id = s.server.tokens.make(s.local.bare, s.resource, s.began)
		dst = stanza.AppendAttr(dst, "id", s.sm.id)
		dst = append(dst, " resume='true'"...)
		dst = stanza.AppendAttr(dst, "max", strconv.Itoa(max(1, int(s.sm.resumeFor/time.Second))))
	}
	return append(dst, "/>"...)
}

// number notes of an event which of the client's stanzas left it.
func (s *session) number(e *event.Event) {
	if s.taking == 0 || s.taking == s.sm.before {
		return
	}
	e.Stanza, e.StanzaBefore = s.taking, s.sm.before
	s.sm.before = s.taking
}

// notStored tells the log that the stanza of an event that it did not take is
// done with, so that later ones count: its client is told by an error.
func (s *session) notStored(e *event.Event) {
	if e.GetStanza() == 0 {
		return
	}
	handled := s.stamp(&event.Event{
		Stanza: e.GetStanza(), StanzaBefore: e.GetStanzaBefore(),
		Kind: &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}},
	})
	s.server.append(s.local.account, handled, func(_ topic.Position, err error) {
		if err != nil && s.server.ctx.Err() == nil {
			time.AfterFunc(s.server.opts.RetryEvery, func() { s.notStored(e) })
		}
	})
}

// lost is the end of a connection without the end of its stream. The session
// waits for its client to come back: to resume it, or to bind its resource
// anew and go on with its presence.
func (s *session) lost() {
	if s.ended || s.detached {
		return
	}
	wait := s.server.opts.Grace
	if s.sm != nil && s.sm.id != "" {
		wait = s.sm.resumeFor
	}
	if wait <= 0 {
		s.end("connection lost", nil)
		return
	}
	s.detach(wait, nil)
}

// detach gives the connection up, and ends the session if nobody comes.
func (s *session) detach(wait time.Duration, last []byte) {
	s.detached = true
	s.server.metrics.detached.Inc()
	s.out.detach(last)
	if s.sm != nil && s.sm.id != "" {
		s.sleeps()
	}
	var until *time.Timer
	until = time.AfterFunc(wait, func() {
		s.post(func() {
			if s.detached && s.until == until {
				s.end("connection lost", nil)
			}
		})
	})
	s.until = until
}

// comesBack is the client's wish to resume the session over another
// connection. The session's reader may still be at work on the old one, which
// is broken then, though nobody has noticed.
func (s *session) comesBack(c *comeback) {
	if s.ended || s.sm == nil || s.sm.id != c.previd {
		c.done <- errNotThere
		return
	}
	if older := s.sm.back; older != nil {
		older.done <- &stanza.StreamError{Condition: stanza.StreamConflict, Text: "the session was resumed by another stream"}
	}
	s.sm.back = c
	if !s.detached {
		replaced := &stanza.StreamError{Condition: stanza.StreamConflict, Text: "the session was resumed by another stream"}
		s.detach(s.sm.resumeFor, append(replaced.AppendTo(nil), stanza.StreamEnd...))
	}
	s.resume()
}

// resume goes on with the connection of who has come back, once all that came
// over the old one is settled.
func (s *session) resume() {
	if s.sm == nil || s.sm.back == nil {
		return
	}
	if s.ended {
		s.sm.back.done <- errNotThere
		s.sm.back = nil
		return
	}
	if s.reads {
		return
	}
	c := s.sm.back
	s.order.then(func() {
		if s.ended || s.sm.back != c {
			return
		}
		s.sm.back = nil
		if s.paused != nil {
			s.paused.stanzas = nil // not counted: the client sends them again
		}
		s.inactive.Store(false)
		said := func(dst []byte) []byte {
			return c.answer(dst, appendCount(nil, "resumed", s.sm.in, c.previd))
		}
		sent, ok := s.out.attach(c.conn, said, c.h)
		if !ok {
			c.done <- tooHigh(c.h, sent)
			return
		}
		s.detached, s.reads, s.reader = false, true, c.reader
		s.until.Stop()
		s.server.metrics.resumed.Inc()
		c.done <- nil
	})
}
