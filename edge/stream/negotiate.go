package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// negotiation is the state of one connection.
type negotiation struct {
	o      Options
	raw    net.Conn // as accepted
	conn   net.Conn // raw, or the TLS over it
	secure *tls.ConnectionState
	meter  *meter
	reader stanza.Reader

	said       []byte // what goes out with the next write, at the latest before the next wait
	lang       string
	from       jid.Bare // whom the client says it is; zero if it does not
	headerSent bool
	broken     bool // TLS failed: nothing can be said any more
	failures   int  // failed authentications
	unbound    int  // requests for a resource, or to resume, that were refused
	account    jid.Bare
	tried      Refusal // what is being tried
}

// watch makes reads fail when ctx ends.
func (n *negotiation) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = n.raw.SetReadDeadline(time.Unix(1, 0)) })
}

// restartTimer gives the client AuthTimeout from now.
func (n *negotiation) restartTimer(ctx context.Context) error {
	if err := n.raw.SetReadDeadline(time.Now().Add(n.o.AuthTimeout)); err != nil {
		return err
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return n.raw.SetReadDeadline(time.Unix(1, 0))
	}
	return nil
}

// say writes b when there is something to wait for. So what answers elements
// that came together goes out together.
func (n *negotiation) say(b []byte) { n.said = append(n.said, b...) }

// flush writes what was said.
func (n *negotiation) flush() error {
	if len(n.said) == 0 {
		return nil
	}
	return n.write(nil)
}

// take appends what was said, which is the caller's to write now.
func (n *negotiation) take(dst []byte) []byte {
	dst = append(dst, n.said...)
	n.said = nil
	return dst
}

// write writes what was said, then b.
func (n *negotiation) write(b []byte) error {
	if len(n.said) > 0 {
		b = append(n.take(nil), b...)
	}
	if err := n.raw.SetWriteDeadline(time.Now().Add(n.o.WriteTimeout)); err != nil {
		return err
	}
	_, err := n.conn.Write(b)
	return err
}

func (n *negotiation) run(ctx context.Context) (*Stream, error) {
	if err := n.restartTimer(ctx); err != nil {
		return nil, err
	}
	n.meter = &meter{src: n.conn, left: n.o.AuthBytes, before: n.flush}
	if n.o.Direct {
		if err := n.handshake(ctx); err != nil {
			return nil, err
		}
	}
	n.reader = stanza.NewDecoder(n.meter, n.o.Before)
	s := &Stream{n: n}
	if err := n.authenticate(ctx, s); err != nil {
		return nil, err
	}
	if err := n.restartTimer(ctx); err != nil {
		return nil, err
	}
	s.account = n.account
	n.meter.left = -1
	n.reader.SetLimits(n.o.After)
	if s.success == nil { // RFC 6120, section 6.4.6
		n.reader.Restart()
		n.headerSent = false
		if err := n.open(n.featuresAfter(false)); err != nil {
			return nil, err
		}
	} else if s.Bind2() != nil || s.resume != nil {
		return s, nil
	} else {
		n.say(s.appendSuccess(nil, s.account.String(), nil))
		n.say(n.featuresAfter(false))
	}
	return s, n.awaitBind(ctx, s)
}

// authenticate goes on until n.account is known.
func (n *negotiation) authenticate(ctx context.Context, s *Stream) error {
	if err := n.open(n.featuresBefore()); err != nil {
		return err
	}
	for {
		st, err := n.reader.Next()
		if err != nil {
			return err
		}
		switch {
		case st.Is(stanza.NSTLS, "starttls"):
			if err = n.startTLS(ctx); err == nil {
				err = n.open(n.featuresBefore())
			}
		case st.Is(stanza.NSSASL, "auth"):
			var done bool
			if done, err = n.auth(ctx, st); done {
				return err
			}
		case st.Is(stanza.NSSASL2, "authenticate"):
			var done bool
			if done, err = n.authenticate2(ctx, st, s); done {
				return err
			}
		case st.Space == stanza.NSSASL || st.Space == stanza.NSSASL2:
			err = n.failure(profile(st.Space), malformedRequest)
		case st.Kind == stanza.IQ && n.mayRegister():
			err = n.register(ctx, st)
		case st.Kind != stanza.Other:
			err = &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
		default:
			err = &stanza.StreamError{Condition: stanza.UnsupportedStanzaType}
		}
		if err != nil {
			return err
		}
	}
}

// open reads the client's stream header and answers with ours and features.
func (n *negotiation) open(features []byte) error {
	h, err := n.reader.Open()
	if err != nil {
		return err
	}
	n.lang, n.from = h.Lang, jid.Bare{}
	if from, err := jid.Parse(h.From); h.From != "" && err == nil {
		n.from = from.Bare()
	}
	n.say(n.appendHeader(nil))
	n.headerSent = true
	if err := n.checkHeader(h); err != nil {
		return err
	}
	n.say(features)
	return nil
}

// checkHeader applies RFC 6120, sections 4.7 and 4.8.
func (n *negotiation) checkHeader(h stanza.StreamHeader) error {
	major, _, _ := strings.Cut(h.Version, ".")
	version, err := strconv.Atoi(major)
	switch {
	case h.Content != stanza.NSClient:
		return &stanza.StreamError{Condition: stanza.InvalidNamespace, Text: "the content namespace must be " + stanza.NSClient}
	case err != nil || version < 1:
		return &stanza.StreamError{Condition: stanza.UnsupportedVersion}
	case h.To == "":
		return &stanza.StreamError{Condition: stanza.ImproperAddressing, Text: "stream header without a to"}
	}
	to, err := jid.ParseBare(h.To)
	if err != nil || to.Local() != "" || to.Domain() != n.o.Domain {
		return &stanza.StreamError{Condition: stanza.HostUnknown}
	}
	// Section 4.9.3.9. Who has authenticated is known after a restart; before,
	// XEP-0388, section 2.1, asks for the domain.
	if h.From != "" && (n.from.IsZero() || n.from.Domain() != n.o.Domain || !n.account.IsZero() && n.from != n.account) {
		return &stanza.StreamError{Condition: stanza.InvalidFrom}
	}
	return nil
}

func (n *negotiation) appendHeader(dst []byte) []byte {
	var id [16]byte
	rand.Read(id[:])
	h := stanza.StreamHeader{From: n.o.Domain, ID: hex.EncodeToString(id[:]), Version: "1.0", Lang: n.lang}
	// What the server has to say is English (section 4.7.4).
	if language, _, _ := strings.Cut(h.Lang, "-"); !strings.EqualFold(language, "en") {
		h.Lang = "en"
	}
	if !n.from.IsZero() {
		h.To = n.from.String()
	}
	return stanza.AppendStreamHeader(dst, h)
}

// mayAuthenticate tells whether the connection is private enough.
func (n *negotiation) mayAuthenticate() bool { return n.secure != nil || n.o.InsecureAuth }

func (n *negotiation) mayRegister() bool { return n.o.Registrar != nil && n.mayAuthenticate() }

func (n *negotiation) mayStartTLS() bool { return n.o.TLS != nil && n.secure == nil }

// featuresBefore gives the features of an unauthenticated stream.
func (n *negotiation) featuresBefore() []byte {
	out := []byte("<stream:features>")
	if n.mayStartTLS() {
		out = append(out, "<starttls xmlns='"+stanza.NSTLS+"'>"...)
		if !n.o.InsecureAuth {
			out = append(out, "<required/>"...)
		}
		out = append(out, "</starttls>"...)
	}
	if n.mayAuthenticate() {
		out = n.appendMechanisms(out)
	}
	if n.mayRegister() {
		out = append(out, "<register xmlns='"+stanza.NSIQReg+"'/>"...)
	}
	return append(out, "</stream:features>"...)
}

// featuresAfter gives the features of an authenticated stream.
func (n *negotiation) featuresAfter(bound bool) []byte {
	out := []byte("<stream:features>")
	if !bound {
		out = append(out, "<bind xmlns='"+stanza.NSBind+"'><required/></bind>"+
			"<session xmlns='"+stanza.NSSession+"'><optional/></session>"...)
	}
	out = append(out, "<ver xmlns='"+stanza.NSRosterVer+"'/><sub xmlns='"+stanza.NSApproval+"'/>"...)
	out = append(out, n.o.Features...)
	return append(out, "</stream:features>"...)
}

// startTLS answers <starttls/> and does the handshake (RFC 6120, section 5.4).
func (n *negotiation) startTLS(ctx context.Context) error {
	if !n.mayStartTLS() {
		if err := n.write([]byte("<failure xmlns='" + stanza.NSTLS + "'/>")); err != nil {
			return err
		}
		return stanza.ErrStreamClosed
	}
	if len(bytes.TrimSpace(n.reader.Buffered())) > 0 || len(bytes.TrimSpace(n.meter.rest)) > 0 {
		// What was sent in the clear must not be taken for what comes
		// under TLS. White space may not be there either (section 5.3.3),
		// but clients send a new line, and nothing becomes of it.
		return &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "bytes after starttls"}
	}
	if err := n.write([]byte("<proceed xmlns='" + stanza.NSTLS + "'/>")); err != nil {
		return err
	}
	if err := n.handshake(ctx); err != nil {
		return err
	}
	n.headerSent = false
	n.meter.rest = nil
	n.reader = stanza.NewDecoder(n.meter, n.o.Before)
	return nil
}

func (n *negotiation) handshake(ctx context.Context) error {
	n.broken = true
	c := tls.Server(n.raw, n.o.TLS)
	if err := n.raw.SetWriteDeadline(time.Now().Add(n.o.WriteTimeout)); err != nil {
		return err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	n.broken = false
	state := c.ConnectionState()
	n.secure, n.conn, n.meter.src = &state, c, c
	return nil
}
