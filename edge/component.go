package edge

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// ComponentOptions say which components there are, and what one may send
// (XEP-0114). Every edge must know the same ones: it passes on what is for them.
type ComponentOptions struct {
	// Secrets are the components' shared secrets by the domains that they serve.
	Secrets map[string]string

	MaxStanza int           // bytes of one stanza; 256 KiB
	Unsettled int           // stanzas of a component that may wait for the log; 1000
	Outbound  int           // bytes that may wait for a component before its stream ends; 16 MiB
	LoginIn   time.Duration // longest time until a component has shown that it knows its secret; 30s

	// Of Limits only the rates and Patience count: 5000 stanzas and 8 MiB a
	// second, 20,000 and 32 MiB at once.
	Limits Limits
}

func (o *ComponentOptions) fill() {
	for _, d := range []struct {
		n   *int
		def int
	}{
		{&o.MaxStanza, 256 << 10}, {&o.Unsettled, 1000}, {&o.Outbound, 16 << 20},
		{&o.Limits.StanzaRate, 5000}, {&o.Limits.StanzaBurst, 20_000}, {&o.Limits.ByteRate, 8 << 20}, {&o.Limits.ByteBurst, 32 << 20},
	} {
		if *d.n == 0 {
			*d.n = d.def
		}
	}
	o.Limits.fill()
	if o.LoginIn == 0 {
		o.LoginIn = 30 * time.Second
	}
}

// components are those that are connected to this edge, by domain.
type components struct {
	limits outboundLimits

	mu   sync.Mutex
	held map[string]*component
}

// component is the stream of one component. Its reader is its only goroutine.
type component struct {
	server *Server
	domain string
	since  int64 // when it connected, microseconds since 1970 UTC; of two the later one counts
	reader *stanza.Decoder
	out    outbound
	slots  chan struct{} // one for each append that is not settled

	mu      sync.Mutex
	ended   bool
	version int64 // of the newest presence that it directed to somebody
}

// isComponent tells whether a domain is a component's, connected or not.
func (s *Server) isComponent(domain string) bool {
	_, ok := s.opts.Components.Secrets[domain]
	return ok
}

// component gives the component that is connected here, nil if it is not.
func (s *Server) component(domain string) *component {
	s.components.mu.Lock()
	defer s.components.mu.Unlock()
	return s.components.held[domain]
}

// join makes c the component of its domain: of two the newer one stays.
func (s *Server) join(c *component) {
	s.components.mu.Lock()
	older := s.components.held[c.domain]
	if older != nil {
		c.since = max(c.since, older.since+1)
	}
	if s.components.held == nil {
		s.components.held = make(map[string]*component)
	}
	s.components.held[c.domain] = c
	s.serve()
	s.components.mu.Unlock()
	if older != nil {
		older.end(connectedAgain())
	}
	s.pusher.soon()
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if stopping {
		c.end(&stanza.StreamError{Condition: stanza.SystemShutdown})
	}
}

func connectedAgain() *stanza.StreamError {
	return &stanza.StreamError{Condition: stanza.StreamConflict, Text: "the component has connected again"}
}

// serve tells the workers which components are here. components.mu is held, so
// that the newest list is told last.
func (s *Server) serve() {
	all := make([]*wire.Component, 0, len(s.components.held))
	for _, domain := range slices.Sorted(maps.Keys(s.components.held)) {
		all = append(all, &wire.Component{Domain: domain, Since: s.components.held[domain].since})
	}
	s.opts.Links.Serve(all)
}

// end ends the stream, once, with bad, if any.
func (c *component) end(bad *stanza.StreamError) {
	c.mu.Lock()
	ended := c.ended
	c.ended = true
	c.mu.Unlock()
	if ended {
		return
	}
	s := c.server
	s.components.mu.Lock()
	if s.components.held[c.domain] == c {
		delete(s.components.held, c.domain)
		s.serve()
	}
	s.components.mu.Unlock()
	var last []byte
	if bad != nil {
		last = bad.AppendTo(last)
		s.log.Info("component ended", "component", c.domain, "condition", bad.Condition)
	} else {
		s.log.Info("component left", "component", c.domain)
	}
	c.out.close(append(last, stanza.StreamEnd...))
}

// Replaced tells that a component has connected to another edge since.
func (s *Server) Replaced(r *wire.Replaced) {
	if c := s.component(r.GetDomain()); c != nil && c.since < r.GetSince() {
		c.end(connectedAgain())
	}
}

// endComponents ends all of them when the edge stops.
func (s *Server) endComponents(condition stanza.StreamCondition) {
	s.components.mu.Lock()
	all := slices.Collect(maps.Values(s.components.held))
	s.components.mu.Unlock()
	for _, c := range all {
		c.end(&stanza.StreamError{Condition: condition})
	}
}

// send gives the component a stanza; it tells whether it was taken.
func (c *component) send(encode func(dst []byte) []byte) bool { return c.out.write(nil, encode, nil) }

// deliver gives the component a stanza of another; it tells whether it was taken.
func (c *component) deliver(iq *wire.Iq) bool {
	h := stanza.Header{Type: iq.GetType(), ID: iq.GetId(), From: iq.GetFrom(), To: iq.GetTo(), Lang: iq.GetLang()}
	return c.send(func(dst []byte) []byte {
		if p := iq.GetPresence(); p != nil {
			return stanza.AppendPresence(dst, h, presenceData(p))
		}
		if c := stanza.Condition(iq.GetCondition()); c != "" {
			return stanza.AppendError(dst, stanzaKind(iq), h, stanza.NewError(c, ""))
		}
		return stanza.AppendStanza(dst, stanzaKind(iq), h, iq.GetPayload())
	})
}

func stanzaKind(iq *wire.Iq) stanza.Kind {
	switch iq.GetKind() {
	case wire.Iq_KIND_MESSAGE:
		return stanza.Message
	case wire.Iq_KIND_PRESENCE:
		return stanza.Presence
	}
	return stanza.IQ
}

func wireKind(k stanza.Kind) wire.Iq_Kind {
	switch k {
	case stanza.Message:
		return wire.Iq_KIND_MESSAGE
	case stanza.Presence:
		return wire.Iq_KIND_PRESENCE
	}
	return wire.Iq_KIND_IQ
}

// forComponent takes a stanza that a worker sends for a component; it tells
// whether it is one. If the component has gone meanwhile, its sender hears of it.
func (s *Server) forComponent(iq *wire.Iq) bool {
	to := jid.FromCanonical(iq.GetTo())
	if !s.isComponent(to.Domain()) {
		return false
	}
	if c := s.component(to.Domain()); c != nil && c.deliver(iq) {
		return true
	}
	if iq.GetType() == "error" || iq.GetKind() == wire.Iq_KIND_IQ && iq.GetType() == "result" || iq.GetPresence() != nil {
		return true
	}
	from := jid.FromCanonical(iq.GetFrom())
	s.opts.Links.SendIq(&wire.Iq{
		Partition: s.partitionOf(from.Bare()), To: iq.GetFrom(), From: iq.GetTo(), Type: "error", Id: iq.GetId(), Kind: iq.GetKind(),
		Payload: stanza.NewError(stanza.ServiceUnavailable, "").AppendTo(nil),
	})
	return true
}

// sendOn hands a stanza to the worker of its addressee. The error is for its
// sender.
func (s *Server) sendOn(iq *wire.Iq) error {
	if s.opts.Links.SendIq(iq) {
		return nil
	}
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.RemoteServerTimeout}
}
