package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
)

func TestIQ(t *testing.T) {
	for _, c := range []struct{ name, stanza, want string }{
		{"XEP-0199 ping", "<iq type='get' id='x' to='example.com'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=result id=x from=example.com to=juliet@example.com/balcony"},
		{"RFC 3921 session", "<iq type='set' id='x'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>", "iq type=result id=x to=juliet@example.com/balcony"},
		{"XEP-0030 the server", "<iq type='get' id='x' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
			"iq type=result id=x from=example.com to=juliet@example.com/balcony <query xmlns='http://jabber.org/protocol/disco#info'><identity category='server' type='im' name='Rollcall'/>"},
		{"XEP-0030 one's account", "<iq type='get' id='x' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
			"iq type=result id=x from=juliet@example.com to=juliet@example.com/balcony <query xmlns='http://jabber.org/protocol/disco#info'><identity category='account' type='registered'/>"},
		{"XEP-0030 items", "<iq type='get' id='x' to='example.com'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>", "iq type=result id=x"},
		{"XEP-0030 unknown node", "<iq type='get' id='x' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info' node='y'/></iq>", "iq type=error id=x from=example.com to=juliet@example.com/balcony <error type='cancel'><item-not-found"},
		{"8.4 unknown namespace", "<iq type='get' id='x' to='example.com'><query xmlns='urn:unknown'/></iq>", "iq type=error id=x from=example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"8.2.3 no payload", "<iq type='get' id='x'/>", "iq type=error id=x to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"8.2.3 two payloads", "<iq type='get' id='x'><a xmlns='u'/><b xmlns='u'/></iq>", "iq type=error id=x to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"8.2.3 no id", "<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=error to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"8.2.3 unknown type", "<iq type='ask' id='x'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=error id=x to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"8.5.2.1.3 another's bare JID", "<iq type='get' id='x' to='romeo@example.com'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=error id=x from=romeo@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"8.5.3.2.3 a full JID that is not there", "<iq type='get' id='x' to='romeo@example.com/y'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=error id=x from=romeo@example.com/y to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"10.4 another domain", "<iq type='get' id='x' to='example.net'><ping xmlns='urn:xmpp:ping'/></iq>", "iq type=error id=x from=example.net to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found"},
		{"7.3 a second resource", "<iq type='set' id='x'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "iq type=error id=x to=juliet@example.com/balcony <error type='cancel'><not-allowed"},
		{"XEP-0077 what is registered", "<iq type='get' id='x'><query xmlns='jabber:iq:register'/></iq>", "iq type=result id=x to=juliet@example.com/balcony <query xmlns='jabber:iq:register'><registered/><username>juliet</username>"},
		{"XEP-0077 password", "<iq type='set' id='x'><query xmlns='jabber:iq:register'><username>juliet</username><password>secret</password></query></iq>", "iq type=result id=x"},
		{"XEP-0077 another's password", "<iq type='set' id='x'><query xmlns='jabber:iq:register'><username>romeo</username><password>secret</password></query></iq>", "iq type=error id=x to=juliet@example.com/balcony <error type='cancel'><not-allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.dial("juliet/balcony")
			p.send("juliet/balcony", c.stanza)
			p.until("juliet/balcony", c.want)
		})
	}
	t.Run("8.5.3.1 between full JIDs", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<iq type='get' id='q' to='romeo@example.com/orchard'><query xmlns='jabber:iq:version'/></iq>")
		p.until("romeo/orchard", "iq type=get id=q from=juliet@example.com/balcony to=romeo@example.com/orchard <query xmlns='jabber:iq:version'/>")
		p.send("romeo/orchard", "<iq type='result' id='q' to='juliet@example.com/balcony'><query xmlns='jabber:iq:version'><name>lute</name></query></iq>")
		p.until("juliet/balcony", "iq type=result id=q from=romeo@example.com/orchard to=juliet@example.com/balcony <query xmlns='jabber:iq:version'><name>lute</name></query>")
		// An answer that nobody waits for goes nowhere.
		p.send("romeo/orchard", "<iq type='result' id='q' to='juliet@example.com/balcony'/>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony")
	})
	t.Run("8.5.3.1 who may not see presence gets the same as from nobody", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("romeo/orchard")
		p.dial("tybalt/square")
		p.send("tybalt/square", "<iq type='get' id='q' to='romeo@example.com/orchard'><query xmlns='jabber:iq:version'/></iq>")
		p.until("tybalt/square", "iq type=error id=q from=romeo@example.com/orchard to=tybalt@example.com/square <error type='cancel'><service-unavailable")
		p.expect("romeo/orchard")
	})
	t.Run("no answer in time", func(t *testing.T) {
		p := newPlay(t, edge.Options{AnswerIn: time.Millisecond})
		p.house.Create("romeo")
		p.house.Befriend("juliet", "romeo")
		p.dial("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='get' id='q' to='romeo@example.com/orchard'><query xmlns='jabber:iq:version'/></iq>")
		heard := string(p.until("juliet/balcony", "iq type=error id=q").Inner)
		if !strings.Contains(heard, "remote-server-timeout") && !strings.Contains(heard, "service-unavailable") {
			t.Error(heard)
		}
	})
	t.Run("XEP-0077 3.2 an account ends with its sessions", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/chamber")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='set' id='x'><query xmlns='jabber:iq:register'><remove/></query></iq>")
		p.until("juliet/balcony", "iq type=result id=x")
		for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
			if c := p.ends(who); c != "not-authorized" {
				t.Error(who, c)
			}
		}
	})
}
