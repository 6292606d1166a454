package edge_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

const (
	componentDomain = "push.example.com"
	componentSecret = "s3cr3t"
)

// componentEdge is what an edge is told that serves clients and components.
func componentEdge(id string) edge.Options {
	return edge.Options{
		ID: id, Logger: slog.New(slog.DiscardHandler),
		Listen:     []edge.Listen{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", Components: true}},
		Components: edge.ComponentOptions{Secrets: map[string]string{componentDomain: componentSecret, "rooms.example.com": "another"}},
	}
}

// connects is a component that an edge has taken.
func (p *play) connects(e *edgetest.Edge, domain, secret string) *edgetest.Component {
	p.t.Helper()
	c, err := edgetest.ConnectComponent(e.Addr(1).String(), domain, secret)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Conn.Close() })
	p.pings(c, domain)
	return c
}

// pings has all that the component has said taken, and gives what came before
// the answer.
func (p *play) pings(c *edgetest.Component, domain string) (before []string) {
	p.t.Helper()
	p.says(c, "<iq type='get' id='ping' from='"+domain+"' to='example.com'><ping xmlns='urn:xmpp:ping'/></iq>")
	for {
		text := p.told(c)
		if strings.HasPrefix(text, "iq type=result id=ping from=example.com") {
			p.house.Quiet()
			return before
		}
		before = append(before, text)
	}
}

func (p *play) says(c *edgetest.Component, xml string) {
	p.t.Helper()
	if err := c.Send(xml); err != nil {
		p.t.Fatal(err)
	}
}

func (p *play) told(c *edgetest.Component) string {
	p.t.Helper()
	st, err := c.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	return edgetest.Text(st)
}

// streamError gives the condition with which a component's stream ends.
func streamError(t *testing.T, c *edgetest.Component) string {
	t.Helper()
	condition := ""
	for {
		st, err := c.Next()
		if errors.Is(err, stanza.ErrStreamClosed) {
			return condition
		}
		if err != nil {
			t.Fatalf("stream not closed: %v", err)
		}
		if st.Is(stanza.NSStreams, "error") {
			for e := range stanza.Children(st.Inner) {
				condition = e.Local()
				break
			}
		}
	}
}

func TestXEP0114Handshake(t *testing.T) {
	p := newPlay(t, componentEdge("e1"))
	address := p.edge.Addr(1).String()
	t.Run("3 handshake", func(t *testing.T) {
		c, err := edgetest.ConnectComponent(address, componentDomain, componentSecret)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send("</stream:stream>"); err != nil {
			t.Fatal(err)
		}
		if e := streamError(t, c); e != "" {
			t.Error(e)
		}
	})
	for _, c := range []struct{ name, header, said, want string }{
		{"3 wrong secret", "", "<handshake>" + strings.Repeat("0", 40) + "</handshake>", "not-authorized"},
		{"3 empty handshake", "", "<handshake/>", "not-authorized"},
		{"3 stanza before the handshake", "", "<message from='push.example.com' to='juliet@example.com'/>", "not-authorized"},
		{"3 unknown component", "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='other.example.com'>", "", "host-unknown"},
		{"3 the server's own domain", "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='example.com'>", "", "host-unknown"},
		{"3 no to", "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams'>", "", "improper-addressing"},
		{"3 a malformed to", "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='a@b@c'>", "", "host-unknown"},
		{"3 a client's namespace", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='push.example.com'>", "", "invalid-namespace"},
		{"3 no XML", "hello", "", "not-well-formed"},
		{"handshake too large", "", "<handshake>" + strings.Repeat("0", 20<<10) + "</handshake>", "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := c.header
			if header == "" {
				header = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='push.example.com'>"
			}
			if got := rawComponent(t, address, header+c.said); !strings.Contains(got, "<stream:stream") || !strings.Contains(got, "<"+c.want+" ") {
				t.Errorf("%q in %s", c.want, got)
			}
		})
	}
	t.Run("too late", func(t *testing.T) {
		o := componentEdge("e1")
		o.Components.LoginIn = time.Millisecond
		p := newPlay(t, o)
		if got := rawComponent(t, p.edge.Addr(1).String(), ""); !strings.Contains(got, "<connection-timeout ") {
			t.Error(got)
		}
	})
}

func TestXEP0114StreamErrors(t *testing.T) {
	for _, c := range []struct{ name, said, want string }{
		{"3 from of another domain", "<message from='juliet@example.com' to='romeo@example.com'/>", "invalid-from"},
		{"3 from of another component", "<message from='rooms.example.com' to='romeo@example.com'/>", "invalid-from"},
		{"3 no from", "<message to='romeo@example.com'/>", "invalid-from"},
		{"3 malformed from", "<message from='@' to='romeo@example.com'/>", "invalid-from"},
		{"3 no to", "<message from='push.example.com'/>", "improper-addressing"},
		{"another namespace", "<message xmlns='jabber:server' from='push.example.com' to='romeo@example.com'/>", "invalid-namespace"},
		{"no stanza", "<route/>", "unsupported-stanza-type"},
		{"stanza too large", "<message from='push.example.com' to='romeo@example.com'><body>" + strings.Repeat("x", 300<<10) + "</body></message>", "policy-violation"},
		{"not well formed", "<message from='push.example.com' to='romeo@example.com'><body></message>", "not-well-formed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, componentEdge("e1"))
			comp := p.connects(p.edge, componentDomain, componentSecret)
			p.says(comp, c.said)
			if got := streamError(t, comp); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	t.Run("too much for too long", func(t *testing.T) {
		o := componentEdge("e1")
		o.Components.Limits = edge.Limits{StanzaRate: 1000, StanzaBurst: 1, Patience: time.Nanosecond}
		p := newPlay(t, o)
		comp, err := edgetest.ConnectComponent(p.edge.Addr(1).String(), componentDomain, componentSecret)
		if err != nil {
			t.Fatal(err)
		}
		p.says(comp, strings.Repeat("<iq type='result' id='x' from='push.example.com' to='example.com'/>", 10))
		if got := streamError(t, comp); got != "policy-violation" {
			t.Error(got)
		}
	})
	t.Run("the newer of two stays", func(t *testing.T) {
		p := newPlay(t, componentEdge("e1"))
		older := p.connects(p.edge, componentDomain, componentSecret)
		newer := p.connects(p.edge, componentDomain, componentSecret)
		if got := streamError(t, older); got != "conflict" {
			t.Error(got)
		}
		p.pings(newer, componentDomain)
	})
	t.Run("the newer of two stays, on another edge too", func(t *testing.T) {
		p := newPlay(t, componentEdge("e1"))
		e2 := p.second(componentEdge("e2"))
		older := p.connects(p.edge, componentDomain, componentSecret)
		newer := p.connects(e2, componentDomain, componentSecret)
		if got := streamError(t, older); got != "conflict" {
			t.Error(got)
		}
		p.pings(newer, componentDomain)
	})
	t.Run("the edge stops", func(t *testing.T) {
		p := newPlay(t, componentEdge("e1"))
		comp := p.connects(p.edge, componentDomain, componentSecret)
		if err := p.edge.Stop(); err != nil {
			t.Fatal(err)
		}
		if got := streamError(t, comp); got != "system-shutdown" {
			t.Error(got)
		}
	})
}

// Stanzas pass both ways between clients of one edge and a component of another.
func TestComponentStanzas(t *testing.T) {
	type step struct{ who, says, hears, tells string } // client, XML; or the component
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"message", []step{{says: "<message id='m' to='a@push.example.com/r' type='chat'><body>hi</body></message>",
			tells: "message type=chat id=m from=juliet@example.com/balcony to=a@push.example.com/r <body>hi</body>"}}},
		{"message to the domain", []step{{says: "<message id='m' to='push.example.com'><body>hi</body></message>",
			tells: "message id=m from=juliet@example.com/balcony to=push.example.com <body>hi</body>"}}},
		{"iq and its result", []step{{says: "<iq type='get' id='q' to='push.example.com'><query xmlns='jabber:iq:version'/></iq>",
			tells: "iq type=get id=q from=juliet@example.com/balcony to=push.example.com <query xmlns='jabber:iq:version'/>"},
			{who: "c", says: "<iq type='result' id='q' from='push.example.com' to='juliet@example.com/balcony'/>",
				hears: "iq type=result id=q from=push.example.com to=juliet@example.com/balcony"}}},
		{"iq and its error", []step{{says: "<iq type='set' id='q' to='x@push.example.com'><a xmlns='b'/></iq>",
			tells: "iq type=set id=q from=juliet@example.com/balcony to=x@push.example.com <a xmlns='b'/>"},
			{who: "c", says: "<iq type='error' id='q' from='x@push.example.com' to='juliet@example.com/balcony'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
				hears: "iq type=error id=q from=x@push.example.com to=juliet@example.com/balcony <error type='cancel'><item-not-found"}}},
		{"directed presence and its end", []step{{says: "<presence to='room@push.example.com/nick'><show>away</show></presence>",
			tells: "presence from=juliet@example.com/balcony to=room@push.example.com/nick <show>away</show>"},
			{says: "<presence type='unavailable'/>",
				tells: "presence type=unavailable from=juliet@example.com/balcony to=room@push.example.com/nick"}}},
		{"message to an account", []step{{who: "c", says: "<message id='m' type='chat' from='a@push.example.com/r' to='juliet@example.com'><body>hi</body></message>",
			hears: "message type=chat id=m from=a@push.example.com/r to=juliet@example.com <body>hi</body><stanza-id"}}},
		{"message to a session", []step{{who: "c", says: "<message xmlns='jabber:component:accept' id='m' from='push.example.com' to='juliet@example.com/balcony'><body>hi</body></message>",
			hears: "message id=m from=push.example.com to=juliet@example.com/balcony <body>hi</body><stanza-id"}}},
		{"presence to an account", []step{{who: "c", says: "<presence id='p' from='room@push.example.com/nick' to='juliet@example.com'><status>x</status></presence>",
			hears: "presence id=p from=room@push.example.com/nick to=juliet@example.com <status>x</status>"},
			{who: "c", says: "<presence type='unavailable' from='room@push.example.com/nick' to='juliet@example.com'/>",
				hears: "presence type=unavailable from=room@push.example.com/nick to=juliet@example.com"}}},
		{"8.5.3.1 iq to a session that shares its presence", []step{{says: "<presence to='push.example.com'/>",
			tells: "presence from=juliet@example.com/balcony to=push.example.com"},
			{who: "c", says: "<iq type='get' id='q' from='push.example.com' to='juliet@example.com/balcony'><ping xmlns='urn:xmpp:ping'/></iq>",
				hears: "iq type=get id=q from=push.example.com to=juliet@example.com/balcony <ping xmlns='urn:xmpp:ping'/>"},
			{says: "<iq type='result' id='q' to='push.example.com'/>",
				tells: "iq type=result id=q from=juliet@example.com/balcony to=push.example.com"}}},
		{"8.5.3.1 iq to a session that does not", []step{{who: "c",
			says:  "<iq type='get' id='q' from='push.example.com' to='juliet@example.com/balcony'><ping xmlns='urn:xmpp:ping'/></iq>",
			tells: "iq type=error id=q from=juliet@example.com/balcony to=push.example.com <error type='cancel'><service-unavailable"}}},
		{"XEP-0030 the server, asked by the component", []step{{who: "c",
			says:  "<iq type='get' id='q' from='push.example.com' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
			tells: "iq type=result id=q from=example.com to=push.example.com <query xmlns='http://jabber.org/protocol/disco#info'><identity category='server' type='im'"}}},
		{"XEP-0030 items of the domain", []step{{says: "<iq type='get' id='q' to='example.com'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
			hears: "iq type=result id=q from=example.com to=juliet@example.com/balcony <query xmlns='http://jabber.org/protocol/disco#items'><item jid='push.example.com'/><item jid='rooms.example.com'/></query>"}}},
		{"to another domain", []step{{who: "c", says: "<message id='m' from='push.example.com' to='a@example.net'><body>hi</body></message>",
			tells: "message type=error id=m from=a@example.net to=push.example.com <error type='cancel'><remote-server-not-found"}}},
		{"to a malformed address", []step{{who: "c", says: "<message id='m' from='push.example.com' to='a@b@c'><body>hi</body></message>",
			tells: "message type=error id=m from=a@b@c to=push.example.com <error type='modify'><jid-malformed"}}},
		{"message to the server", []step{{who: "c", says: "<message id='m' from='push.example.com' to='example.com'><body>hi</body></message>",
			tells: "message type=error id=m from=example.com to=push.example.com <error type='cancel'><service-unavailable"}}},
		{"8.5.1 message to no account", []step{{who: "c", says: "<message id='m' from='a@push.example.com/r' to='nobody@example.com'><body>hi</body></message>",
			tells: "message type=error id=m from=nobody@example.com to=a@push.example.com/r <error type='cancel'><service-unavailable"},
			{who: "c", says: "<message id='m' from='push.example.com' to='nobody@example.com'><body>hi</body></message>",
				tells: "message type=error id=m from=nobody@example.com to=push.example.com <error type='cancel'><service-unavailable"}}},
		{"XEP-0280 11 a copy that a component makes", []step{{who: "c", says: "<message id='m' from='push.example.com' to='juliet@example.com'><received xmlns='urn:xmpp:carbons:2'/></message>",
			tells: "message type=error id=m from=juliet@example.com to=push.example.com <error type='modify'><policy-violation"}}},
		{"XEP-0359 an origin id that is too long", []step{{who: "c", says: "<message id='m' from='push.example.com' to='juliet@example.com'><body>hi</body><origin-id xmlns='urn:xmpp:sid:0' id='" + strings.Repeat("x", 300) + "'/></message>",
			tells: "message type=error id=m from=juliet@example.com to=push.example.com <error type='modify'><not-acceptable"}}},
		{"what the server does not do for a component", []step{{who: "c", says: "<iq type='set' id='q' from='push.example.com' to='juliet@example.com'><query xmlns='jabber:iq:roster'/></iq>",
			tells: "iq type=error id=q from=juliet@example.com to=push.example.com <error type='cancel'><service-unavailable"}}},
		{"iq without a payload", []step{{who: "c", says: "<iq type='set' id='q' from='push.example.com' to='example.com'/>",
			tells: "iq type=error id=q from=example.com to=push.example.com <error type='modify'><bad-request"}}},
		{"no subscription to a component", []step{{says: "<presence type='subscribe' id='s' to='push.example.com'/>",
			hears: "presence type=error id=s from=push.example.com to=juliet@example.com/balcony <error type='cancel'><feature-not-implemented"}}},
		{"no subscription of a component", []step{{who: "c", says: "<presence type='subscribe' id='s' from='push.example.com' to='juliet@example.com'/>",
			tells: "presence type=error id=s from=juliet@example.com to=push.example.com <error type='cancel'><feature-not-implemented"}}},
		{"presence that is none", []step{{who: "c", says: "<presence id='s' from='push.example.com' to='juliet@example.com'><show>here</show></presence>",
			tells: "presence type=error id=s from=juliet@example.com to=push.example.com <error type='modify'><bad-request"}}},
		{"message to another component that is away", []step{{who: "c", says: "<message id='m' from='push.example.com' to='a@rooms.example.com'><body>hi</body></message>",
			tells: "message type=error id=m from=a@rooms.example.com to=push.example.com <error type='cancel'><service-unavailable"}}},
		{"message to a component that is away", []step{{says: "<message id='m' to='a@rooms.example.com'><body>hi</body></message>",
			hears: "message type=error id=m from=a@rooms.example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"}}},
		{"iq to a component that is away", []step{{says: "<iq type='get' id='q' to='rooms.example.com'><ping xmlns='urn:xmpp:ping'/></iq>",
			hears: "iq type=error id=q from=rooms.example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"}}},
		{"iq without a payload to a component", []step{{says: "<iq type='get' id='q' to='push.example.com'/>",
			hears: "iq type=error id=q from=push.example.com to=juliet@example.com/balcony <error type='modify'><bad-request"}}},
		{"XEP-0191 3.3 to a blocked component", []step{{says: "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='x@push.example.com'/></block></iq>",
			hears: "iq type=result id=b"},
			{says: "<message id='m' to='x@push.example.com'><body>hi</body></message>",
				hears: "message type=error id=m from=x@push.example.com to=juliet@example.com/balcony <error type='cancel'><not-acceptable"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, componentEdge("e1"))
			e2 := p.second(componentEdge("e2"))
			p.online("juliet/balcony")
			comp := p.connects(e2, componentDomain, componentSecret)
			for _, s := range c.steps {
				if s.who == "c" {
					p.says(comp, s.says)
				} else {
					p.send("juliet/balcony", s.says)
				}
				if s.hears != "" {
					p.until("juliet/balcony", s.hears)
				}
				if s.tells != "" {
					if got := p.told(comp); !strings.HasPrefix(got, s.tells) {
						t.Errorf("the component hears %q, want %q", got, s.tells)
					}
				}
			}
		})
	}
}

// A component that does not answer is told of as a server that does not.
func TestComponentThatDoesNotAnswer(t *testing.T) {
	o := componentEdge("e1")
	o.AnswerIn = 300 * time.Millisecond
	p := newPlay(t, o)
	p.online("juliet/balcony")
	comp := p.connects(p.edge, componentDomain, componentSecret)
	p.send("juliet/balcony", "<presence to='push.example.com'/><iq type='get' id='q' to='push.example.com'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.until("juliet/balcony", "iq type=error id=q from=push.example.com to=juliet@example.com/balcony <error type='wait'><remote-server-timeout")
	p.says(comp, "<iq type='get' id='r' from='push.example.com' to='juliet@example.com/balcony'><ping xmlns='urn:xmpp:ping'/></iq>")
	for {
		if got := p.told(comp); strings.HasPrefix(got, "iq type=error id=r from=juliet@example.com/balcony to=push.example.com <error type='wait'><remote-server-timeout") {
			return
		}
	}
}

// What the log does not take comes back to the component.
func TestComponentWhileTheLogIsAway(t *testing.T) {
	p := newPlay(t, componentEdge("e1"))
	comp := p.connects(p.edge, componentDomain, componentSecret)
	p.house.Refuse(errors.New("away"))
	p.says(comp, "<message id='m' from='push.example.com' to='juliet@example.com'><body>hi</body></message>")
	if got := p.told(comp); !strings.HasPrefix(got, "message type=error id=m from=juliet@example.com to=push.example.com <error type='wait'>") {
		t.Error(got)
	}
}

// A message of a component is an event like any other.
func TestComponentMessageIsStored(t *testing.T) {
	p := newPlay(t, componentEdge("e1"))
	p.create("juliet")
	comp := p.connects(p.edge, componentDomain, componentSecret)
	p.says(comp, "<message id='m' from='a@push.example.com' to='juliet@example.com'><body>hi</body></message>")
	p.pings(comp, componentDomain)
	for _, e := range p.house.Events() {
		if m, ok := e.GetKind().(*event.Event_MessageAccepted); ok {
			if m.MessageAccepted.GetFrom() != "a@push.example.com" || !m.MessageAccepted.GetMessage().GetStorable() {
				t.Error(m)
			}
			return
		}
	}
	t.Error("no event")
}

// Nobody takes the server's own domain over.
func TestComponentOfTheServersDomain(t *testing.T) {
	h := edgetest.NewHouse("example.com", 1)
	defer h.Close()
	if _, err := h.Open(edge.Options{Components: edge.ComponentOptions{Secrets: map[string]string{"example.com": "x"}}}); err == nil {
		t.Error("taken")
	}
}

// Without components there is nothing of them.
func TestNoComponents(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.send("juliet/balcony", "<message id='m' to='push.example.com'><body>hi</body></message>"+
		"<iq type='get' id='q' to='example.com'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
	p.expect("juliet/balcony", "message type=error id=m from=push.example.com to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found",
		"iq type=result id=q from=example.com to=juliet@example.com/balcony <query xmlns='http://jabber.org/protocol/disco#items'/>")
}

// rawComponent says something to the components' port, and gives all that is
// answered until the connection ends.
func rawComponent(t *testing.T, address, said string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(said)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}
