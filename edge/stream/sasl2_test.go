package stream

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/xdg-go/scram"
)

// XEP-0388, section 2.1: what is offered, where.
func TestSASL2Feature(t *testing.T) {
	o, _ := options2()
	c := dial(t, t.Context(), o)
	if f := c.startTLS(0); string(f.Child(stanza.NSSASL2, "authentication").Bytes()) != "<authentication xmlns='urn:xmpp:sasl:2'>"+
		"<mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>"+
		"<inline><fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism></fast>"+
		"<bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/><feature var='urn:xmpp:csi:0'/><feature var='urn:xmpp:sm:3'/></inline></bind>"+
		"<sm xmlns='urn:xmpp:sm:3'/></inline></authentication>" || f.Child(stanza.NSSASL, "mechanisms") == nil || f.Child(stanza.NSChanBind, "sasl-channel-binding") == nil {
		t.Fatalf("%s", f.Bytes())
	}
	t.Run("TLS 1.2", func(t *testing.T) {
		c := dial(t, t.Context(), o)
		f := c.startTLS(tls.VersionTLS12)
		if got := string(f.Child(stanza.NSSASL2, "authentication").Bytes()); !strings.Contains(got, "<mechanism>HT-SHA-256-UNIQ</mechanism><mechanism>HT-SHA-256-ENDP</mechanism><mechanism>HT-SHA-256-NONE</mechanism>") || strings.Contains(got, "EXPR") {
			t.Fatal(got)
		}
	})
	t.Run("nothing more than there is", func(t *testing.T) {
		o, _ := options()
		c := dial(t, t.Context(), o)
		f := c.startTLS(0)
		if got := string(f.Child(stanza.NSSASL2, "authentication").Child(stanza.NSSASL2, "inline").Bytes()); got != "<inline xmlns='urn:xmpp:sasl:2'><bind xmlns='urn:xmpp:bind:0'/></inline>" {
			t.Fatal(got)
		}
	})
	t.Run("not in the clear", func(t *testing.T) {
		c := dial(t, t.Context(), o)
		if f := c.open(); f.Child(stanza.NSSASL2, "authentication") != nil {
			t.Fatalf("%s", f.Bytes())
		}
		for _, in := range []string{ask2("SCRAM-SHA-256", "n,,n=juliet,r=abcdefgh", ""), ask2("HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), agent+"<fast xmlns='urn:xmpp:fast:0'/>")} {
			if got := condition(c.ask(in, "failure")); got != "encryption-required" {
				t.Fatal(got)
			}
		}
	})
	t.Run("in the clear, for tests", func(t *testing.T) {
		o.TLS, o.InsecureAuth = nil, true
		c := dial(t, t.Context(), o)
		got := string(c.open().Child(stanza.NSSASL2, "authentication").Bytes())
		if strings.Contains(got, "PLAIN") || strings.Contains(got, "HT-") || strings.Contains(got, "PLUS") || !strings.Contains(got, "SCRAM-SHA-256") {
			t.Fatal(got)
		}
		if got := condition(c.ask(ask2("PLAIN", plain, ""), "failure")); got != "encryption-required" {
			t.Fatal(got)
		}
		if e, err := c.scram2("SCRAM-SHA-256", "juliet", "capulet", scram.ChannelBinding{}, ""); err != nil || e.Local != "success" {
			t.Fatal(e, err)
		}
	})
}

// XEP-0388, sections 2.3 to 2.6: every mechanism, the identity, features
// without a restart, and a resource bound in the old way.
func TestSASL2Login(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, m := range []string{"SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS", "PLAIN"} {
			t.Run(tls.VersionName(v)+" "+m, func(t *testing.T) {
				o, _ := options2()
				c := dial(t, t.Context(), o)
				c.startTLS(v)
				var cb scram.ChannelBinding
				if strings.HasSuffix(m, "-PLUS") {
					cb = scram.NewTLSUniqueBinding(c.state.TLSUnique)
					if v == tls.VersionTLS13 {
						cb, _ = scram.NewTLSExporterBinding(c.state)
					}
				}
				var e *stanza.Element
				var err error
				if m == "PLAIN" {
					e = c.ask(ask2("PLAIN", "juliet@example.org\x00juliet\x00capulet", agent), "success")
				} else if e, err = c.scram2(m, "juliet", "capulet", cb, agent); err != nil || e.Local != "success" {
					t.Fatal(e, err)
				}
				if e.ChildText(stanza.NSSASL2, "authorization-identifier") != "juliet@example.org" || (e.Child(stanza.NSSASL2, "additional-data") == nil) != (m == "PLAIN") {
					t.Fatalf("%s", e.Bytes())
				}
				if f := c.next("features"); f.Child(stanza.NSBind, "bind") == nil || f.Child(stanza.NSSASL2, "authentication") != nil {
					t.Fatalf("%s", f.Bytes())
				}
				c.send(classicSet)
				s := c.asked()
				if s.Account().String() != "juliet@example.org" || s.Resource() != "balcony" || s.BindID() != "b1" || s.Bind2() != nil || s.Resume() != nil {
					t.Fatalf("%+v", s)
				}
				if u := s.UserAgent(); u.ID.String() != installation || u.Software != "AwesomeXMPP" || u.Device != "Kiva's Phone" {
					t.Fatal(u)
				}
			})
		}
	}
}

// XEP-0388, section 2.5: without an initial response the server asks for it.
// Its examples have white space around base64.
func TestSASL2Challenge(t *testing.T) {
	o, _ := options2()
	c, _ := secure(t, o)
	if e := c.ask(ask2("PLAIN", "", ""), "challenge"); e.Space != stanza.NSSASL2 || e.Text != "" {
		t.Fatalf("%s", e.Bytes())
	}
	c.ask("<response xmlns='urn:xmpp:sasl:2'>\n  "+b64(plain)+"\n</response>", "success")
}

func TestSASL2Failures(t *testing.T) {
	const gs2 = "n,,n=juliet,r=abcdefgh"
	raw := func(text string) string {
		return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + text + "</initial-response></authenticate>"
	}
	for _, x := range []struct {
		name string
		in   []string // the last one is answered by failure, the others by challenge
		want string
	}{
		{"unknown mechanism", []string{ask2("BLURDYBLOOP", "x", "")}, "invalid-mechanism"},
		{"no mechanism", []string{"<authenticate xmlns='urn:xmpp:sasl:2'/>"}, "invalid-mechanism"},
		{"mechanism for tokens without one", []string{ask2("HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), agent)}, "invalid-mechanism"},
		{"not base64", []string{raw("*")}, "incorrect-encoding"},
		{"base64 in two lines", []string{raw("AGp1\nbGlldA==")}, "incorrect-encoding"},
		{"= is not nothing here", []string{raw("=")}, "incorrect-encoding"},
		{"empty initial response", []string{raw("")}, "malformed-request"},
		{"two initial responses", []string{ask2("PLAIN", plain, "<initial-response/>")}, "malformed-request"},
		{"two user-agents", []string{ask2("PLAIN", plain, agent+agent)}, "malformed-request"},
		{"user-agent without a UUID", []string{ask2("PLAIN", plain, "<user-agent id='phone'/>")}, "malformed-request"},
		{"user-agent with a UUID in braces", []string{ask2("PLAIN", plain, "<user-agent id='{"+installation+"}'/>")}, "malformed-request"},
		{"wrong password", []string{ask2("PLAIN", "\x00juliet\x00montague", "")}, "not-authorized"},
		{"unknown user", []string{ask2("PLAIN", "\x00nurse\x00capulet", "")}, "not-authorized"},
		{"for somebody else", []string{ask2("PLAIN", "romeo@example.org\x00juliet\x00capulet", "")}, "invalid-authzid"},
		{"response without authenticate", []string{response2("x")}, "malformed-request"},
		{"aborted", []string{ask2("SCRAM-SHA-1", gs2, ""), "<abort xmlns='urn:xmpp:sasl:2'><text>I changed my mind.</text></abort>"}, "aborted"},
		{"SCRAM garbage at last", []string{ask2("SCRAM-SHA-256", gs2, ""), response2("x")}, "malformed-request"},
		{"response not base64", []string{ask2("SCRAM-SHA-256", gs2, ""), "<response xmlns='urn:xmpp:sasl:2'>*</response>"}, "incorrect-encoding"},
		{"SCRAM wrong nonce", []string{ask2("SCRAM-SHA-256", gs2, ""), response2("c=biws,r=x,p=AAAA")}, "not-authorized"},
		{"binding without PLUS", []string{ask2("SCRAM-SHA-1", "p=tls-exporter,,n=juliet,r=abcdefgh", "")}, "malformed-request"},
		{"PLUS was hidden from the client", []string{ask2("SCRAM-SHA-1", "y,,n=juliet,r=abcdefgh", "")}, "not-authorized"},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, _ := options2()
			c, _ := secure(t, o)
			for i, in := range x.in {
				if i < len(x.in)-1 {
					if e := c.ask(in, "challenge"); e.Space != stanza.NSSASL2 {
						t.Fatalf("%s", e.Bytes())
					}
				} else if got := condition(c.ask(in, "failure")); got != x.want {
					t.Fatal(got)
				}
			}
			// Nothing has changed: another try is made, in the old way or the new.
			if strings.Contains(x.name, "SCRAM") {
				c.ask(auth("PLAIN", plain), "success")
			} else {
				c.ask(ask2("PLAIN", plain, ""), "success")
			}
		})
	}
}

// XEP-0388, section 2.4 and "Multiple Authentication": what ends the stream.
func TestSASL2ForeignTraffic(t *testing.T) {
	begin := ask2("SCRAM-SHA-256", "n,,n=juliet,r=abcdefgh", "")
	for name, in := range map[string]string{
		"a stanza": "<message/>", "another authentication": begin, "classic response": response("x"), "classic abort": "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := options2()
			c, _ := secure(t, o)
			c.ask(begin, "challenge")
			c.send(in)
			c.wantStreamError(stanza.StreamNotAuthorized)
		})
	}
	t.Run("authenticate twice", func(t *testing.T) {
		o, _ := options2()
		c, _ := secure(t, o)
		c.ask(ask2("PLAIN", plain, ""), "success")
		c.send(ask2("PLAIN", plain, ""))
		c.next("features")
		c.wantStreamError(stanza.StreamNotAuthorized)
	})
}

// Failures of both kinds count together (RFC 6120, section 6.4.5).
func TestSASL2TooManyFailures(t *testing.T) {
	o, _ := options2()
	c, _ := secure(t, o)
	for i, in := range []string{
		ask2("PLAIN", "\x00juliet\x00montague", ""), auth("PLAIN", "\x00juliet\x00montague"), ask2("X", "", ""),
		ask2("HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), agent+"<fast xmlns='urn:xmpp:fast:0'/>"), ask2("PLAIN", "\x00nurse\x00montague", ""),
	} {
		if e := c.ask(in, "failure"); i < 4 && e.Children[0].Local == "" {
			t.Fatalf("%s", e.Bytes())
		}
	}
	c.wantStreamError(stanza.PolicyViolation)
}

// XEP-0388, section 2.3: the stream's from is whom the client acts as.
func TestSASL2From(t *testing.T) {
	for from, want := range map[string]string{"juliet@example.org": "", "Juliet@example.org/balcony": "", "romeo@example.org": "invalid-authzid", "example.org": "invalid-authzid"} {
		o, _ := options2()
		o.Direct = true
		c := dial(t, t.Context(), o)
		c.handshake(0)
		c.send(strings.Replace(clientHeader, "to=", "from='"+from+"' to=", 1))
		if h, err := c.d.Open(); err != nil || !strings.EqualFold(strings.TrimSuffix(from, "/balcony"), h.To) {
			t.Fatal(h.To, err)
		}
		c.next("features")
		c.send(ask2("PLAIN", plain, ""))
		st, err := c.d.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e, _ := st.Element(); want == "" && e.Local != "success" || want != "" && condition(e) != want {
			t.Errorf("%s: %s", from, e.Bytes())
		}
	}
}

func TestSASL2CredentialsAway(t *testing.T) {
	for _, in := range []string{ask2("PLAIN", plain, ""), ask2("HT-SHA-256-NONE", "juliet\x00"+strings.Repeat("x", 32), agent+"<fast xmlns='urn:xmpp:fast:0'/>")} {
		o, a := options2()
		a.accounts.err = errors.New("away")
		c, _ := secure(t, o)
		if got := condition(c.ask(in, "failure")); got != "temporary-auth-failure" {
			t.Fatal(got)
		}
	}
}
