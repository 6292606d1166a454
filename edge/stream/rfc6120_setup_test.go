package stream

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

func TestRFC6120_4_3_2_Features(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	f := c.startTLS(0) // it has looked at those in the clear: TLS alone, required
	if f.Child(stanza.NSTLS, "starttls") != nil || f.Child(stanza.NSSASL, "mechanisms") == nil || f.Child(stanza.NSBind, "bind") != nil {
		t.Errorf("under TLS: %s", f.Bytes())
	}
	c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "success")
	f = c.open()
	if f.Child(stanza.NSTLS, "starttls") != nil || f.Child(stanza.NSSASL, "mechanisms") != nil || f.Child(stanza.NSBind, "bind").Child(stanza.NSBind, "required") == nil {
		t.Errorf("authenticated: %s", f.Bytes())
	}
}

func TestRFC6120_7_7_3_BindRetries(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.login()
	bad := "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + strings.Repeat("x", 1100) + "</resource></bind></iq>"
	for range 10 {
		if e := c.ask(bad, "iq"); e.Attr("type") != "error" {
			t.Fatalf("%s", e.Bytes())
		}
	}
	c.send(bad)
	if e := c.next("iq"); e.Attr("type") != "error" {
		t.Fatalf("%s", e.Bytes())
	}
	c.wantStreamError(stanza.PolicyViolation)
}

// What comes in the stream of a client that has authenticated is held to the
// same rules as before.
func TestRFC6120_4_9_1_2_ErrorsDuringSetup(t *testing.T) {
	for _, x := range []struct {
		name, in string
		want     stanza.StreamCondition
	}{
		{"not well-formed", "<stream:stream to=example.org>", stanza.NotWellFormed},
		{"server namespace", "<stream:stream to='example.org' version='1.0' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>", stanza.InvalidNamespace},
		{"no version", "<stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", stanza.UnsupportedVersion},
		{"another domain", "<stream:stream to='example.net' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", stanza.HostUnknown},
		{"not a stream", "<stream:features to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", stanza.BadFormat},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, _ := options()
			c := dial(t, t.Context(), o)
			c.startTLS(0)
			c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "success")
			c.d.Restart()
			c.send(x.in)
			// The opening tag comes first, whatever is wrong with the client's.
			if h, err := c.d.Open(); err != nil || h.From != "example.org" {
				t.Fatalf("%+v %v", h, err)
			}
			c.wantStreamError(x.want)
		})
	}
}
