package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

// visibility is what a client asked for last (XEP-0186).
type visibility uint8

const (
	unasked visibility = iota // it is as the log says
	visible
	invisible
)

// hides makes the session invisible (XEP-0186, section 3.1). Until it has
// asked for probes, it asks its contacts for nothing.
func (s *session) hides(q query) {
	probe := q.payload.Attr("probe")
	was, unprobed := s.visibility, s.unprobed.Load()
	s.visibility = invisible
	s.unprobed.Store(probe != "true" && probe != "1")
	s.changeVisibility(q, true, func(failed bool) {
		switch {
		case failed:
			s.visibility = was
			s.unprobed.Store(unprobed)
		case !s.unprobed.Load() && s.visibility == invisible:
			s.becomeAvailable()
		}
	})
}

// appears makes the session visible: as one that has sent no presence yet
// (XEP-0186, section 3.2).
func (s *session) appears(q query) {
	was := s.visibility
	if was == invisible || was == unasked && s.local.policy.Load().Invisible(s.resource) {
		s.presence = nil
		s.available.Store(false)
		s.forgetGiven()
	}
	s.visibility = visible
	s.unprobed.Store(false)
	s.changeVisibility(q, false, func(failed bool) {
		if failed {
			s.visibility = was
		}
	})
}

func (s *session) changeVisibility(q query, invisible bool, done func(failed bool)) {
	e := &event.Event{Kind: &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{
		Resource: s.resource, Invisible: invisible, RequestId: q.ID,
	}}}
	s.request(q.Stanza, e, func(o *event.Outcome) {
		c := stanza.Condition(o.GetCondition())
		done(c != "")
		if c != "" {
			s.fail(q.Stanza, stanza.NewError(c, ""))
		} else {
			s.answer(q.Stanza, nil)
		}
	})
}
