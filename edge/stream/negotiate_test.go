package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/xdg-go/scram"
)

func TestLogin(t *testing.T) {
	for _, v := range []struct {
		name  string
		max   uint16
		types string
	}{{"TLS 1.2", tls.VersionTLS12, "tls-unique tls-server-end-point"}, {"TLS 1.3", tls.VersionTLS13, "tls-exporter tls-server-end-point"}} {
		for _, m := range []string{
			"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256-PLUS with end point", "PLAIN",
		} {
			t.Run(v.name+" "+m, func(t *testing.T) {
				o, _ := options()
				c := dial(t, t.Context(), o)
				f := c.startTLS(v.max)
				var types []string
				for _, e := range f.Child(stanza.NSChanBind, "sasl-channel-binding").Children {
					types = append(types, e.Attr("type"))
				}
				if strings.Join(types, " ") != v.types {
					t.Fatal(types)
				}
				m, endPointBinding := strings.CutSuffix(m, " with end point")
				offered := false
				for _, e := range f.Child(stanza.NSSASL, "mechanisms").Children {
					offered = offered || e.Text == m
				}
				if !offered || f.Child(stanza.NSIQReg, "register") == nil {
					t.Fatalf("%s", f.Bytes())
				}
				var cb scram.ChannelBinding
				switch {
				case endPointBinding:
					var err error
					if cb, err = scram.NewTLSServerEndpointBinding(c.state); err != nil {
						t.Fatal(err)
					}
				case strings.HasSuffix(m, "-PLUS") && v.max == tls.VersionTLS12:
					cb = scram.NewTLSUniqueBinding(c.state.TLSUnique)
				case strings.HasSuffix(m, "-PLUS"):
					var err error
					if cb, err = scram.NewTLSExporterBinding(c.state); err != nil {
						t.Fatal(err)
					}
				}
				if m == "PLAIN" {
					c.ask(auth("PLAIN", "juliet@example.org\x00juliet\x00capulet"), "success")
				} else if e, err := c.scram(m, "juliet", "capulet", cb); err != nil || e.Local != "success" {
					t.Fatal(e, err)
				}
				f = c.open()
				if f.Child(stanza.NSBind, "bind") == nil || f.Child(stanza.NSSession, "session") == nil || f.Child(stanza.NSRosterVer, "ver") == nil || f.Child(stanza.NSApproval, "sub") == nil || f.Child(stanza.NSSASL, "mechanisms") != nil {
					t.Fatalf("%s", f.Bytes())
				}
				c.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>")
				r := <-c.result
				if r.err != nil || r.s.Account().String() != "juliet@example.org" || r.s.Resource() != "balcony" || r.s.BindID() != "b1" || !r.s.Secure() {
					t.Fatalf("%+v", r)
				}
				full, err := r.s.Account().WithResource("balcony")
				if err != nil {
					t.Fatal(err)
				}
				if err := r.s.BindResult(full); err != nil {
					t.Fatal(err)
				}
				if e := c.next("iq"); e.Child(stanza.NSBind, "bind").ChildText(stanza.NSBind, "jid") != "juliet@example.org/balcony" || e.Attr("id") != "b1" {
					t.Fatalf("%s", e.Bytes())
				}
				c.send("<presence/>")
				if st, err := r.s.Next(); err != nil || st.Kind != stanza.Presence {
					t.Fatal(st, err)
				}
				closed := make(chan error, 1)
				go func() { closed <- r.s.CloseWith(&stanza.StreamError{Condition: stanza.SystemShutdown}) }()
				if got, err := c.streamError(); got != "system-shutdown" || err != nil {
					t.Fatal(got, err)
				}
				c.conn.Close()
				if err := <-closed; err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestDirectTLS(t *testing.T) {
	o, _ := options()
	o.Direct = true
	c := dial(t, t.Context(), o)
	c.handshake(0)
	if c.state.NegotiatedProtocol != "xmpp-client" {
		t.Fatal(c.state.NegotiatedProtocol)
	}
	if f := c.open(); f.Child(stanza.NSTLS, "starttls") != nil || f.Child(stanza.NSSASL, "mechanisms") == nil {
		t.Fatalf("%s", f.Bytes())
	}
}

func TestInsecureAuth(t *testing.T) {
	o, _ := options()
	o.TLS, o.InsecureAuth = nil, true
	c := dial(t, t.Context(), o)
	if f := string(c.open().Bytes()); strings.Contains(f, "PLAIN") || strings.Contains(f, "PLUS") || !strings.Contains(f, "SCRAM-SHA-256") {
		t.Fatal(f)
	}
	if e := c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "failure"); e.Children[0].Local != "encryption-required" {
		t.Fatalf("%s", e.Bytes())
	}
	if e, err := c.scram("SCRAM-SHA-256", "juliet", "capulet", scram.ChannelBinding{}); err != nil || e.Local != "success" {
		t.Fatal(e, err)
	}
	c.open()
}

// What a stream in the clear must not do, each with its own stream error.
func TestRefusedBeforeAuthentication(t *testing.T) {
	h := func(attrs string) string { return "<stream:stream " + attrs + ">" }
	const ns = " xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	for _, x := range []struct {
		name, in string
		want     stanza.StreamCondition
	}{
		{"not well-formed", clientHeader + "<a></b>", stanza.NotWellFormed},
		{"not XML", "GET / HTTP/1.1\r\n\r\n", stanza.NotWellFormed},
		{"DTD", "<!DOCTYPE lolz [<!ENTITY a 'b'>]>", stanza.RestrictedXML},
		{"entity", clientHeader + "<message>&lol;</message>", stanza.RestrictedXML},
		{"processing instruction", clientHeader + "<?php?>", stanza.RestrictedXML},
		{"comment", clientHeader + "<!-- x -->", stanza.RestrictedXML},
		{"undeclared prefix", clientHeader + "<a:b/>", stanza.BadNamespacePrefix},
		{"another encoding", "<?xml version='1.0' encoding='iso-8859-1'?>", stanza.UnsupportedEncoding},
		{"stanza before authentication", clientHeader + "<message/>", stanza.StreamNotAuthorized},
		{"iq before authentication", clientHeader + "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", stanza.StreamNotAuthorized},
		{"unknown element", clientHeader + "<a xmlns='urn:x'/>", stanza.UnsupportedStanzaType},
		{"a second header", clientHeader + h("to='example.org' version='1.0'"+ns), stanza.UnsupportedStanzaType},
		{"wrong domain", h("to='example.com' version='1.0'" + ns), stanza.HostUnknown},
		{"an account for a domain", h("to='juliet@example.org' version='1.0'" + ns), stanza.HostUnknown},
		{"no to", h("version='1.0'" + ns), stanza.ImproperAddressing},
		{"no version", h("to='example.org'" + ns), stanza.UnsupportedVersion},
		{"old version", h("to='example.org' version='0.9'" + ns), stanza.UnsupportedVersion},
		{"server namespace", h("to='example.org' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"), stanza.InvalidNamespace},
		{"stream namespace", h("to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='urn:x'"), stanza.InvalidNamespace},
		{"oversize stanza", clientHeader + "<message><body>" + strings.Repeat("x", 11<<10), stanza.PolicyViolation},
		{"oversize header", "<stream:stream to='" + strings.Repeat("x", 11<<10), stanza.PolicyViolation},
		{"deep stanza", clientHeader + "<message>" + strings.Repeat("<a>", 20), stanza.PolicyViolation},
		{"flood of white space", clientHeader + strings.Repeat(" ", 70<<10), stanza.PolicyViolation},
		{"bytes after starttls", clientHeader + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><message/>", stanza.PolicyViolation},
		{"closing tag at once", clientHeader + "</stream:stream>", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, _ := options()
			c := dial(t, t.Context(), o)
			c.send(x.in)
			// RFC 6120, section 4.9.1.3: from is the domain, whatever to was.
			if h, err := c.d.Open(); err != nil || h.From != "example.org" {
				t.Fatalf("%+v %v", h, err)
			}
			c.wantStreamError(x.want)
		})
	}
}

func TestTimer(t *testing.T) {
	for _, name := range []string{"silent", "after its header", "in TLS", "before bind"} {
		t.Run(name, func(t *testing.T) {
			o, _ := options()
			o.AuthTimeout = 300 * time.Millisecond
			if name == "before bind" || name == "in TLS" {
				o.AuthTimeout = time.Second
			}
			c := dial(t, t.Context(), o)
			switch name {
			case "silent":
				if _, err := c.d.Open(); err != nil {
					t.Fatal(err)
				}
			case "after its header":
				c.open()
			case "in TLS":
				c.startTLS(0)
			case "before bind":
				c.login()
			}
			c.wantStreamError(stanza.ConnectionTimeout)
		})
	}
}

func TestContext(t *testing.T) {
	o, _ := options()
	ctx, cancel := context.WithCancel(t.Context())
	c := dial(t, ctx, o)
	c.open()
	cancel()
	c.wantStreamError(stanza.SystemShutdown)
}

func TestBind(t *testing.T) {
	const bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
	t.Run("a stanza before bind", func(t *testing.T) {
		o, _ := options()
		c := dial(t, t.Context(), o)
		c.login()
		c.send("<presence/>")
		c.wantStreamError(stanza.StreamNotAuthorized)
	})
	t.Run("faults can be mended", func(t *testing.T) {
		o, _ := options()
		o.Features = []byte("<sm xmlns='urn:xmpp:sm:3'/>")
		c := dial(t, t.Context(), o)
		if f := c.login(); f.Child(stanza.NSSM, "sm") == nil {
			t.Fatalf("%s", f.Bytes())
		}
		for in, want := range map[string]string{
			"<enable xmlns='urn:xmpp:sm:3'/>": "unexpected-request", "<resume xmlns='urn:xmpp:sm:3' h='1'/>": "bad-request",
			"<resume xmlns='urn:xmpp:sm:3' h='-1' previd='x'/>": "bad-request", "<resume xmlns='urn:xmpp:sm:3' h='4294967296' previd='x'/>": "bad-request",
		} {
			if e := c.ask(in, "failed"); e.Child(stanza.NSStanzas, want) == nil {
				t.Fatalf("%s: %s", in, e.Bytes())
			}
		}
		for _, in := range []string{
			"<iq type='get' id='1'>" + bind + "</iq>", "<iq type='set'>" + bind + "</iq>", "<iq type='set' id='1'>" + bind + "<a/></iq>",
			"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + strings.Repeat("x", 1100) + "</resource></bind></iq>",
		} {
			if e := c.ask(in, "iq"); e.Attr("type") != "error" || e.Child(stanza.NSClient, "error").Child(stanza.NSStanzas, "bad-request") == nil {
				t.Fatalf("%s", e.Bytes())
			}
		}
		c.send("<iq type='set' id='2'>" + bind + "</iq>")
		r := <-c.result
		if r.err != nil || r.s.Resource() != "" {
			t.Fatalf("%+v", r)
		}
		if err := r.s.BindError(stanza.ResourceConstraint); err != nil {
			t.Fatal(err)
		}
		if e := c.next("iq"); e.Attr("id") != "2" || e.Attr("type") != "error" {
			t.Fatalf("%s", e.Bytes())
		}
		c.send("<iq type='set' id='3'>" + bind + "</iq>")
		if err := r.s.AwaitBind(t.Context()); err != nil || r.s.BindID() != "3" {
			t.Fatal(err)
		}
	})
}

// A client that may not resume binds (XEP-0198, section 5).
func TestResumeRefused(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.login()
	c.send("<resume xmlns='urn:xmpp:sm:3' h='4294967295' previd='x'/>")
	r := <-c.result
	if r.err != nil || *r.s.Resume() != (ResumeRequest{Previd: "x", H: 1<<32 - 1}) || r.s.Bind2() != nil {
		t.Fatalf("%+v", r)
	}
	refused := make(chan error, 1)
	go func() {
		refused <- r.s.RefuseResume(t.Context(), []byte("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"))
	}()
	if e := c.next("failed"); e.Child(stanza.NSStanzas, "item-not-found") == nil {
		t.Fatalf("%s", e.Bytes())
	}
	c.send("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
	if err := <-refused; err != nil || r.s.Resume() != nil || r.s.BindID() != "1" {
		t.Fatal(err)
	}
}

func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	a, err := LoadOrMakeCertificate(dir, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadOrMakeCertificate(dir, "example.org")
	if err != nil || string(a.Certificate[0]) != string(b.Certificate[0]) {
		t.Fatal("made twice", err)
	}
	for _, name := range []string{"example.org", "localhost", "127.0.0.1", "::1"} {
		if err := b.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "example.org.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "example.org.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrMakeCertificate(dir, "example.org"); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a key alone was taken or replaced", err)
	}
}

// Some clients end all that they say with a new line, which RFC 6120, sections
// 5.3.3 and 6.3.4, forbids: it must not become a part of the next stream.
func TestNewLines(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.open()
	c.ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\n", "proceed")
	c.handshake(0)
	if f := c.open(); f.Child(stanza.NSSASL, "mechanisms") == nil {
		t.Errorf("%s", f.Bytes())
	}
	c.ask(auth("PLAIN", "\x00juliet\x00capulet")+"\n", "success")
	if f := c.open(); f.Child(stanza.NSBind, "bind") == nil {
		t.Errorf("%s", f.Bytes())
	}
}
