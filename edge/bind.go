package edge

import (
	"context"
	"net"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

// negotiate leads a connection to its session. The session is read by a
// goroutine of its own: this one's stack has grown.
func (s *Server) negotiate(ctx context.Context, conn net.Conn, o stream.Options) {
	defer func() { <-s.unbound }()
	o.Refused = func(r stream.Refusal) { s.loginRefused(conn.RemoteAddr(), r) }
	st, err := stream.Negotiate(ctx, conn, o)
	if err != nil {
		return
	}
	x, err := s.bind(ctx, st)
	if err != nil {
		return
	}
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		x.read()
	}()
}

// bind binds a resource (RFC 6120, section 7): the session is in the log
// before its client hears of it.
func (s *Server) bind(ctx context.Context, st *stream.Stream) (*session, error) {
	partition := topic.Partition(st.Account(), s.opts.Partitions)
	sh := s.shards[partition]
	for {
		for st.Resume() != nil {
			x, failed, err := s.resume(ctx, st)
			if x != nil || err != nil {
				return x, err
			}
			if err := st.RefuseResume(ctx, failed); err != nil {
				return nil, err
			}
		}
		l, ok := sh.join(s, st.Account(), partition, s.opts.MaxResources)
		if !ok && s.makeRoom(sh.find(st.Account().String())) {
			continue
		}
		if !ok {
			if err := s.refuseBind(ctx, st, stanza.ResourceConstraint); err != nil {
				return nil, err
			}
			continue
		}
		x, err := s.bound(ctx, st, l)
		if err == nil {
			return x, nil
		}
		if ctx.Err() != nil {
			_ = st.CloseWith(&stanza.StreamError{Condition: stanza.SystemShutdown})
			return nil, ctx.Err()
		}
		if err := s.refuseBind(ctx, st, stanzaError(err).Condition); err != nil {
			return nil, err
		}
	}
}

// makeRoom ends a session of an account that has too many, one whose client is
// away; it tells whether there was any.
func (s *Server) makeRoom(l *local) bool {
	if l == nil {
		return false
	}
	for _, x := range l.sessions() {
		ended := make(chan bool, 1)
		x.post(func() {
			away := x.detached && !x.ended
			if away {
				x.end("too many resources", nil)
			}
			ended <- away
		})
		if <-ended {
			return true
		}
	}
	return false
}

func (s *Server) refuseBind(ctx context.Context, st *stream.Stream, c stanza.Condition) error {
	if err := st.BindError(c); err != nil {
		st.Conn().Close()
		return err
	}
	return st.AwaitBind(ctx)
}

// bound binds the resource that st asks for. It takes over the reference to l.
func (s *Server) bound(ctx context.Context, st *stream.Stream, l *local) (*session, error) {
	resource := st.Resource()
	if resource == "" {
		resource = newResource()
	}
	if len(resource) > maxResource || len(l.bare)+1+len(resource) > maxAddress {
		s.shards[l.partition].leave(l)
		return nil, stanza.NewError(stanza.BadRequest, "resource too long")
	}
	x := s.newSession(st, l, resource)
	if err := x.begin(&event.ResourceBound{Inherits: s.opts.Grace > 0, Copies: st.Bind2() != nil && st.Bind2().Carbons}); err != nil {
		return nil, err
	}
	x.greet(st)
	if s.opts.Grace > 0 {
		s.later(x, time.Now().Add(s.opts.Grace), x.disown)
	}
	x.endIfStopping(ctx)
	return x, nil
}

// newSession makes a session for a resource, under a binding of its own. It
// has the reference to l. Its client hears nothing before it is greeted.
func (s *Server) newSession(st *stream.Stream, l *local, resource string) *session {
	full := l.account.WithCanonical(resource).String()
	binding := uuid.Must(uuid.NewV7())
	x := &session{server: s, local: l, resource: resource, full: full, binding: binding, began: binding, reader: st, reads: true, closed: make(chan struct{})}
	x.out = outbound{conn: st.Conn(), limits: &s.limits, onBreak: x.broke, away: true}
	if b := st.Bind2(); b != nil && b.SM != nil {
		x.out.sm = &unacked{resumable: b.SM.Resume && s.opts.ResumeFor > 0}
	}
	return x
}

// begin appends the ResourceBound of the session. From before that it can be
// found by its binding: what a worker sends to it must not come too early.
// When begin fails the session is over.
func (s *session) begin(b *event.ResourceBound) error {
	server := s.server
	b.Resource, b.Edge, b.Epoch = s.resource, server.opts.ID, server.opts.Lease.Epoch()
	s.anew = !b.Inherits && len(b.Resumes) == 0
	server.mu.Lock()
	server.sessions[s] = struct{}{}
	server.mu.Unlock()
	server.metrics.sessions.Inc()
	s.local.expect(s)
	type outcome struct {
		at  topic.Position
		err error
	}
	stored := make(chan outcome, 1)
	server.append(s.local.account, s.stamp(&event.Event{Id: s.binding[:], Kind: &event.Event_ResourceBound{ResourceBound: b}}), func(at topic.Position, err error) {
		stored <- outcome{at, err}
	})
	// The log answers or fails within its own bound, also while we stop.
	o := <-stored
	done := make(chan struct{})
	var older *session
	s.post(func() {
		defer close(done)
		switch {
		case o.err != nil:
			s.superseded = true
			s.end("not bound", nil)
		case !s.ended:
			s.positions = map[int32]int64{o.at.Partition: o.at.Offset}
			s.boundAt = o.at.Offset
			older = s.local.add(s)
		}
	})
	<-done
	if older != nil {
		older.post(older.supersede)
	}
	return o.err
}

// endIfStopping ends a session that began too late.
func (s *session) endIfStopping(ctx context.Context) {
	s.server.mu.Lock()
	stopping := s.server.stopping
	s.server.mu.Unlock()
	if stopping || ctx.Err() != nil {
		s.post(func() { s.end(edgeStops, &stanza.StreamError{Condition: stanza.SystemShutdown}) })
	}
}

// greet answers the request for the resource, and for what came with it. A
// session that has ended already was taken over.
func (s *session) greet(st *stream.Stream) {
	done := make(chan bool, 1)
	s.post(func() {
		b := st.Bind2()
		if b != nil && b.Carbons {
			s.carbons.Store(true)
		}
		var inner []byte
		if b != nil && b.SM != nil {
			inner = s.startSM(nil, b.SM.Resume, b.SM.Max)
		}
		if b != nil && b.Inactive {
			s.setInactive(true)
		}
		done <- s.out.open(st.AppendBound(nil, s.full, inner))
	})
	if !<-done {
		_ = st.CloseWith(&stanza.StreamError{Condition: stanza.StreamConflict})
	}
}

// disown ends the presence that the session may have inherited, for its client
// has said nothing within the grace.
func (s *session) disown() {
	if s.spoke {
		return
	}
	s.spoke = true
	gone := &event.PresenceUnavailable{Resource: s.resource}
	s.append(s.local.account, s.stamp(&event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: gone}}), nil)
}
