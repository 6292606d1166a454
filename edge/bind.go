package edge

import (
	"context"
	"net"

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
		sh.leave(l)
		if ctx.Err() != nil {
			_ = st.CloseWith(&stanza.StreamError{Condition: stanza.SystemShutdown})
			return nil, ctx.Err()
		}
		if err := s.refuseBind(ctx, st, stanzaError(err).Condition); err != nil {
			return nil, err
		}
	}
}

func (s *Server) refuseBind(ctx context.Context, st *stream.Stream, c stanza.Condition) error {
	if err := st.BindError(c); err != nil {
		st.Conn().Close()
		return err
	}
	return st.AwaitBind(ctx)
}

// bound appends ResourceBound and makes the session.
func (s *Server) bound(ctx context.Context, st *stream.Stream, l *local) (*session, error) {
	resource := st.Resource()
	if resource == "" {
		resource = newResource()
	}
	if len(resource) > maxResource || len(l.bare)+1+len(resource) > maxAddress {
		return nil, stanza.NewError(stanza.BadRequest, "resource too long")
	}
	full := l.account.WithCanonical(resource)
	binding, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	x := &session{server: s, local: l, resource: resource, full: full.String(), binding: binding, began: binding, reader: st, reads: true, closed: make(chan struct{})}
	x.out = outbound{conn: st.Conn(), limits: &s.limits, onBreak: x.broke}
	e := x.stamp(&event.Event{Id: binding[:], Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{
		Resource: resource, Edge: s.opts.ID, Epoch: s.opts.Lease.Epoch(), Inherits: s.opts.Grace > 0,
		Copies: st.Bind2() != nil && st.Bind2().Carbons,
	}}})
	var at topic.Position
	stored := make(chan error, 1)
	s.append(l.account, e, func(p topic.Position, err error) {
		at = p
		stored <- err
	})
	// The log answers or fails within its own bound, also while we stop.
	if err := <-stored; err != nil {
		return nil, err
	}
	x.positions = map[int32]int64{at.Partition: at.Offset}
	x.boundAt = at.Offset
	s.mu.Lock()
	stopping := s.stopping
	s.sessions[x] = struct{}{}
	s.mu.Unlock()
	s.metrics.sessions.Inc()
	x.greet(st)
	if older := l.add(x); older != nil {
		older.post(older.supersede)
	}
	if stopping || ctx.Err() != nil {
		x.post(func() { x.end("edge stops", &stanza.StreamError{Condition: stanza.SystemShutdown}) })
	}
	return x, nil
}

// greet answers the request for the resource, and for what came with it.
func (s *session) greet(st *stream.Stream) {
	b := st.Bind2()
	if b != nil && b.Carbons {
		s.carbons.Store(true)
	}
	if b != nil && b.SM != nil {
		enabled := s.startSM(nil, b.SM.Resume, b.SM.Max)
		s.out.manage(st.AppendBound(nil, s.full, enabled), s.sm.id != "")
		return
	}
	s.out.raw(func(dst []byte) []byte { return st.AppendBound(dst, s.full, nil) })
}
