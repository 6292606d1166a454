package edge

import (
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

// request is an iq whose answer is an Outcome.
type request struct {
	until time.Time
	done  func(*event.Outcome) // nil: the plain answer
}

// request appends the event of an iq, which carries st.ID as its request id.
// Once it is folded, done is called in the mailbox with its Outcome, to
// answer st; without done an empty result or the error is the answer.
func (s *session) request(st *stanza.Stanza, e *event.Event, done func(*event.Outcome)) {
	if err := s.requestThen(st, e, done, nil); err != nil {
		s.fail(st, err)
	}
}

// requestThen is request that calls stored, in the mailbox, when the append is
// settled. With an error there was none, and st is not answered.
func (s *session) requestThen(st *stanza.Stanza, e *event.Event, done func(*event.Outcome), stored func()) error {
	if _, twice := s.requests[st.ID]; twice {
		return stanza.NewError(stanza.Conflict, "a request with this id is being answered")
	}
	if s.asksTooMuch() {
		return tooManyRequests()
	}
	if s.requests == nil {
		s.requests = make(map[string]request, 1)
	}
	until := time.Now().Add(s.server.opts.AnswerIn)
	s.requests[st.ID] = request{until, done}
	s.server.later(s, until, func() {
		if s.requests[st.ID].until.Equal(until) {
			delete(s.requests, st.ID)
			s.fail(st, &stanza.Error{Type: stanza.Wait, Condition: stanza.InternalServerError, Text: "stored, but not answered in time"})
		}
	})
	s.append(s.local.account, s.stamp(e), func(err error) {
		if err != nil {
			delete(s.requests, st.ID)
			s.fail(st, err)
		}
		if stored != nil {
			stored()
		}
	})
	return nil
}

// outcome gives the client the answer to a request that depended on state.
func (s *session) outcome(o *event.Outcome) {
	if s.ended {
		return
	}
	if o.GetCondition() == string(stanza.PolicyViolationStanza) {
		s.server.metrics.limited.WithLabelValues("account").Inc()
	}
	kind := stanza.IQ
	switch o.GetStanza() {
	case event.Stanza_STANZA_MESSAGE:
		kind = stanza.Message
	case event.Stanza_STANZA_PRESENCE:
		kind = stanza.Presence
	default:
		r, asked := s.requests[o.GetId()]
		if !asked {
			return // it was told already that it takes too long
		}
		delete(s.requests, o.GetId())
		if r.done != nil {
			r.done(o)
			return
		}
	}
	h := stanza.Header{ID: o.GetId(), From: o.GetFrom(), To: s.full}
	s.send(func(dst []byte) []byte {
		if c := stanza.Condition(o.GetCondition()); c != "" {
			return stanza.AppendError(dst, kind, h, stanza.NewError(c, ""))
		}
		h.Type = "result"
		return stanza.AppendIQ(dst, h, nil)
	})
}
