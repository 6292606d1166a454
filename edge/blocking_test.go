package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

func (p *play) set(who, payload string) {
	p.t.Helper()
	if answer := p.ask(who, "set", "", payload); answer != "result " {
		p.t.Fatalf("%s: %s", payload, answer)
	}
}

func block(jids ...string) string {
	return "<block xmlns='urn:xmpp:blocking'><item jid='" + strings.Join(jids, "'/><item jid='") + "'/></block>"
}

func unblock(jids ...string) string {
	if len(jids) == 0 {
		return "<unblock xmlns='urn:xmpp:blocking'/>"
	}
	return "<unblock xmlns='urn:xmpp:blocking'><item jid='" + strings.Join(jids, "'/><item jid='") + "'/></unblock>"
}

const (
	blockList   = "<blocklist xmlns='urn:xmpp:blocking'/>"
	isBlocked   = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><blocked xmlns='urn:xmpp:blocking:errors'/></error>"
	unavailable = "<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
)

// onlineFriends is a play where juliet and romeo see each other and are there.
func onlineFriends(t *testing.T) *play {
	p := friends(t)
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	return p
}

// XEP-0191.
func TestBlocking(t *testing.T) {
	t.Run("3.1 it is offered", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='get' id='d' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
		info := string(p.until("juliet/balcony", "iq type=result id=d").Inner)
		for _, feature := range []string{"urn:xmpp:blocking", "jabber:iq:privacy", "urn:xmpp:invisible:1"} {
			if !strings.Contains(info, "<feature var='"+feature+"'/>") {
				t.Errorf("%s is not in %s", feature, info)
			}
		}
	})
	t.Run("3.2 the list, empty and not", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		if got := p.ask("juliet/balcony", "get", "", blockList); got != "result "+blockList {
			t.Error(got)
		}
		p.set("juliet/balcony", block("Romeo@Example.com", "example.net", "x@example.net/y"))
		want := "result <blocklist xmlns='urn:xmpp:blocking'><item jid='example.net'/><item jid='romeo@example.com'/><item jid='x@example.net/y'/></blocklist>"
		if got := p.ask("juliet/balcony", "get", "", blockList); got != want {
			t.Error(got)
		}
		p.dial("juliet/chamber")
		if got := p.ask("juliet/chamber", "get", "", blockList); got != want {
			t.Error(got)
		}
	})
	t.Run("3.3 pushes go to who asked for the list", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		for _, who := range []string{"juliet/balcony", "juliet/chamber", "juliet/hall"} {
			p.dial(who)
		}
		p.ask("juliet/balcony", "get", "", blockList)
		p.ask("juliet/chamber", "get", "", blockList)
		p.send("juliet/hall", "<iq type='set' id='b'>"+block("romeo@example.com", "nurse@example.com")+"</iq>")
		p.expect("juliet/hall", "iq type=result id=b to=juliet@example.com/hall")
		for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
			p.expect(who, "iq type=set id=push-1 to=juliet@example.com/"+strings.TrimPrefix(who, "juliet/")+" "+block("romeo@example.com", "nurse@example.com"))
		}
		p.send("juliet/hall", "<iq type='set' id='u'>"+unblock("romeo@example.com")+"</iq>")
		p.heard("juliet/hall")
		p.expect("juliet/chamber", "iq type=set id=push-2 to=juliet@example.com/chamber "+unblock("romeo@example.com"))
		p.send("juliet/hall", "<iq type='set' id='a'>"+unblock()+"</iq>")
		p.heard("juliet/hall")
		p.expect("juliet/chamber", "iq type=set id=push-3 to=juliet@example.com/chamber "+unblock())
	})
	t.Run("3.3 what cannot be blocked", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		for payload, want := range map[string]string{
			"<block xmlns='urn:xmpp:blocking'/>": "bad-request", block("a@b@c"): "jid-malformed", unblock("@"): "jid-malformed",
		} {
			if got := p.ask("juliet/balcony", "set", "", payload); !strings.Contains(got, "<"+want+" ") {
				t.Errorf("%s: %s", payload, got)
			}
		}
	})
	t.Run("3.3 the blocked sees the user go, and hears nothing more", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", block("romeo@example.com"))
		p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com")
		p.send("juliet/balcony", "<presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("3.3 the user sees the blocked go, and hears nothing more", func(t *testing.T) {
		p := onlineFriends(t)
		p.send("juliet/balcony", "<iq type='set' id='b'>"+block("romeo@example.com")+"</iq>")
		p.expect("juliet/balcony", "iq type=result id=b", "presence type=unavailable from=romeo@example.com/orchard to=juliet@example.com")
		p.send("romeo/orchard", "<presence><show>dnd</show></presence><presence to='juliet@example.com'/><presence to='juliet@example.com' type='unsubscribe'/>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony")
	})
	t.Run("3.3 messages and iqs of the blocked are answered as if nobody were there", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", block("romeo@example.com"))
		p.heard("romeo/orchard")
		p.send("romeo/orchard", "<message id='m1' type='chat' to='juliet@example.com'><body>x</body></message>"+
			"<message id='m2' to='juliet@example.com/balcony'><body>x</body></message><message id='m3' type='headline' to='juliet@example.com'><body>x</body></message>"+
			"<iq id='i1' type='get' to='juliet@example.com/balcony'><query xmlns='jabber:iq:version'/></iq><presence type='probe' to='juliet@example.com'/>")
		p.expect("romeo/orchard", "message type=error id=m1 from=juliet@example.com to=romeo@example.com/orchard "+unavailable,
			"message type=error id=m2 from=juliet@example.com/balcony to=romeo@example.com/orchard "+unavailable,
			"iq type=error id=i1 from=juliet@example.com/balcony to=romeo@example.com/orchard "+unavailable)
		p.expect("juliet/balcony", "presence type=unavailable from=romeo@example.com/orchard")
	})
	t.Run("3.3 the user sends nothing to the blocked", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", block("romeo@example.com"))
		p.heard("juliet/balcony")
		p.send("juliet/balcony", "<message id='m' to='romeo@example.com'><body>x</body></message><iq id='i' type='get' to='romeo@example.com/orchard'><ping xmlns='urn:xmpp:ping'/></iq>"+
			"<presence id='p' to='romeo@example.com'/><presence id='s' type='subscribe' to='romeo@example.com/x'/>")
		p.expect("juliet/balcony",
			"message type=error id=m from=romeo@example.com to=juliet@example.com/balcony "+isBlocked,
			"iq type=error id=i from=romeo@example.com/orchard to=juliet@example.com/balcony "+isBlocked,
			"presence type=error id=p from=romeo@example.com to=juliet@example.com/balcony "+isBlocked,
			"presence type=error id=s from=romeo@example.com/x to=juliet@example.com/balcony "+isBlocked)
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("3.3 block and presence in one write: nothing leaks", func(t *testing.T) {
		p := onlineFriends(t)
		p.send("juliet/balcony", "<iq type='set' id='b'>"+block("romeo@example.com")+"</iq><presence><status>secret</status></presence>"+
			"<presence to='romeo@example.com'><status>secret</status></presence>")
		p.until("juliet/balcony", "iq type=result id=b")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("3.3 block while the other is offline, and while oneself is", func(t *testing.T) {
		p := friends(t)
		p.online("juliet/balcony")
		p.set("juliet/balcony", block("romeo@example.com"))
		p.online("romeo/orchard")
		p.send("romeo/orchard", "<presence><show>xa</show></presence>")
		p.expect("romeo/orchard", "presence from=romeo@example.com/orchard to=romeo@example.com <show>xa")
		p.expect("juliet/balcony")
		p.send("juliet/balcony", "</stream:stream>")
		p.ends("juliet/balcony")
		p.online("juliet/chamber")
		p.send("juliet/chamber", "<message id='m' to='romeo@example.com'><body>x</body></message>")
		p.expect("juliet/chamber", "message type=error id=m")
		p.expect("romeo/orchard")
	})
	t.Run("3.3 at once after login, before anything is known", func(t *testing.T) {
		p := friends(t)
		p.dial("juliet/balcony")
		p.set("juliet/balcony", block("romeo@example.com"))
		p.send("juliet/balcony", "</stream:stream>")
		p.ends("juliet/balcony")
		p.online("romeo/orchard")
		p.dial("juliet/chamber")
		p.send("juliet/chamber", "<message id='m' to='romeo@example.com'><body>x</body></message><message id='n' to='nurse@example.com'><body>x</body></message>")
		p.expect("juliet/chamber", "message type=error id=m from=romeo@example.com to=juliet@example.com/chamber "+isBlocked, "message type=error id=n")
		p.expect("romeo/orchard")
	})
	t.Run("3.4 unblock: both see each other again", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", block("romeo@example.com"))
		p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
		p.heard("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<iq type='set' id='u'>"+unblock("romeo@example.com")+"</iq>")
		p.expect("juliet/balcony", "iq type=result id=u", "presence from=romeo@example.com/orchard to=juliet@example.com")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd</show>")
		p.send("romeo/orchard", "<message type='chat' to='juliet@example.com'><body>x</body></message>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony", "message type=chat from=romeo@example.com/orchard")
	})
	t.Run("3.4 unsubscribed while blocked: nothing is seen after", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", block("romeo@example.com"))
		p.heard("romeo/orchard")
		p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com' subscription='remove'/></query>")
		p.heard("juliet/balcony")
		p.set("juliet/balcony", unblock())
		for _, heard := range append(p.heard("romeo/orchard"), p.heard("juliet/balcony")...) {
			if strings.HasPrefix(heard, "presence from=") {
				t.Error(heard)
			}
		}
	})
	t.Run("5 a full JID alone", func(t *testing.T) {
		p := onlineFriends(t)
		p.online("romeo/home")
		p.heard("juliet/balcony")
		p.set("juliet/balcony", block("romeo@example.com/home"))
		p.expect("romeo/home", "presence type=unavailable from=juliet@example.com/balcony")
		p.expect("juliet/balcony", "presence type=unavailable from=romeo@example.com/home")
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<presence><show>away</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/home")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony")
	})
	t.Run("the domain, and the account itself", func(t *testing.T) {
		p := onlineFriends(t)
		p.online("juliet/chamber")
		p.heard("juliet/balcony")
		p.set("juliet/balcony", block("example.com"))
		p.expect("juliet/chamber", "presence type=unavailable from=romeo@example.com/orchard")
		p.heard("juliet/balcony")
		p.send("juliet/balcony", "<message type='chat' to='juliet@example.com/chamber'><body>note</body></message><presence><show>xa</show></presence>")
		p.heard("juliet/balcony")
		p.expect("juliet/chamber", "message type=chat from=juliet@example.com/balcony", "presence from=juliet@example.com/balcony")
	})
}
