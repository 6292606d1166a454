package stream

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// A reconnect is one round trip: over a TLS connection the client sends its
// header, its token and its wish for a resource at once, and the server's one
// answer has the header, the features, the success with the resource, and the
// features that are left (XEP-0388, XEP-0386, XEP-0484).
func TestReconnectIsOneRoundTrip(t *testing.T) {
	o, _, _ := fastOptions()
	o.TLS.SessionTicketsDisabled = true // the handshake's last words would be counted
	c, _ := secure(t, o)
	token, _ := c.askToken("HT-SHA-256-NONE")

	c = dial(t, t.Context(), o)
	c.handshake(0)
	c.server.start()
	header := strings.Replace(clientHeader, "to=", "from='juliet@example.org' to=", 1)
	c.send(header + ask2("HT-SHA-256-NONE", ht("juliet", token, nil), agent+"<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag></bind><fast xmlns='urn:xmpp:fast:0'/>") + "<presence/>")
	s := c.asked()
	if n := c.server.flights(); n != 0 {
		t.Fatalf("%d answers before the resource is bound", n)
	}
	if _, err := s.Conn().Write(s.AppendBound(nil, "juliet@example.org/"+s.Resource(), nil)); err != nil {
		t.Fatal(err)
	}
	if h, err := c.d.Open(); err != nil || h.To != "juliet@example.org" {
		t.Fatal(h, err)
	}
	c.next("features")
	if e := c.next("success"); e.Child(stanza.NSBind2, "bound") == nil {
		t.Fatalf("%s", e.Bytes())
	}
	c.next("features")
	// What the client sent right behind is there, too.
	if st, err := s.Next(); err != nil || st.Kind != stanza.Presence {
		t.Fatal(st, err)
	}
	if n := c.server.flights(); n != 1 {
		t.Fatalf("the server answered %d times", n)
	}
}

// The full login beside it, by a client that waits for what it must wait for:
// header, PLAIN, header, bind.
func TestClassicLoginIsFourRoundTrips(t *testing.T) {
	o, _ := options()
	o.Direct, o.TLS.SessionTicketsDisabled = true, true
	c := dial(t, t.Context(), o)
	c.handshake(0)
	c.server.start()
	c.open()
	c.ask(auth("PLAIN", plain), "success")
	c.open()
	c.send(classicSet)
	s := c.asked()
	full, err := s.Account().WithResource(s.Resource())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BindResult(full); err != nil {
		t.Fatal(err)
	}
	c.next("iq")
	if n := c.server.flights(); n != 4 {
		t.Fatalf("the server answered %d times", n)
	}
}

// A failure does not end what was sent together, and is answered with it.
func TestPipelinedFailure(t *testing.T) {
	o, _, _ := fastOptions()
	o.TLS.SessionTicketsDisabled = true
	c := dial(t, t.Context(), o)
	c.handshake(0)
	c.server.start()
	c.send(clientHeader + ask2("HT-SHA-256-NONE", ht("juliet", "x", nil), agent+"<fast xmlns='urn:xmpp:fast:0'/>"+bind2) + ask2("PLAIN", plain, ""))
	if _, err := c.d.Open(); err != nil {
		t.Fatal(err)
	}
	c.next("features")
	c.next("failure")
	c.next("success")
	c.next("features")
	if n := c.server.flights(); n != 1 {
		t.Fatalf("the server answered %d times", n)
	}
}
