package edge_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

// privacyQuery is a query of privacy lists with what is inside.
func privacyQuery(inner string) string {
	return "<query xmlns='jabber:iq:privacy'>" + inner + "</query>"
}

// list makes a list, and chooses it as "active" or "default".
func (p *play) list(who, choose, items string) {
	p.t.Helper()
	p.set(who, privacyQuery("<list name='l'>"+items+"</list>"))
	p.set(who, privacyQuery("<"+choose+" name='l'/>"))
}

// XEP-0016.
func TestPrivacyLists(t *testing.T) {
	t.Run("2.3 names and lists", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		if got := p.ask("juliet/balcony", "get", "", privacyQuery("")); got != "result <query xmlns='jabber:iq:privacy'/>" {
			t.Error(got)
		}
		p.set("juliet/balcony", privacyQuery("<list name='public'><item action='allow' order='2'/><item type='jid' value='Tybalt@Example.com' action='deny' order='1'><message/><iq/><presence-in/><presence-out/></item></list>"))
		p.set("juliet/balcony", privacyQuery("<list name='special'><item type='subscription' value='both' action='deny' order='7'/></list>"))
		p.set("juliet/balcony", privacyQuery("<active name='special'/>"))
		p.set("juliet/balcony", privacyQuery("<default name='public'/>"))
		want := "<default name='public'/><list name='public'/><list name='special'/>"
		if got := p.ask("juliet/balcony", "get", "", privacyQuery("")); got != "result "+privacyQuery("<active name='special'/>"+want) {
			t.Error(got)
		}
		p.dial("juliet/chamber")
		if got := p.ask("juliet/chamber", "get", "", privacyQuery("")); got != "result "+privacyQuery(want) {
			t.Error(got)
		}
		if got := p.ask("juliet/balcony", "get", "", privacyQuery("<list name='public'/>")); got != "result "+privacyQuery(
			"<list name='public'><item type='jid' value='tybalt@example.com' action='deny' order='1'><message/><iq/><presence-in/><presence-out/></item><item action='allow' order='2'/></list>") {
			t.Error(got)
		}
	})
	t.Run("2.3 to 2.8 errors", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'><group>Lovers</group></item></query>")
		p.set("juliet/balcony", privacyQuery("<list name='l'><item type='group' value='Lovers' action='allow' order='1'/></list>"))
		item := "<item action='deny' order='1'/>"
		for _, c := range []struct{ kind, inner, want string }{
			{"get", "<list name='none'/>", "item-not-found"},
			{"get", "<list name='l'/><list name='l'/>", "bad-request"},
			{"get", "<active/>", "bad-request"},
			{"set", "", "bad-request"},
			{"set", "<active name='l'/><default name='l'/>", "bad-request"},
			{"set", "<active name='none'/>", "item-not-found"},
			{"set", "<default name='none'/>", "item-not-found"},
			{"set", "<list name='none'/>", "item-not-found"},
			{"set", "<list>" + item + "</list>", "bad-request"},
			{"set", "<list name='" + strings.Repeat("x", 1024) + "'>" + item + "</list>", "not-acceptable"},
			{"set", "<list name='x'>" + item + item + "</list>", "bad-request"},
			{"set", "<list name='x'><item action='drop' order='1'/></list>", "bad-request"},
			{"set", "<list name='x'><item action='deny'/></list>", "bad-request"},
			{"set", "<list name='x'><item action='deny' order='-1'/></list>", "bad-request"},
			{"set", "<list name='x'><item type='jid' value='a@@' action='deny' order='1'/></list>", "jid-malformed"},
			{"set", "<list name='x'><item type='subscription' value='ask' action='deny' order='1'/></list>", "bad-request"},
			{"set", "<list name='x'><item type='group' value='Enemies' action='deny' order='1'/></list>", "item-not-found"},
			{"set", "<list name='x'><item action='deny' order='1'><presence/></item></list>", "bad-request"},
		} {
			if got := p.ask("juliet/balcony", c.kind, "", privacyQuery(c.inner)); !strings.HasPrefix(got, "error ") || !strings.Contains(got, "<"+c.want+" ") {
				t.Errorf("%s %s: %s", c.kind, c.inner, got)
			}
		}
		p.dial("juliet/chamber")
		p.set("juliet/balcony", privacyQuery("<default name='l'/>"))
		for _, inner := range []string{"<default/>", "<list name='l'/>"} {
			if got := p.ask("juliet/chamber", "set", "", privacyQuery(inner)); !strings.Contains(got, "<conflict ") {
				t.Errorf("2.2 rule 11: %s: %s", inner, got)
			}
		}
	})
	t.Run("2.6 pushes go to every connected resource", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.dial("juliet/chamber")
		p.send("juliet/balcony", "<iq type='set' id='s'>"+privacyQuery("<list name='l'><item action='allow' order='1'/></list>")+"</iq>")
		push := privacyQuery("<list name='l'/>")
		p.expect("juliet/balcony", "iq type=result id=s", "iq type=set id=push-1 to=juliet@example.com/balcony "+push)
		p.expect("juliet/chamber", "iq type=set id=push-1 to=juliet@example.com/chamber "+push)
	})
	t.Run("2.9 messages, 2.14 as if nobody were there", func(t *testing.T) {
		p := onlineFriends(t)
		p.list("juliet/balcony", "default", "<item type='subscription' value='both' action='deny' order='1'><message/></item>")
		p.send("romeo/orchard", "<message id='m' type='chat' to='juliet@example.com'><body>x</body></message><presence><show>xa</show></presence>")
		p.expect("romeo/orchard", "message type=error id=m from=juliet@example.com to=romeo@example.com/orchard "+unavailable, "presence from=romeo@example.com/orchard")
		p.heard("juliet/balcony")
		p.send("juliet/balcony", "<message id='m' type='chat' to='romeo@example.com'><body>x</body></message>")
		p.expect("juliet/balcony")
		p.expect("romeo/orchard", "message type=chat id=m from=juliet@example.com/balcony")
	})
	t.Run("2.10 presence that comes: who was there goes, subscriptions pass", func(t *testing.T) {
		p := onlineFriends(t)
		p.send("juliet/balcony", "<iq type='set' id='l'>"+privacyQuery("<list name='l'><item action='deny' order='1'><presence-in/></item></list>")+"</iq>"+
			"<iq type='set' id='a'>"+privacyQuery("<active name='l'/>")+"</iq>")
		p.expect("juliet/balcony", "iq type=result id=l", "iq type=set id=push-1", "iq type=result id=a", "presence type=unavailable from=romeo@example.com/orchard to=juliet@example.com")
		p.online("nurse/kitchen")
		p.send("nurse/kitchen", "<presence to='juliet@example.com'/><presence type='subscribe' to='juliet@example.com'/>")
		p.heard("nurse/kitchen")
		p.expect("juliet/balcony", "presence type=subscribe from=nurse@example.com")
		p.set("juliet/balcony", privacyQuery("<active/>"))
		p.expect("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com")
	})
	t.Run("2.10 directed presence that came, too", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.online("nurse/kitchen")
		p.send("nurse/kitchen", "<presence to='juliet@example.com'/>")
		p.heard("nurse/kitchen")
		p.expect("juliet/balcony", "presence from=nurse@example.com/kitchen")
		p.send("juliet/balcony", "<iq type='set' id='b'>"+block("nurse@example.com")+"</iq>")
		p.expect("juliet/balcony", "iq type=result id=b", "presence type=unavailable from=nurse@example.com/kitchen")
	})
	t.Run("2.11 presence that goes, by the list of each session", func(t *testing.T) {
		p := onlineFriends(t)
		p.online("juliet/chamber")
		p.heard("romeo/orchard")
		p.list("juliet/balcony", "active", "<item type='jid' value='romeo@example.com' action='deny' order='1'><presence-out/></item>")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com")
		for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
			p.send(who, "<presence><show>dnd</show></presence>")
			p.heard(who)
		}
		p.expect("romeo/orchard", "presence from=juliet@example.com/chamber to=romeo@example.com <show>dnd")
		p.send("juliet/balcony", "<presence id='p' to='romeo@example.com'/>")
		p.expect("juliet/balcony", "presence type=error id=p from=romeo@example.com to=juliet@example.com/balcony <error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>", "presence from=juliet@example.com/chamber")
		p.send("juliet/balcony", "</stream:stream>") // the list ends with the session, and nobody hears of that
		p.ends("juliet/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("2.2 rule 9 a contact moves to another group", func(t *testing.T) {
		p := onlineFriends(t)
		group := func(name string) {
			p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'><group>"+name+"</group></item></query>")
		}
		group("Enemies")
		p.list("juliet/balcony", "default", "<item type='group' value='Enemies' action='deny' order='1'><presence-out/></item>")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
		group("Friends")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony")
		p.send("juliet/balcony", "<iq type='set' id='g'><query xmlns='jabber:iq:roster'><item jid='romeo@example.com'><group>Enemies</group></item></query></iq><presence><status>secret</status></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("a list and presence in one write: nothing leaks", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='romeo@example.com'><group>G</group></item></query>")
		p.send("juliet/balcony", "<iq type='set' id='l'>"+privacyQuery("<list name='l'><item type='group' value='G' action='deny' order='1'/></list>")+"</iq>"+
			"<iq type='set' id='a'>"+privacyQuery("<active name='l'/>")+"</iq><presence><status>secret</status></presence>"+
			"<presence to='romeo@example.com'><status>secret</status></presence>")
		p.until("juliet/balcony", "iq type=result id=a")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("a list that is not stored", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.house.Refuse(errors.New("away"))
		if got := p.ask("juliet/balcony", "set", "", privacyQuery("<list name='l'><item action='deny' order='1'/></list>")); !strings.Contains(got, "internal-server-error") {
			t.Error(got)
		}
	})
}
