package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
)

// XEP-0386, section 3.2: the request with its features, the success with the
// full JID, and what is left to negotiate.
func TestBind2(t *testing.T) {
	o, _ := options2()
	o.Features = []byte("<sm xmlns='urn:xmpp:sm:3'/><csi xmlns='urn:xmpp:csi:0'/>")
	c, _ := secure(t, o)
	c.send(ask2("PLAIN", plain, agent+"<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag><enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/><inactive xmlns='urn:xmpp:csi:0'/><other xmlns='urn:x'/></bind>"))
	s := c.asked()
	b := s.Bind2()
	if b == nil || *b.SM != (EnableSM{Resume: true, Max: 600}) || !b.Carbons || !b.Inactive || b.Tag != "AwesomeXMPP" || s.Resume() != nil {
		t.Fatalf("%+v", b)
	}
	c.result <- result{s, nil}
	e := c.bound("<enabled xmlns='urn:xmpp:sm:3'/>")
	if e.Child(stanza.NSBind2, "bound").Child(stanza.NSSM, "enabled") == nil || e.Child(stanza.NSFAST, "token") != nil {
		t.Fatalf("%s", e.Bytes())
	}
	f := c.next("features")
	if f.Child(stanza.NSBind, "bind") != nil || f.Child(stanza.NSSession, "session") != nil || f.Child(stanza.NSRosterVer, "ver") == nil {
		t.Fatalf("%s", f.Bytes())
	}
	if f.Child(stanza.NSSM, "sm") != nil || f.Child(stanza.NSCSI, "csi") == nil {
		t.Fatalf("offered though it is enabled: %s", f.Bytes())
	}
	c.send("<presence/>")
	if st, err := s.Next(); err != nil || st.Kind != stanza.Presence {
		t.Fatal(st, err)
	}
}

// The same with SCRAM: the server proves itself in the success.
func TestBind2SCRAM(t *testing.T) {
	o, _ := options2()
	c, _ := secure(t, o)
	go func() {
		r := <-c.result
		_, _ = r.s.Conn().Write(r.s.AppendBound(nil, "juliet@example.org/"+r.s.Resource(), nil))
	}()
	e, err := c.scram2("SCRAM-SHA-256", "juliet", "capulet", scram.ChannelBinding{}, bind2)
	if err != nil || e.Child(stanza.NSBind2, "bound") == nil {
		t.Fatal(e, err)
	}
}

// XEP-0386, section 3.2.1: the tag as it is, then what is the same for the
// same client, tag and account, and tells nothing of the client's id.
func TestBind2Resource(t *testing.T) {
	o, a := options2()
	a.keys["romeo"] = a.keys["juliet"]
	resource := func(user, agent, tag string) string {
		c, _ := secure(t, o)
		c.send(ask2("PLAIN", "\x00"+user+"\x00capulet", agent+"<bind xmlns='urn:xmpp:bind:0'>"+tag+"</bind>"))
		return c.asked().Resource()
	}
	const tag = "<tag>AwesomeXMPP</tag>"
	first := resource("juliet", agent, tag)
	name, id, ok := strings.Cut(first, "/")
	if !ok || name != "AwesomeXMPP" || len(id) != 12 || strings.Contains(installation, id) {
		t.Fatal(first)
	}
	for what, got := range map[string]string{
		"another account":    resource("romeo", agent, tag),
		"another client":     resource("juliet", strings.Replace(agent, "d4565fa7", "d4565fa8", 1), tag),
		"no client":          resource("juliet", "", tag),
		"no client, again":   resource("juliet", "", tag),
		"no tag":             "AwesomeXMPP/" + resource("juliet", "", ""),
		"control characters": "AwesomeXMPP/" + resource("juliet", "", "<tag>a&#9;b</tag>"),
		"long tag":           "AwesomeXMPP/" + resource("juliet", "", "<tag>"+strings.Repeat("x", maxTag+1)+"</tag>"),
	} {
		n, i, _ := strings.Cut(got, "/")
		if n != "AwesomeXMPP" || len(i) != 12 || i == id {
			t.Errorf("%s: %q, %q", what, got, first)
		}
	}
	if again := resource("juliet", agent, tag); again != first {
		t.Error(again, first)
	}
}

// What is not offered is not asked for; of stream management it is said.
func TestBind2NotOffered(t *testing.T) {
	o, _ := options2()
	o.SM, o.CSI, o.Carbons = false, false, false
	c, _ := secure(t, o)
	c.send(ask2("PLAIN", plain, "<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/><bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3'/><inactive xmlns='urn:xmpp:csi:0'/></bind>"))
	s := c.asked()
	if b := s.Bind2(); b == nil || *b != (Bind2Request{}) || s.Resume() != nil {
		t.Fatalf("%+v", b)
	}
	c.result <- result{s, nil}
	e := c.bound("")
	for _, failed := range []*stanza.Element{e.Child(stanza.NSSM, "failed"), e.Child(stanza.NSBind2, "bound").Child(stanza.NSSM, "failed")} {
		if failed == nil || failed.Child(stanza.NSStanzas, "feature-not-implemented") == nil {
			t.Fatalf("%s", e.Bytes())
		}
	}
}

// A resource that cannot be bound ends the stream.
func TestBind2Refused(t *testing.T) {
	for c, want := range map[stanza.Condition]string{stanza.ResourceConstraint: "resource-constraint", stanza.InternalServerError: "internal-server-error"} {
		o, _ := options2()
		cl, _ := secure(t, o)
		cl.send(ask2("PLAIN", plain, bind2))
		s := cl.asked()
		refused := make(chan error, 1)
		go func() { refused <- s.BindError(c) }()
		if got, err := cl.streamError(); got != want || err != nil {
			t.Fatal(got, err)
		}
		cl.conn.Close()
		if err := <-refused; err == nil {
			t.Fatal("no error")
		}
	}
}

const (
	resume  = "<resume xmlns='urn:xmpp:sm:3' h='7' previd='some-long-sm-id'/>"
	refusal = "<failed xmlns='urn:xmpp:sm:3' h='9'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
)

// XEP-0198, section 9.2: resumption comes first; the request to bind is for
// when it fails.
func TestResumeInline(t *testing.T) {
	o, _ := options2()
	t.Run("resumed", func(t *testing.T) {
		c, _ := secure(t, o)
		c.send(ask2("PLAIN", plain, agent+resume+bind2))
		s := c.asked()
		if r := s.Resume(); r == nil || *r != (ResumeRequest{Previd: "some-long-sm-id", H: 7}) {
			t.Fatalf("%+v", r)
		}
		out := s.AppendResumed(nil, "juliet@example.org/balcony", []byte("<resumed xmlns='urn:xmpp:sm:3' h='9' previd='some-long-sm-id'/>"))
		if _, err := s.Conn().Write(append(out, "<message/>"...)); err != nil {
			t.Fatal(err)
		}
		e := c.next("success")
		if e.Child(stanza.NSSM, "resumed") == nil || e.Child(stanza.NSBind2, "bound") != nil || e.ChildText(stanza.NSSASL2, "authorization-identifier") != "juliet@example.org/balcony" {
			t.Fatalf("%s", e.Bytes())
		}
		c.next("message") // no features before it
	})
	t.Run("refused, and bound", func(t *testing.T) {
		c, _ := secure(t, o)
		c.send(ask2("PLAIN", plain, agent+bind2+resume))
		s := c.asked()
		if err := s.RefuseResume(t.Context(), []byte(refusal)); err != nil || s.Resume() != nil || s.Bind2() == nil {
			t.Fatal(err)
		}
		c.result <- result{s, nil}
		if e := c.bound(""); e.Child(stanza.NSSM, "failed").Attr("h") != "9" || e.Children[1].Local != "failed" || e.Children[2].Local != "bound" {
			t.Fatalf("%s", e.Bytes())
		}
		c.next("features")
	})
	t.Run("refused, and nothing else asked for", func(t *testing.T) {
		c, _ := secure(t, o)
		c.send(ask2("PLAIN", plain, resume))
		s := c.asked()
		refused := make(chan error, 1)
		go func() { refused <- s.RefuseResume(t.Context(), []byte(refusal)) }()
		if e := c.next("success"); e.Child(stanza.NSSM, "failed") == nil || e.ChildText(stanza.NSSASL2, "authorization-identifier") != "juliet@example.org" {
			t.Fatalf("%s", e.Bytes())
		}
		if f := c.next("features"); f.Child(stanza.NSBind, "bind") == nil {
			t.Fatalf("%s", f.Bytes())
		}
		c.send(classicSet)
		if err := <-refused; err != nil || s.Bind2() != nil || s.Resume() != nil || s.Resource() != "balcony" {
			t.Fatal(err)
		}
	})
	for i, bad := range []string{"<resume xmlns='urn:xmpp:sm:3' h='x' previd='y'/>", "<resume xmlns='urn:xmpp:sm:3' h='1'/>"} {
		t.Run(fmt.Sprint("malformed ", i), func(t *testing.T) {
			c, _ := secure(t, o)
			c.send(ask2("PLAIN", plain, bad+bind2))
			if e := c.bound(""); e.Child(stanza.NSSM, "failed").Child(stanza.NSStanzas, "bad-request") == nil {
				t.Fatalf("%s", e.Bytes())
			}
		})
	}
}

// A stream that is resumed by an element of its own gets that alone.
func TestResumeClassic(t *testing.T) {
	o, _ := options2()
	c := dial(t, t.Context(), o)
	c.login()
	c.send(resume)
	s := c.asked()
	if out := string(s.AppendResumed(nil, "juliet@example.org/balcony", []byte("<resumed/>"))); out != "<resumed/>" || s.Resume() != nil {
		t.Fatal(out)
	}
}
