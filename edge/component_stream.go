package edge

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// serveComponent leads a component's connection from its first byte to its
// end (XEP-0114, section 3).
func (s *Server) serveComponent(ctx context.Context, conn net.Conn) {
	keepAlive(conn)
	c, err := s.negotiateComponent(ctx, conn)
	<-s.unbound
	if err != nil {
		conn.Close()
		return
	}
	s.log.Info("component connected", "component", c.domain)
	s.join(c)
	c.read()
}

// negotiateComponent gives the component once it has shown that it knows its
// secret. What is wrong before that is answered with a stream error.
func (s *Server) negotiateComponent(ctx context.Context, conn net.Conn) (*component, error) {
	o := &s.opts.Components
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = conn.SetDeadline(time.Now().Add(o.LoginIn))
	d := stanza.NewComponentDecoder(conn, stanza.Limits{Bytes: 10 << 10, Depth: 16})
	var random [16]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:])
	domain, headed := "", false
	fail := func(err error) (*component, error) {
		var bad *stanza.StreamError
		switch {
		case errors.As(err, &bad):
		case ctx.Err() != nil:
			bad = &stanza.StreamError{Condition: stanza.SystemShutdown}
		case errors.Is(err, os.ErrDeadlineExceeded):
			bad = &stanza.StreamError{Condition: stanza.ConnectionTimeout}
		case errors.Is(err, stanza.ErrStreamClosed):
		default:
			return nil, err
		}
		// RFC 6120, section 4.9.1.2: no error without a header before it.
		var out []byte
		if !headed {
			out = stanza.AppendComponentHeader(out, domain, id)
		}
		if bad != nil {
			out = bad.AppendTo(out)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
		if _, werr := conn.Write(append(out, stanza.StreamEnd...)); werr == nil {
			if half, ok := conn.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.CopyN(io.Discard, conn, 64<<10)
		}
		return nil, err
	}
	h, err := d.Open()
	if err != nil {
		return fail(err)
	}
	if h.Content != stanza.NSComponent {
		return fail(&stanza.StreamError{Condition: stanza.InvalidNamespace, Text: "the content namespace must be " + stanza.NSComponent})
	}
	if h.To == "" {
		return fail(&stanza.StreamError{Condition: stanza.ImproperAddressing, Text: "stream header without a to"})
	}
	name, err := jid.ParseBare(h.To)
	secret, known := o.Secrets[name.String()]
	if err != nil || name.Local() != "" || !known {
		return fail(&stanza.StreamError{Condition: stanza.HostUnknown})
	}
	domain, headed = name.String(), true
	if _, err := conn.Write(stanza.AppendComponentHeader(nil, domain, id)); err != nil {
		return nil, err
	}
	st, err := d.Next()
	if err != nil {
		return fail(err)
	}
	if !st.Is(stanza.NSClient, "handshake") {
		return fail(&stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "handshake first"})
	}
	if subtle.ConstantTimeCompare([]byte(st.Text()), []byte(handshakeOf(id, secret))) != 1 {
		s.log.Warn("component refused", "component", domain, "address", conn.RemoteAddr().String())
		return fail(&stanza.StreamError{Condition: stanza.StreamNotAuthorized})
	}
	if _, err := conn.Write([]byte("<handshake/>")); err != nil {
		return nil, err
	}
	if !stop() {
		return fail(ctx.Err())
	}
	_ = conn.SetDeadline(time.Time{})
	d.SetLimits(stanza.Limits{Bytes: o.MaxStanza})
	c := &component{server: s, domain: domain, since: time.Now().UnixMicro(), reader: d, slots: make(chan struct{}, o.Unsettled)}
	c.out = outbound{conn: conn, limits: &s.components.limits, onBreak: func(bool) { c.end(nil) }}
	return c, nil
}

// handshakeOf gives what a component that knows the secret says (XEP-0114,
// section 3).
func handshakeOf(streamID, secret string) string {
	sum := sha1.Sum([]byte(streamID + secret))
	return hex.EncodeToString(sum[:])
}

// read takes the component's stanzas until its stream ends.
func (c *component) read() {
	pace := newPace(&c.server.opts.Components.Limits)
	var err error
	for err == nil {
		var st *stanza.Stanza
		if st, err = c.reader.Next(); err != nil {
			break
		}
		if err = c.slow(pace, st); err == nil {
			err = c.take(st)
		}
	}
	c.out.readerGone()
	var bad *stanza.StreamError
	if !errors.As(err, &bad) && !errors.Is(err, stanza.ErrStreamClosed) {
		// Nobody is there any more to be told.
		c.out.detach(nil)
	}
	c.end(bad)
}

// slow reads nothing for a while from a component that is over its rates.
func (c *component) slow(p *pace, st *stanza.Stanza) error {
	wait, err := p.take(time.Now(), 1, len(st.Inner)+len(st.To)+len(st.From)+len(st.ID)+64)
	if err != nil {
		c.server.metrics.limited.WithLabelValues("patience").Inc()
		return err
	}
	if wait <= 0 {
		return nil
	}
	c.server.metrics.limited.WithLabelValues("rate").Inc()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.server.ctx.Done():
	}
	return nil
}
