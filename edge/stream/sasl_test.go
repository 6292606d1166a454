package stream

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/xdg-go/scram"
)

func TestSASLFailures(t *testing.T) {
	gs2 := "n,,n=juliet,r=abcdefgh"
	for _, x := range []struct {
		name string
		in   []string // the last one is answered by failure, the others by challenge
		want string
	}{
		{"unknown mechanism", []string{auth("DIGEST-MD5", "x")}, "invalid-mechanism"},
		{"no mechanism", []string{auth("", "x")}, "invalid-mechanism"},
		{"not base64", []string{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>*</auth>"}, "incorrect-encoding"},
		{"base64 with bits left over", []string{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AB==</auth>"}, "incorrect-encoding"},
		{"nothing", []string{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>=</auth>"}, "malformed-request"},
		{"PLAIN without a password", []string{auth("PLAIN", "\x00juliet\x00")}, "malformed-request"},
		{"PLAIN with too many parts", []string{auth("PLAIN", "\x00juliet\x00a\x00b")}, "malformed-request"},
		{"PLAIN not UTF-8", []string{auth("PLAIN", "\x00juliet\x00\xff")}, "malformed-request"},
		{"wrong password", []string{auth("PLAIN", "\x00juliet\x00montague")}, "not-authorized"},
		{"unknown user", []string{auth("PLAIN", "\x00nurse\x00capulet")}, "not-authorized"},
		{"no such username", []string{auth("PLAIN", "\x00a@b\x00capulet")}, "not-authorized"},
		{"for somebody else", []string{auth("PLAIN", "romeo@example.org\x00juliet\x00capulet")}, "invalid-authzid"},
		{"response without auth", []string{response("x")}, "malformed-request"},
		{"SCRAM garbage", []string{auth("SCRAM-SHA-1", "x")}, "malformed-request"},
		{"SCRAM aborted", []string{auth("SCRAM-SHA-1", gs2), "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"}, "aborted"},
		{"SCRAM garbage at last", []string{auth("SCRAM-SHA-256", gs2), response("x")}, "malformed-request"},
		{"SCRAM wrong nonce", []string{auth("SCRAM-SHA-256", gs2), response("c=biws,r=x,p=AAAA")}, "not-authorized"},
		{"SCRAM after an empty start", []string{auth("SCRAM-SHA-256", ""), response("x")}, "malformed-request"},
		{"PLUS without a binding", []string{auth("SCRAM-SHA-1-PLUS", gs2)}, "malformed-request"},
		{"binding without PLUS", []string{auth("SCRAM-SHA-1", "p=tls-exporter,,n=juliet,r=abcdefgh")}, "malformed-request"},
		{"PLUS was hidden from the client", []string{auth("SCRAM-SHA-1", "y,,n=juliet,r=abcdefgh")}, "not-authorized"},
		{"binding of another kind", []string{auth("SCRAM-SHA-1-PLUS", "p=tls-unique,,n=juliet,r=abcdefgh")}, "not-authorized"},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, _ := options()
			c := dial(t, t.Context(), o)
			c.startTLS(0)
			for i, in := range x.in {
				if i < len(x.in)-1 {
					c.ask(in, "challenge")
				} else if e := c.ask(in, "failure"); e.Children[0].Local != x.want {
					t.Fatalf("%s", e.Bytes())
				}
			}
			// The client may try again on the same stream.
			c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "success")
		})
	}
}

func TestAuthInTheClear(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.open()
	if e := c.ask(auth("SCRAM-SHA-1", "n,,n=juliet,r=abcdefgh"), "failure"); e.Children[0].Local != "encryption-required" {
		t.Fatalf("%s", e.Bytes())
	}
}

func TestWrongPasswords(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.startTLS(0)
	for i := range 5 {
		user := []string{"juliet", "nurse"}[i%2]
		mechanism := []string{"SCRAM-SHA-1", "SCRAM-SHA-256"}[i/2%2]
		if e, err := c.scram(mechanism, user, "montague", scram.ChannelBinding{}); err != nil || e.Child(stanza.NSSASL, "not-authorized") == nil {
			t.Fatal(e, err)
		}
	}
	c.wantStreamError(stanza.PolicyViolation)
}

func TestWrongBinding(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.startTLS(0)
	cb, err := scram.NewTLSExporterBinding(c.state)
	if err != nil {
		t.Fatal(err)
	}
	cb.Data[0] ^= 1
	if e, err := c.scram("SCRAM-SHA-256-PLUS", "juliet", "capulet", cb); err != nil || e.Child(stanza.NSSASL, "not-authorized") == nil {
		t.Fatal(e, err)
	}
}

func TestCredentialsAway(t *testing.T) {
	for _, in := range []string{auth("PLAIN", "\x00juliet\x00capulet"), auth("SCRAM-SHA-1", "n,,n=juliet,r=abcdefgh")} {
		o, a := options()
		a.err = errors.New("away")
		c := dial(t, t.Context(), o)
		c.startTLS(0)
		if e := c.ask(in, "failure"); e.Children[0].Local != "temporary-auth-failure" {
			t.Fatalf("%s", e.Bytes())
		}
	}
}

// An account that does not exist answers with the same salt each time, and
// with another one than its neighbour.
func TestUnknownUserLooksLikeAnyOther(t *testing.T) {
	challenge := func(user string) string {
		o, _ := options()
		c := dial(t, t.Context(), o)
		c.startTLS(0)
		e := c.ask(auth("SCRAM-SHA-256", "n,,n="+user+",r=abcdefgh"), "challenge")
		text, err := classic.decode(e.Text)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(text, ",s=")
		return rest
	}
	a, b, other, real := challenge("nurse"), challenge("nurse"), challenge("tybalt"), challenge("juliet")
	if a != b || a == other || len(a) != len(real) || !strings.HasSuffix(a, ",i=4096") || !strings.HasSuffix(real, ",i=4096") {
		t.Fatal(a, b, other, real)
	}
}

func TestKeys(t *testing.T) {
	k := julietKeys()
	for password, want := range map[string]bool{"capulet": true, "ｃapulet": true, "capu\u00ADlet": true, "Capulet": false, "": false, "\x00": false, "\x07": false} {
		if ok, err := k.Verify(password); err != nil || ok != want {
			t.Errorf("%q: %v %v", password, ok, err)
		}
	}
	for _, password := range []string{"", "\x07", "\u00AD"} {
		if _, err := DeriveKeys(password); err == nil {
			t.Errorf("%q was taken", password)
		}
	}
}

// A new attempt takes the place of one that is under way.
func TestRFC6120_6_4_2_AnotherHandshake(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.startTLS(0)
	c.ask(auth("SCRAM-SHA-256", "n,,n=romeo,r=abcdefgh"), "challenge")
	c.ask(auth("SCRAM-SHA-1", "n,,n=nurse,r=abcdefgh"), "challenge")
	c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "success")

	// Not without end.
	c = dial(t, t.Context(), o)
	c.startTLS(0)
	for range 5 {
		c.ask(auth("SCRAM-SHA-256", "n,,n=romeo,r=abcdefgh"), "challenge")
	}
	c.send(auth("SCRAM-SHA-256", "n,,n=romeo,r=abcdefgh"))
	c.wantStreamError(stanza.PolicyViolation)
}

// Who names itself in the header of its stream under TLS is nobody else.
func TestRFC6120_6_4_6_From(t *testing.T) {
	for from, want := range map[string]string{"juliet@example.org": "success", "romeo@example.org": "failure"} {
		o, _ := options()
		o.Direct = true
		c := dial(t, t.Context(), o)
		c.handshake(0)
		c.header(" from='" + from + "' version='1.0'")
		c.next("features")
		if e := c.ask(auth("PLAIN", plain), want); want == "failure" && e.Child(stanza.NSSASL, "invalid-authzid") == nil {
			t.Errorf("%s", e.Bytes())
		}
	}
}
