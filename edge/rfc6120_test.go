package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// What ends an established stream, each with its own error, then the closing
// tag; what follows on it is not taken.
func TestRFC6120_4_9_3_StreamErrors(t *testing.T) {
	for _, c := range []struct{ name, sent, want string }{
		{"4.9.3.1 text between stanzas", "hello", "bad-format"},
		{"4.9.3.1 CDATA between stanzas", "<![CDATA[x]]>", "bad-format"},
		{"4.9.3.2 a prefix that is not declared", "<a:message/>", "bad-namespace-prefix"},
		{"4.9.3.2 of an attribute", "<message a:b='c'/>", "bad-namespace-prefix"},
		{"4.9.3.9 from of another", "<message from='romeo@example.com'/>", "invalid-from"},
		{"4.9.3.9 from of another with the same resource", "<message from='romeo@example.com/balcony'/>", "invalid-from"},
		{"4.9.3.9 malformed from", "<message from='@'/>", "invalid-from"},
		{"4.9.3.10 a server's stanza", "<message xmlns='jabber:server'/>", "invalid-namespace"},
		{"4.9.3.10 a stanza of no namespace", "<iq xmlns='urn:x' type='get' id='x'/>", "invalid-namespace"},
		{"4.9.3.13 tags that do not match", "<message><a></b></message>", "not-well-formed"},
		{"4.9.3.13 an attribute twice", "<message id='a' id='b'/>", "not-well-formed"},
		{"4.9.3.13 an attribute without quotes", "<message id=a/>", "not-well-formed"},
		{"4.9.3.13 a character that is none", "<message><body>&#1;</body></message>", "not-well-formed"},
		{"4.9.3.13 a bare ampersand", "<message><body>a & b</body></message>", "not-well-formed"},
		{"4.9.3.13 an end tag that opens nothing", "</message>", "not-well-formed"},
		{"4.9.3.14 too deep", "<message>" + strings.Repeat("<a>", 100), "policy-violation"},
		{"4.9.3.14 too many attributes", "<message " + manyAttributes(100) + "/>", "policy-violation"},
		{"4.9.3.18 a comment", "<message><!-- x --></message>", "restricted-xml"},
		{"4.9.3.18 a processing instruction", "<message><?x y?></message>", "restricted-xml"},
		{"4.9.3.18 an entity", "<message><body>&x;</body></message>", "restricted-xml"},
		{"4.9.3.18 a document type declaration", "<!DOCTYPE x [<!ENTITY y 'z'>]>", "restricted-xml"},
		{"4.9.3.22 bytes that are not UTF-8", "<message><body>\xff</body></message>", "unsupported-encoding"},
		{"4.9.3.24 an element of the stream", "<stream:features/>", "unsupported-stanza-type"},
		{"4.9.3.24 a second stream header", "<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "unsupported-stanza-type"},
		{"4.9.3.24 an element that is no stanza", "<pubsub/>", "unsupported-stanza-type"},
		{"4.9.3.24 of another namespace", "<x xmlns='urn:x'/>", "unsupported-stanza-type"},
		{"4.9.3.24 authentication again", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>", "unsupported-stanza-type"},
		{"4.9.3.24 TLS again", "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "unsupported-stanza-type"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.create("romeo")
			p.dial("juliet/balcony")
			p.send("juliet/balcony", c.sent+"<message to='romeo@example.com'><body>after</body></message>")
			if got := p.ends("juliet/balcony"); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			p.clients["juliet/balcony"].Conn.Close()
			edgetest.WaitFor(t, "its end is in the log", func() bool { return p.count("resource_closed") == 1 })
			if p.count("message_accepted") > 0 {
				t.Error("what came after was taken")
			}
		})
	}
}

func manyAttributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d='b'", i)
	}
	return b.String()
}

func TestRFC6120_4_4_ClosingHandshakes(t *testing.T) {
	t.Run("the client closes", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		// All that came before the closing tag is taken.
		p.send("juliet/balcony", "<message to='romeo@example.com'><body>x</body></message></stream:stream>")
		if got := p.ends("juliet/balcony"); got != "" {
			t.Error(got)
		}
		edgetest.WaitFor(t, "its end is in the log", func() bool { return p.count("resource_closed") == 1 })
		if p.count("message_accepted") != 1 {
			t.Error("the last message is lost")
		}
	})
	t.Run("the server closes, and waits for the client", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.dial("juliet/chamber")
		p.send("juliet/balcony", "<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>")
		if got := p.ends("juliet/chamber"); got != "not-authorized" {
			t.Error(got)
		}
		// The connection takes the client's closing tag before it ends.
		if err := p.clients["juliet/chamber"].Send("</stream:stream>"); err != nil {
			t.Error(err)
		}
		if n, err := p.clients["juliet/chamber"].Conn.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("something after the closing tag")
		}
	})
}

func TestRFC6120_11_7_WhiteSpace(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	p.send("juliet/balcony", " \n\t\r "+strings.Repeat(" ", 5000))
	p.expect("juliet/balcony")
	p.send("juliet/balcony", " <presence/> ")
	p.expect("juliet/balcony", "presence from=juliet@example.com/balcony")
}

// What is passed on has no prefix for the content namespace, nor one that was
// declared outside it.
func TestRFC6120_4_8_5_Prefixes(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	p.send("juliet/balcony", "<c:message xmlns:c='jabber:client' to='romeo@example.com/orchard' id='m'><c:body>x</c:body></c:message>")
	p.heard("juliet/balcony")
	p.expect("romeo/orchard", "message id=m from=juliet@example.com/balcony to=romeo@example.com/orchard <body>x</body>")
}

func TestRFC6120_8_1_Attributes(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	for _, c := range []struct{ name, sent, heard string }{
		{"8.1.2.1 from is stamped", "<message to='romeo@example.com/orchard' id='m'><body>x</body></message>",
			"message id=m from=juliet@example.com/balcony to=romeo@example.com/orchard <body>x</body>"},
		{"8.1.2.1 the bare JID becomes the full JID", "<message from='juliet@example.com' to='romeo@example.com/orchard' id='m'><body>x</body></message>",
			"message id=m from=juliet@example.com/balcony to=romeo@example.com/orchard <body>x</body>"},
		{"8.1.2.1 so does another resource of the account", "<message from='juliet@example.com/chamber' to='romeo@example.com/orchard' id='m'><body>x</body></message>",
			"message id=m from=juliet@example.com/balcony to=romeo@example.com/orchard <body>x</body>"},
		{"8.1.3 no id is none", "<message to='romeo@example.com/orchard'><body>x</body></message>",
			"message from=juliet@example.com/balcony to=romeo@example.com/orchard <body>x</body>"},
		{"8.1.4 type", "<message to='romeo@example.com/orchard' type='chat'><body>x</body></message>",
			"message type=chat from=juliet@example.com/balcony"},
		{"8.4 extended content", "<message to='romeo@example.com/orchard'><x xmlns='urn:unknown' a='b'><y xmlns='urn:other'/>z</x></message>",
			"message from=juliet@example.com/balcony to=romeo@example.com/orchard <x xmlns='urn:unknown' a='b'><y xmlns='urn:other'/>z</x>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.send("juliet/balcony", c.sent)
			p.heard("juliet/balcony")
			p.expect("romeo/orchard", c.heard)
		})
	}
	t.Run("8.1.5 xml:lang goes with the stanza", func(t *testing.T) {
		p.send("juliet/balcony", "<message xml:lang='it' to='romeo@example.com/orchard'><body>ciao</body></message>")
		p.heard("juliet/balcony")
		if st := p.until("romeo/orchard", "message"); st.Lang != "it" {
			t.Errorf("%q", st.Lang)
		}
	})
}

// Each request is answered once, whatever it is; an answer never is.
func TestRFC6120_8_2_3_OneAnswer(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	var sent strings.Builder
	n := 0
	for _, kind := range []string{"get", "set"} {
		for _, to := range []string{"", "juliet@example.com", "example.com", "example.com/x", "romeo@example.com", "romeo@example.com/none", "nobody@example.com", "juliet@example.com/none", "example.net", "@"} {
			for _, payload := range []string{
				"<query xmlns='jabber:iq:roster'/>", "<ping xmlns='urn:xmpp:ping'/>", "<query xmlns='http://jabber.org/protocol/disco#info'/>",
				"<x xmlns='urn:unknown'/>", "", "<a xmlns='urn:a'/><b xmlns='urn:b'/>",
			} {
				n++
				at := ""
				if to != "" {
					at = " to='" + to + "'"
				}
				fmt.Fprintf(&sent, "<iq type='%s' id='q%d'%s>%s</iq>", kind, n, at, payload)
			}
		}
	}
	for _, kind := range []string{"result", "error"} {
		for _, to := range []string{"", "juliet@example.com", "example.com", "romeo@example.com", "romeo@example.com/orchard", "nobody@example.com/x", "example.net"} {
			fmt.Fprintf(&sent, "<iq type='%s' id='never' to='%s'/>", kind, to)
		}
	}
	p.send("juliet/balcony", strings.ReplaceAll(sent.String(), " to=''", ""))
	answers := make(map[string]int)
	var all []*stanza.Stanza
	// Refusals come from afar, and what is published is looked up beside.
	for late, deadline := 0, time.Now().Add(10*time.Second); late < 3 && time.Now().Before(deadline); {
		if len(all) >= n {
			late++ // nothing comes twice
		}
		got, err := p.clients["juliet/balcony"].Sync()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
		p.house.Quiet()
	}
	for _, st := range all {
		if st.Kind != stanza.IQ || st.Type != "result" && st.Type != "error" {
			t.Errorf("not an answer: %s", edgetest.Text(st))
		}
		answers[st.ID]++
	}
	for i := range n {
		if id := fmt.Sprintf("q%d", i+1); answers[id] != 1 {
			t.Errorf("%s was answered %d times", id, answers[id])
		}
	}
	if len(answers) != n {
		t.Errorf("%d ids were answered, of %d", len(answers), n)
	}
	p.expect("romeo/orchard")
}

func TestRFC6120_8_3_1_ErrorsAreNotAnswered(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	p.create("romeo")
	for _, to := range []string{"example.net", "@", "example.com", "romeo@example.com", "romeo@example.com/none", "nobody@example.com"} {
		p.send("juliet/balcony", "<message type='error' id='m' to='"+to+"'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"+
			"<presence type='error' id='p' to='"+to+"'/><iq type='error' id='i' to='"+to+"'/>")
	}
	p.expect("juliet/balcony")
}

// Between any two, in the order in which it was sent.
func TestRFC6120_10_1_Order(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	var sent strings.Builder
	var want []string
	for i := range 200 {
		fmt.Fprintf(&sent, "<message to='romeo@example.com/orchard' id='m%d'><body>x</body></message>", i)
		want = append(want, fmt.Sprintf("m%d", i))
	}
	sent.WriteString("<iq type='get' id='q' to='romeo@example.com/orchard'><x xmlns='urn:x'/></iq>")
	p.send("juliet/balcony", sent.String())
	var got []string
	for len(got) < len(want) {
		st, err := p.clients["romeo/orchard"].Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, st.ID)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%q", got)
	}
	p.until("romeo/orchard", "iq type=get id=q") // after all messages
}

func TestRFC6120_10_Addresses(t *testing.T) {
	for _, c := range []struct {
		name, sent string
		want       []string
	}{
		{"10.3.1 a message without to is for oneself", "<message id='m'><body>x</body></message>", []string{"message id=m from=juliet@example.com/balcony to=juliet@example.com <body>x</body>"}},
		{"10.3.2 presence without to is broadcast", "<presence id='p'/>", []string{"presence id=p from=juliet@example.com/balcony to=juliet@example.com"}},
		{"10.3.3 an iq without to is for the account", "<iq type='get' id='i'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", []string{"iq type=result id=i to=juliet@example.com/balcony <query xmlns='http://jabber.org/protocol/disco#info'><identity category='account'"}},
		{"10.4 a message to another domain", "<message id='m' to='romeo@example.net'><body>x</body></message>", []string{"message type=error id=m from=romeo@example.net to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found"}},
		{"10.4 presence to another domain", "<presence id='p' to='romeo@example.net'/>", []string{"presence type=error id=p from=romeo@example.net to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found"}},
		{"10.5.1 a message to the server", "<message id='m' to='example.com'><body>x</body></message>", []string{"message type=error id=m from=example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"}},
		{"10.5.1 presence to the server", "<presence to='example.com'/>", nil},
		{"10.5.1 an iq to the server", "<iq type='get' id='i' to='example.com'><ping xmlns='urn:xmpp:ping'/></iq>", []string{"iq type=result id=i from=example.com to=juliet@example.com/balcony"}},
		{"10.5.2 a message to a resource of the server", "<message id='m' to='example.com/x'><body>x</body></message>", []string{"message type=error id=m from=example.com/x to=juliet@example.com/balcony <error type='cancel'><service-unavailable"}},
		{"10.5.2 an iq to a resource of the server", "<iq type='get' id='i' to='example.com/x'><ping xmlns='urn:xmpp:ping'/></iq>", []string{"iq type=error id=i from=example.com/x to=juliet@example.com/balcony <error type='cancel'><service-unavailable"}},
		{"8.3.3.8 a malformed address", "<message id='m' to='a b@example.com'><body>x</body></message>", []string{"message type=error id=m from=a b@example.com to=juliet@example.com/balcony <error type='modify'><jid-malformed"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.online("juliet/balcony")
			p.send("juliet/balcony", c.sent)
			p.expect("juliet/balcony", c.want...)
		})
	}
}

// Another's roster is nobody's business, there or not.
func TestRFC6121_2_3_3_Forbidden(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("romeo")
	p.dial("juliet/balcony")
	for _, to := range []string{"romeo@example.com", "nobody@example.com"} {
		p.send("juliet/balcony", "<iq type='set' id='s' to='"+to+"'><query xmlns='jabber:iq:roster'><item jid='a@example.com'/></query></iq>"+
			"<iq type='get' id='g' to='"+to+"'><query xmlns='jabber:iq:roster'/></iq>")
		p.expect("juliet/balcony",
			"iq type=error id=s from="+to+" to=juliet@example.com/balcony <error type='auth'><forbidden",
			"iq type=error id=g from="+to+" to=juliet@example.com/balcony <error type='auth'><forbidden")
	}
}
