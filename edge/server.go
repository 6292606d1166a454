// Package edge holds the clients' connections. It turns their stanzas into
// events, appends these to the log, answers when the log has them, and gives
// each session what it must hear: fan-out sends a change once to an edge, and
// the edge multiplies it.
//
// An idle session costs one goroutine, which waits for the client. What
// happens to a session runs in its mailbox, one thing at a time; what is
// written to it gathers in its outbound.
package edge

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// ErrLost tells that the edge was marked lost: all its sessions are ended, and
// it starts again under a new epoch.
var ErrLost = errors.New("edge: lease lost")

// Server is an edge. Its methods may be called from any goroutine.
type Server struct {
	opts      Options
	log       *slog.Logger
	metrics   *metrics
	limits    outboundLimits
	followed  []*followed // by partition
	shards    []*shard    // by partition
	asked     asked
	tokens    tokens
	started   time.Time
	caps      capabilities
	unbound   chan struct{} // a token for each connection that negotiates
	archiving chan struct{} // a token for each query of an archive that is read

	components components
	pusher     *pusher
	refusals   refusals

	listeners []net.Listener
	ctx       context.Context // ends with Run
	cancel    context.CancelFunc

	mu       sync.Mutex
	sessions map[*session]struct{}
	stopping bool
	held     []heldAck
	readers  sync.WaitGroup
}

// heldAck is an acknowledgement that waits for a valid lease.
type heldAck struct {
	at    topic.Position
	until time.Time
	done  func(topic.Position, error)
}

// New checks the options and opens the ports.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Stream.Domain = o.Domain
	o.Stream.After.Bytes = o.MaxStanza
	o.Stream.Carbons, o.Stream.SM, o.Stream.CSI = true, true, true
	o.Stream.Features = append(slices.Clone(o.Stream.Features), "<sm xmlns='"+stanza.NSSM+"'/><csi xmlns='"+stanza.NSCSI+"'/>"...)
	s := &Server{opts: o, log: o.Logger, metrics: newMetrics(o.Registry), sessions: make(map[*session]struct{}), started: time.Now()}
	ver, err := capsVer(s.info(atServer), sha1.New)
	if err != nil {
		return nil, err
	}
	s.caps.ver = ver
	s.opts.Stream.Features = append(s.opts.Stream.Features, s.caps.feature()...)
	s.unbound = make(chan struct{}, o.MaxUnbound)
	s.archiving = make(chan struct{}, o.MaxArchiving)
	s.tokens = newTokens(o.Stream.Secret)
	slow := &stanza.StreamError{Condition: stanza.StreamConstraint, Text: "too slow to read"}
	s.limits = outboundLimits{
		soft: o.SoftOutbound, hard: o.HardOutbound, timeout: o.WriteTimeout, metrics: s.metrics,
		overflow: append(slow.AppendTo(nil), stanza.StreamEnd...),
	}
	s.pusher = newPusher(s)
	s.components.limits = s.limits
	s.components.limits.soft, s.components.limits.hard = o.Components.Outbound, o.Components.Outbound
	for i := range o.Partitions {
		s.followed = append(s.followed, &followed{links: o.Links, metrics: s.metrics, number: int32(i), accounts: make(map[string]*watched)})
		s.shards = append(s.shards, &shard{accounts: make(map[string]*local)})
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, l := range o.Listen {
		ln, err := net.Listen("tcp", l.Address)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("edge: %w", err)
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

func (s *Server) close() {
	for _, ln := range s.listeners {
		ln.Close()
	}
	s.cancel()
}

// Addr gives where the i-th of Options.Listen is.
func (s *Server) Addr(i int) net.Addr { return s.listeners[i].Addr() }

// Run serves clients until ctx ends, then ends every session and waits for
// their last appends; or until the lease is lost, which gives ErrLost. It
// returns when all that it started has ended.
func (s *Server) Run(ctx context.Context) error {
	accepting, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	for i, ln := range s.listeners {
		g.Go(func() error {
			if s.opts.Listen[i].Web {
				return s.serveWeb(accepting, ln, s.opts.Listen[i].Direct)
			}
			return s.accept(accepting, ln, s.opts.Listen[i])
		})
	}
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		s.tick(s.ctx)
	}()
	if s.pushes() {
		s.readers.Add(1)
		go func() {
			defer s.readers.Done()
			s.pusher.run(s.ctx)
		}()
	}
	var err error
	select {
	case <-ctx.Done():
	case <-s.opts.Lease.Lost():
		err = ErrLost
	}
	stop()
	for _, ln := range s.listeners {
		ln.Close()
	}
	if gerr := g.Wait(); err == nil {
		err = gerr
	}
	s.drain(errors.Is(err, ErrLost))
	s.cancel()
	s.readers.Wait()
	return err
}

// drain ends every session; unless the edge is lost it waits for the events
// that say so.
func (s *Server) drain(lost bool) {
	s.mu.Lock()
	s.stopping = true
	var all []*session
	for x := range s.sessions {
		all = append(all, x)
	}
	s.mu.Unlock()
	condition := stanza.SystemShutdown
	if lost {
		condition = stanza.Reset
	}
	s.endComponents(condition)
	for _, x := range all {
		x.post(func() {
			x.superseded = x.superseded || lost
			x.end(edgeStops, &stanza.StreamError{Condition: condition})
		})
	}
	timer := time.NewTimer(s.opts.DrainFor)
	defer timer.Stop()
	for _, x := range all {
		select {
		case <-x.closed:
		case <-timer.C:
			s.log.Warn("stopped before all sessions' ends were stored")
			return
		}
	}
}

// tick looks at what waits for time to pass.
func (s *Server) tick(ctx context.Context) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			s.releaseHeld(time.Now())
			return
		case now := <-t.C:
			s.releaseHeld(now)
			for _, iq := range s.asked.late(now) {
				s.answerFor(iq, stanza.NewError(stanza.RemoteServerTimeout, ""))
			}
		}
	}
}

func (s *Server) accept(ctx context.Context, ln net.Listener, at Listen) error {
	o := s.opts.Stream
	o.Direct = at.Direct
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			if conn != nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			// Out of files, most likely: those that are here go on.
			s.log.Warn("connection not accepted", "err", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if s.admit(ctx) {
			s.readers.Add(1)
			go func() {
				defer s.readers.Done()
				if at.Components {
					s.serveComponent(ctx, conn)
					return
				}
				keepAlive(conn)
				s.negotiate(ctx, conn, o)
			}()
		} else {
			s.metrics.refused.Inc()
			conn.Close()
		}
	}
}

// admitWait is how long the door waits for others to get through.
const admitWait = time.Second

// admit takes a token for one more connection that negotiates: overload
// slows the queue at the door first, and is refused then.
func (s *Server) admit(ctx context.Context) bool {
	select {
	case s.unbound <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(admitWait)
	defer t.Stop()
	select {
	case s.unbound <- struct{}{}:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// sessionEnded is called once a session, in its mailbox.
func (s *Server) sessionEnded(x *session) {
	s.mu.Lock()
	delete(s.sessions, x)
	s.mu.Unlock()
	s.metrics.sessions.Dec()
	s.shards[x.local.partition].leave(x.local)
}

// append gives an event to the log. done hears of success only while the
// lease is valid.
func (s *Server) append(account jid.Bare, e *event.Event, done func(topic.Position, error)) {
	s.metrics.appends.Inc()
	s.opts.Log.Append(account, e, func(at topic.Position, err error) {
		switch {
		case err != nil:
			s.metrics.appendsFailed.Inc()
			done(at, err)
		case s.opts.Lease.Valid():
			done(at, nil)
		default:
			s.metrics.held.Inc()
			s.mu.Lock()
			s.held = append(s.held, heldAck{at, time.Now().Add(s.opts.HoldFor), done})
			s.mu.Unlock()
		}
	})
}

// releaseHeld lets go what waits for a valid lease, or has waited too long.
func (s *Server) releaseHeld(now time.Time) {
	valid := s.opts.Lease.Valid()
	stopping := s.ctx.Err() != nil
	var ready []heldAck
	s.mu.Lock()
	kept := s.held[:0]
	for _, h := range s.held {
		if valid || stopping || now.After(h.until) {
			ready = append(ready, h)
		} else {
			kept = append(kept, h)
		}
	}
	clear(s.held[len(kept):])
	s.held = kept
	s.mu.Unlock()
	for _, h := range ready {
		if valid {
			h.done(h.at, nil)
		} else {
			h.done(h.at, errNotHeld)
		}
	}
}

// accountDeleted ends the sessions of an account that is no more (XEP-0077,
// section 3.2).
func (s *Server) accountDeleted(account jid.Bare) {
	if l := s.shardOf(account.String()).find(account.String()); l != nil {
		for _, x := range l.sessions() {
			x.post(func() {
				x.end("account deleted", &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "account deleted"})
			})
		}
	}
}

// later runs f in the session's mailbox at a time.
func (s *Server) later(x *session, at time.Time, f func()) {
	time.AfterFunc(time.Until(at), func() {
		x.post(func() {
			if !x.ended {
				f()
			}
		})
	})
}

// context gives one that ends with the server, or after d.
func (s *Server) context(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, d)
}

func (s *Server) has(partition int32) bool { return partition >= 0 && int(partition) < len(s.shards) }

func (s *Server) followedOf(bare string) *followed {
	return s.followed[topic.Partition(jid.BareFromCanonical(bare), s.opts.Partitions)]
}

func (s *Server) shardOf(bare string) *shard {
	return s.shards[topic.Partition(jid.BareFromCanonical(bare), s.opts.Partitions)]
}
