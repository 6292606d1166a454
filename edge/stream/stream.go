// Package stream leads a client's connection from its first byte to the
// moment where a resource can be bound: TLS, SASL, in-band registration and
// the features in between (RFC 6120, sections 4 to 7; XEP-0077). After that
// it reads the client's stanzas; what is written is the session's business.
package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// Options say how connections are negotiated. One value serves them all.
type Options struct {
	Domain       string               // the served domainpart, in its canonical form
	TLS          *tls.Config          // nil offers no TLS; ServerTLS makes one
	Direct       bool                 // the connection begins with TLS (XEP-0368), without STARTTLS
	Secure       *tls.ConnectionState // not nil: the connection is under this TLS already
	Carbons      bool                 // Bind 2 may enable message carbons (XEP-0280)
	CSI          bool                 // Bind 2 may say that the client is inactive (XEP-0352)
	SM           bool                 // Bind 2 may enable stream management, SASL2 may resume a stream (XEP-0198)
	InsecureAuth bool                 // SCRAM and registration are allowed without TLS; PLAIN never is
	Credentials  Credentials          // who may log in
	Registrar    Registrar            // nil offers no in-band registration
	Secret       []byte               // makes tokens, resources and the salts of accounts that do not exist; the same on every edge
	Tokens       Tokens               // nil offers no tokens to log in with (XEP-0484)
	TokenPeriod  time.Duration        // a token is replaced when it is older, and ends when twice as old at most; 14 days
	Features     []byte               // canonical XML: what is offered after authentication beside bind, session and rosterver
	AuthTimeout  time.Duration        // to authenticate, and again to bind; each registration starts it anew; 30s
	WriteTimeout time.Duration        // for one write; 10s
	AuthBytes    int                  // bytes that are read before authentication; each registration starts it anew; 64 KiB
	MaxFailures  int                  // failed authentications until the stream is closed; 5
	Before       stanza.Limits        // before authentication; 10 KiB, depth 16
	After        stanza.Limits        // after authentication; the defaults of stanza.Limits
	Refused      func(Refusal)        // nil, or told of each authentication that fails

	now func() time.Time // for tokens; time.Now
}

func (o Options) withDefaults() Options {
	if o.AuthTimeout == 0 {
		o.AuthTimeout = 30 * time.Second
	}
	if o.TokenPeriod == 0 {
		o.TokenPeriod = 14 * 24 * time.Hour
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.AuthBytes == 0 {
		o.AuthBytes = 64 << 10
	}
	if o.MaxFailures == 0 {
		o.MaxFailures = 5
	}
	if o.Before.Bytes == 0 {
		o.Before.Bytes = 10 << 10
	}
	if o.Before.Depth == 0 {
		o.Before.Depth = 16
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Domain == "":
		return errors.New("stream: no Domain")
	case o.Credentials == nil:
		return errors.New("stream: no Credentials")
	case len(o.Secret) < 16:
		return errors.New("stream: Secret shorter than 16 bytes")
	case o.TLS == nil && (o.Direct || !o.InsecureAuth):
		return errors.New("stream: without TLS nobody could log in")
	}
	return nil
}

// A Refusal is an authentication that failed.
type Refusal struct {
	Account   jid.Bare // that it was tried for; zero if none was named that can exist
	Mechanism string   // as the client said it; empty before it did
	Reason    string   // the SASL condition
}

// Stream is a stream whose client has authenticated and asked for a resource.
type Stream struct {
	n        *negotiation
	account  jid.Bare
	resource string
	bindID   string
	agent    UserAgent
	success  *success // of SASL2, while it is not said
	bind2    *Bind2Request
	resume   *ResumeRequest
}

// Account gives who authenticated.
func (s *Stream) Account() jid.Bare { return s.account }

// Resource gives the resourcepart that the client asks for, which is valid
// for its account; empty where the server shall choose.
func (s *Stream) Resource() string { return s.resource }

// BindID gives the id of the iq that asks for the resource; it means nothing
// with Bind2.
func (s *Stream) BindID() string { return s.bindID }

// Secure tells whether the connection is under TLS.
func (s *Stream) Secure() bool { return s.n.secure != nil }

// Lang gives the stream's xml:lang, which may be empty.
func (s *Stream) Lang() string { return s.n.lang }

// Conn gives the connection for writing, under TLS if there is any. The
// stream sets no deadline on it from now on.
func (s *Stream) Conn() net.Conn { return s.n.conn }

// Pace has Next call f with the number of bytes that came, each time some have.
// While f waits nothing more is read; its error is Next's. It is called
// by the goroutine that reads, or before there is one.
func (s *Stream) Pace(f func(bytes int) error) { s.n.meter.pace = f }

// Next reads what the client sends; see stanza.Reader.
func (s *Stream) Next() (*stanza.Stanza, error) { return s.n.reader.Next() }

// BindResult answers the request for a resource with the full JID: AppendBound
// with nothing inside, written.
func (s *Stream) BindResult(full jid.Full) error {
	return s.n.write(s.AppendBound(nil, full.String(), nil))
}

// BindError refuses the request for a resource. The client may ask again:
// AwaitBind reads that. For Bind 2 there is no such answer: the stream is
// closed, and the error that comes back says so.
func (s *Stream) BindError(c stanza.Condition) error {
	if s.bind2 != nil {
		return s.refuseBind2(c)
	}
	s.n.unbound++
	return s.n.write(stanza.AppendError(nil, stanza.IQ, stanza.Header{ID: s.bindID}, stanza.NewError(c, "")))
}

// AwaitBind reads the next request for a resource, or to resume, after
// BindError. When it fails the connection is closed, and the client was told why.
func (s *Stream) AwaitBind(ctx context.Context) error {
	stop := s.n.watch(ctx)
	err := s.n.awaitBind(ctx, s)
	if stop(); err != nil {
		s.n.fail(ctx, err)
		return err
	}
	return s.n.conn.SetDeadline(time.Time{})
}

// Close closes the stream and the connection.
func (s *Stream) Close() error { return s.CloseWith(nil) }

// CloseWith sends the error, if any, and the closing stream tag, waits up to
// a second for the peer to close too (so that what it sent last does not
// destroy what we sent), and closes the connection. No other goroutine may
// be writing; one that is in Next returns with an error.
func (s *Stream) CloseWith(e *stanza.StreamError) error {
	var out []byte
	if e != nil {
		out = e.AppendTo(out)
	}
	return s.n.hangUp(append(out, stanza.StreamEnd...))
}

// Negotiate leads conn to the point where the client asks for a resource, or
// to resume a stream. It answers nothing to that: the caller resumes and
// writes AppendResumed, or calls RefuseResume; it binds and writes
// AppendBound, or calls BindError. When it fails the connection is closed, and the client was told
// why. It returns at once when ctx ends.
func Negotiate(ctx context.Context, conn net.Conn, o Options) (*Stream, error) {
	if err := o.check(); err != nil {
		conn.Close()
		return nil, err
	}
	n := &negotiation{o: o.withDefaults(), raw: conn, conn: conn, secure: o.Secure}
	stop := n.watch(ctx)
	s, err := n.run(ctx)
	if stop(); err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		n.fail(ctx, err)
		return nil, err
	}
	return s, nil
}

// fail tells the client what err means to it and closes the connection.
func (n *negotiation) fail(ctx context.Context, err error) {
	var serr *stanza.StreamError
	switch {
	case n.broken:
		n.raw.Close()
		return
	case errors.As(err, &serr):
	case ctx.Err() != nil:
		serr = &stanza.StreamError{Condition: stanza.SystemShutdown}
	case errors.Is(err, os.ErrDeadlineExceeded):
		serr = &stanza.StreamError{Condition: stanza.ConnectionTimeout}
	case errors.Is(err, stanza.ErrStreamClosed), errors.Is(err, io.EOF):
	default:
		n.raw.Close()
		return
	}
	var out []byte
	if !n.headerSent {
		out = n.appendHeader(out)
	}
	if serr != nil {
		out = serr.AppendTo(out)
	}
	_ = n.hangUp(append(out, stanza.StreamEnd...))
}

// hangUp writes the last bytes and closes the connection.
func (n *negotiation) hangUp(last []byte) error {
	defer n.raw.Close()
	if err := n.write(last); err != nil {
		return err
	}
	// A close while unread bytes are waiting resets the connection, and the
	// peer might never see the last bytes: so read until it has closed.
	type closeWriter interface{ CloseWrite() error }
	if t, ok := n.conn.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	if c, ok := n.raw.(closeWriter); ok {
		_ = c.CloseWrite()
	}
	_ = n.raw.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.CopyN(io.Discard, n.raw, 256<<10)
	return nil
}
