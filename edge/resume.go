package edge

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// resume goes on with the stream that st.Resume asks for (XEP-0198, section
// 5). failed is the <failed/> that tells why it cannot: the client may bind.
func (s *Server) resume(ctx context.Context, st *stream.Stream) (x *session, failed []byte, err error) {
	asked, bare := st.Resume(), st.Account().String()
	resource, began, ok := s.tokens.read(bare, asked.Previd)
	if !ok {
		return nil, appendFailedSM(nil, stanza.ItemNotFound), nil
	}
	sh := s.shards[topic.Partition(st.Account(), s.opts.Partitions)]
	if l := sh.find(bare); l != nil {
		if x = l.find(resource); x != nil && x.began == began {
			err = s.resumeHere(st, x)
			var bad *stanza.StreamError
			switch {
			case err == nil:
				return x, nil, nil
			case errors.As(err, &bad):
				_ = st.CloseWith(bad)
				return nil, nil, err
			}
		}
	}
	x, condition := s.resumeFrom(ctx, st, resource, began)
	if x == nil {
		return nil, appendFailedSM(nil, condition), nil
	}
	return x, nil, nil
}

// resumeHere gives a session of this edge the connection of st.
func (s *Server) resumeHere(st *stream.Stream, x *session) error {
	done := make(chan error, 1)
	c := &comeback{
		reader: st, conn: st.Conn(), h: st.Resume().H, previd: st.Resume().Previd, done: done,
		answer: func(dst, resumed []byte) []byte { return st.AppendResumed(dst, x.full, resumed) },
	}
	x.post(func() { x.comesBack(c) })
	// A session settles what it has, or ends, within the log's own bound.
	return <-done
}

// resumeFrom goes on with a session that another edge holds, or has held until
// it died. First everything that was accepted in the session's name must be in
// the projection: this tells which of its stanzas are handled. Of several edges
// that resume it, the log decides: whose ResourceBound comes first.
func (s *Server) resumeFrom(ctx context.Context, st *stream.Stream, resource string, began uuid.UUID) (*session, stanza.Condition) {
	sessions := s.opts.Sessions
	if sessions == nil || s.opts.ResumeFor <= 0 {
		return nil, stanza.ItemNotFound
	}
	read, cancel := s.context(s.opts.AnswerIn)
	defer cancel()
	account, asked := st.Account(), st.Resume()
	partition := topic.Partition(account, s.opts.Partitions)
	failed := func(err error) (*session, stanza.Condition) {
		s.log.Warn("session not resumed", "account", account, "err", err)
		return nil, stanza.InternalServerError
	}
	if err := sessions.Settled(read, partition); err != nil {
		return failed(err)
	}
	was, err := sessions.Session(read, account, partition, resource, began, 0)
	if err != nil {
		return failed(err)
	}
	if was == nil || was.Handled < 0 {
		return nil, stanza.ItemNotFound
	}
	l, ok := s.shards[partition].join(s, account, partition, s.opts.MaxResources)
	if !ok {
		return nil, stanza.ResourceConstraint
	}
	x := s.newSession(st, l, resource)
	x.began = began
	x.sm = &management{id: asked.Previd, resumeFor: s.opts.ResumeFor}
	x.out.sm = &unacked{sent: asked.H, acked: asked.H, askedSent: asked.H, resumable: true}
	if err := x.begin(&event.ResourceBound{Resumes: was.Binding[:], Copies: was.Copies}); err != nil {
		return failed(err)
	}
	now, err := sessions.Session(read, account, partition, resource, began, x.boundAt+1)
	var r *Roster
	if err == nil && now != nil && now.Binding == x.binding {
		r, err = s.opts.Rosters.Roster(read, account, partition, x.boundAt+1)
	}
	switch {
	case err != nil:
		x.post(func() { x.end("not resumed", nil) })
		return failed(err)
	case r == nil || r.Purged > now.Began:
		// Another was first, or it came too late. A worker may have taken it for
		// bound: the end tells it otherwise.
		x.post(func() { x.end("not resumed", nil) })
		return nil, stanza.ItemNotFound
	}
	if was.Over {
		now.Presence = was.Presence
	}
	x.took(r)
	resumed := make(chan bool, 1)
	x.post(func() { resumed <- x.goOn(st, now, r) })
	if !<-resumed {
		_ = st.CloseWith(&stanza.StreamError{Condition: stanza.StreamConflict})
	}
	x.endIfStopping(ctx)
	return x, ""
}

// goOn answers the client that its session is resumed, and tells it what it
// may have missed: messages come from the inbox by themselves, for nobody has
// said that they are delivered; the roster's changes since the session began;
// and presence. What went meanwhile is not known any more, so each contact is
// unavailable first, all its resources at once, and then shown as it is.
func (s *session) goOn(st *stream.Stream, was *Session, r *Roster) bool {
	if s.ended {
		return false
	}
	s.sm.in, s.sm.before = uint32(was.Handled), uint32(was.Handled)
	said := func(dst []byte) []byte {
		return st.AppendResumed(dst, s.full, appendCount(nil, "resumed", s.sm.in, s.sm.id))
	}
	if _, ok := s.out.attach(st.Conn(), said, st.Resume().H); !ok {
		return false
	}
	s.server.metrics.resumed.Inc()
	s.carbons.Store(was.Copies)
	s.spoke, s.interested = true, true
	s.asOf, s.rosterTag = r.NextOffset, r.tag()
	for _, it := range r.Items {
		if it.Version > was.Began {
			s.sendPush(it.RosterItem, it.Version)
		}
	}
	if was.Presence == nil {
		return true
	}
	gone := func(bare string) {
		h := stanza.Header{Type: "unavailable", From: bare, To: s.full}
		s.send(func(dst []byte) []byte { return stanza.AppendPresence(dst, h, stanza.PresenceData{}) })
	}
	gone(s.local.bare)
	for _, it := range r.Items {
		if it.GetTo() && !it.GetRemoved() {
			gone(it.GetContact())
		}
	}
	s.hearCaps(was.Presence.GetPayload()) // last items tell what it missed of nodes
	// It is what it was. Who has seen it all the while hears nothing.
	available := &event.PresenceAvailable{Resource: s.resource, Presence: was.Presence}
	s.presence = s.stamp(&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: available}})
	s.appendPresence(func(error) {})
	return true
}
