package edge_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/event"
)

const pushForm = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
	"<field var='secret'><value>eruio234vzxc2kla-91</value></field></x>"

func pushEdge(id string) edge.Options {
	o := componentEdge(id)
	o.Push = edge.PushOptions{Every: time.Millisecond, FirstRetry: time.Millisecond, LastRetry: 2 * time.Millisecond, MaxServices: 2, MaxOptions: 1000}
	return o
}

func enable(id, rest string) string {
	return "<iq type='set' id='" + id + "'><enable xmlns='urn:xmpp:push:0' " + rest + "</iq>"
}

func TestPushIsEnabled(t *testing.T) {
	for _, c := range []struct{ name, says, hears string }{
		{"5 enable", enable("e", "jid='push.example.com' node='n'/>"), "iq type=result id=e"},
		{"5 without a node", enable("e", "jid='push.example.com'/>"), "iq type=result id=e"},
		{"5 with publish options", enable("e", "jid='a@push.example.com/b' node='n'>"+pushForm+"</enable>"), "iq type=result id=e"},
		{"5 no jid", enable("e", "node='n'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"5 malformed jid", enable("e", "jid='a@b@c'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><jid-malformed"},
		{"5 another server", enable("e", "jid='push.example.net' node='n'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found"},
		{"5 this server", enable("e", "jid='juliet@example.com' node='n'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"5 a node that is too long", enable("e", "jid='push.example.com' node='"+strings.Repeat("n", 600)+"'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><not-acceptable"},
		{"5 another form", enable("e", "jid='push.example.com' node='n'>"+strings.Replace(pushForm, "publish-options", "node_config", 1)+"</enable>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"5 a form without a type", enable("e", "jid='push.example.com' node='n'><x xmlns='jabber:x:data'/></enable>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"5 too large options", enable("e", "jid='push.example.com' node='n'>"+strings.Replace(pushForm, "eruio", strings.Repeat("e", 2000), 1)+"</enable>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><policy-violation"},
		{"5 too many", enable("a", "jid='push.example.com' node='1'/>") + enable("b", "jid='push.example.com' node='2'/>") + enable("e", "jid='push.example.com' node='3'/>"), "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><policy-violation"},
		{"5 for another account", "<iq type='set' id='e' to='romeo@example.com'><enable xmlns='urn:xmpp:push:0' jid='push.example.com'/></iq>", "iq type=error id=e from=romeo@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"a get", "<iq type='get' id='e'><enable xmlns='urn:xmpp:push:0' jid='push.example.com'/></iq>", "iq type=error id=e to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"6 disable", enable("a", "jid='push.example.com' node='1'/>") + "<iq type='set' id='e'><disable xmlns='urn:xmpp:push:0' jid='push.example.com' node='1'/></iq>", "iq type=result id=e"},
		{"6 disable without a jid", "<iq type='set' id='e'><disable xmlns='urn:xmpp:push:0'/></iq>", "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><bad-request"},
		{"6 disable a malformed jid", "<iq type='set' id='e'><disable xmlns='urn:xmpp:push:0' jid='a@b@c'/></iq>", "iq type=error id=e to=juliet@example.com/balcony <error type='modify'><jid-malformed"},
		{"6 disable what was never enabled", "<iq type='set' id='e'><disable xmlns='urn:xmpp:push:0' jid='push.example.com'/></iq>", "iq type=result id=e"},
		{"4 the account tells of it", "<iq type='get' id='e' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>", "iq type=result id=e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, pushEdge("e1"))
			p.online("juliet/balcony")
			p.create("romeo")
			p.send("juliet/balcony", c.says)
			st := p.until("juliet/balcony", c.hears)
			if strings.HasPrefix(c.name, "4") && !strings.Contains(string(st.Inner), "<feature var='urn:xmpp:push:0'/>") {
				t.Error(string(st.Inner))
			}
		})
	}
	t.Run("4 without components nothing is offered", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.send("juliet/balcony", enable("e", "jid='push.example.com' node='n'/>"))
		p.until("juliet/balcony", "iq type=error id=e to=juliet@example.com/balcony <error type='cancel'><service-unavailable")
		p.send("juliet/balcony", "<iq type='get' id='i' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
		if st := p.until("juliet/balcony", "iq type=result id=i"); strings.Contains(string(st.Inner), "urn:xmpp:push:0") {
			t.Error(string(st.Inner))
		}
	})
}

// pushes has juliet enable a service and go, and romeo be there.
func (p *play) pushes(options string) {
	p.t.Helper()
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.send("juliet/balcony", enable("e", "jid='push.example.com' node='n'>"+options+"</enable>"))
	p.until("juliet/balcony", "iq type=result id=e")
	if err := p.clients["juliet/balcony"].Close(); err != nil {
		p.t.Fatal(err)
	}
	p.heard("romeo/orchard")
}

func (p *play) romeo(body string) {
	p.t.Helper()
	p.send("romeo/orchard", "<message type='chat' to='juliet@example.com'><body>"+body+"</body></message>")
	p.heard("romeo/orchard")
}

// publishes gives the id of a publish request, which must hold so.
func (p *play) publishes(c *edgetest.Component, with ...string) string {
	p.t.Helper()
	st, err := c.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	text := edgetest.Text(st)
	for _, w := range append(with, "iq type=set id=push-", " from=example.com to=push.example.com <pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>"+
		"<field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>") {
		if !strings.Contains(text, w) {
			p.t.Errorf("no %q in %s", w, text)
		}
	}
	return st.ID
}

func summary(name, value string) string {
	return "<field var='" + name + "'><value>" + value + "</value></field>"
}

func result(id string) string {
	return "<iq type='result' id='" + id + "' from='push.example.com' to='example.com'/>"
}

func pushError(id, kind, condition string) string {
	return "<iq type='error' id='" + id + "' from='push.example.com' to='example.com'><error type='" + kind + "'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
}

func (p *play) outcomes(outcome string, n int) {
	p.t.Helper()
	edgetest.WaitFor(p.t, outcome, func() bool {
		families, err := p.metrics.Gather()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "rollcall_push_requests_total" && m.GetLabel()[0].GetValue() == outcome {
					return int(m.GetCounter().GetValue()) == n
				}
			}
		}
		return false
	})
}

func (p *play) noPushes() {
	p.t.Helper()
	edgetest.WaitFor(p.t, "nothing is to be told", func() bool {
		return p.house.Pushes() == 0
	})
}

func TestPush(t *testing.T) {
	t.Run("7 publish, and the result", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes(pushForm)
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("wherefore")
		id := p.publishes(c, summary("message-count", "1"), summary("last-message-sender", "romeo@example.com/orchard"),
			"</item></publish><publish-options>"+pushForm+"</publish-options></pubsub>")
		p.says(c, result(id))
		p.outcomes("acknowledged", 1)
		p.outcomes("sent", 1)
		p.noPushes()
		if before := p.pings(c, componentDomain); len(before) > 0 {
			t.Error(before)
		}
	})
	t.Run("9 what a message says is told only if that is configured", func(t *testing.T) {
		for _, body := range []bool{false, true} {
			o := pushEdge("e1")
			o.Push.Body = body
			p := newPlay(t, o)
			p.pushes("")
			c := p.connects(p.edge, componentDomain, componentSecret)
			p.romeo("a &lt; b")
			st, err := c.Next()
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(string(st.Inner), summary("last-message-body", "a &lt; b")); told != body ||
				strings.Contains(string(st.Inner), "a &lt; b") != body || strings.Contains(string(st.Inner), "publish-options") {
				t.Error(body, string(st.Inner))
			}
		}
	})
	t.Run("what waits while the component is away goes together", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		for _, body := range []string{"one", "two", "three"} {
			p.romeo(body)
		}
		c := p.connectsUnread(p.edge)
		p.says(c, result(p.publishes(c, summary("message-count", "3"))))
		p.outcomes("acknowledged", 1)
		p.noPushes()
	})
	t.Run("what comes while one is on its way goes after it", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("one")
		first := p.publishes(c, summary("message-count", "1"))
		p.romeo("two")
		p.romeo("three")
		if before := p.pings(c, componentDomain); len(before) > 0 {
			t.Error(before)
		}
		p.says(c, result(first))
		second := p.publishes(c, summary("message-count", "3"))
		if second == first {
			t.Error("the same id for something else")
		}
		p.says(c, result(second))
		p.noPushes()
	})
	t.Run("no answer: the same again", func(t *testing.T) {
		o := pushEdge("e1")
		o.Push.AnswerIn = 30 * time.Millisecond
		p := newPlay(t, o)
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("one")
		first := p.publishes(c)
		if second := p.publishes(c); second != first {
			t.Errorf("%s, then %s", first, second)
		}
	})
	t.Run("the edge is gone: another sends the same", func(t *testing.T) {
		o := pushEdge("e1")
		p := newPlay(t, o)
		e2 := p.second(pushEdge("e2"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("one")
		first := p.publishes(c)
		c.Conn.Close()
		edgetest.WaitFor(t, "its edge knows that it is gone", func() bool { return p.house.Holder(componentDomain) == "" })
		p.house.Unclaim()
		c = p.connectsUnread(e2)
		if second := p.publishes(c); second != first {
			t.Errorf("%s, then %s", first, second)
		}
	})
	for _, kind := range []string{"wait resource-constraint", "cancel internal-server-error", "cancel service-unavailable"} {
		t.Run("7.1 passing error "+kind, func(t *testing.T) {
			p := newPlay(t, pushEdge("e1"))
			p.pushes("")
			c := p.connects(p.edge, componentDomain, componentSecret)
			p.romeo("one")
			typ, condition, _ := strings.Cut(kind, " ")
			first := p.publishes(c)
			p.says(c, pushError(first, typ, condition))
			second := p.publishes(c)
			if second != first {
				t.Errorf("%s, then %s", first, second)
			}
			p.says(c, result(second))
			p.outcomes("retried", 1)
			p.noPushes()
		})
	}
	for _, condition := range []string{"item-not-found", "forbidden", "gone"} {
		t.Run("7.1 disabled by "+condition, func(t *testing.T) {
			p := newPlay(t, pushEdge("e1"))
			p.pushes("")
			c := p.connects(p.edge, componentDomain, componentSecret)
			p.romeo("one")
			p.says(c, pushError(p.publishes(c), "cancel", condition))
			p.outcomes("disabled", 1)
			p.noPushes()
			p.romeo("two")
			if before := p.pings(c, componentDomain); len(before) > 0 {
				t.Error(before)
			}
			p.noPushes()
		})
	}
	t.Run("7.1 the account hears that it is disabled", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("one")
		p.says(c, pushError(p.publishes(c), "cancel", "item-not-found"))
		p.outcomes("disabled", 1)
		p.house.Quiet()
		p.dial("juliet/phone")
		p.send("juliet/phone", "<presence/>")
		p.until("juliet/phone", "message from=push.example.com to=juliet@example.com <pubsub xmlns='http://jabber.org/protocol/pubsub' node='n'><affiliation jid='juliet@example.com' affiliation='none'/></pubsub>")
	})
	t.Run("too many errors in a row", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.romeo("one")
		for range 10 {
			p.says(c, pushError(p.publishes(c), "wait", "resource-constraint"))
		}
		p.outcomes("disabled", 1)
		p.noPushes()
	})
	t.Run("8 the service takes nothing any more", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.says(c, "<message from='push.example.com' to='juliet@example.com'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='n'><affiliation jid='juliet@example.com' affiliation='none'/></pubsub></message>")
		p.pings(c, componentDomain)
		disabled := 0
		for _, e := range p.house.Events() {
			if d, ok := e.GetKind().(*event.Event_PushDisabled); ok && d.PushDisabled.GetService() == "push.example.com" && d.PushDisabled.GetNode() == "n" {
				disabled++
			}
		}
		if disabled != 1 {
			t.Error(disabled)
		}
		p.romeo("one")
		if n := p.house.Pushes(); n != 0 {
			t.Error(n)
		}
	})
	t.Run("delivered before it was told", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		p.romeo("one")
		p.online("juliet/phone")
		p.heard("juliet/phone")
		c := p.connectsUnread(p.edge)
		p.outcomes("moot", 1)
		p.noPushes()
		if before := p.pings(c, componentDomain); len(before) > 0 {
			t.Error(before)
		}
	})
	t.Run("given up in the end", func(t *testing.T) {
		o := pushEdge("e1")
		o.Push.For = 20 * time.Millisecond
		p := newPlay(t, o)
		p.pushes("")
		p.romeo("one")
		p.outcomes("failed", 1)
		p.noPushes()
	})
	t.Run("what waits is told as fast as it is answered", func(t *testing.T) {
		o := pushEdge("e1")
		o.Push.Every, o.Push.MaxFlying = time.Hour, 2
		p := newPlay(t, o)
		p.online("romeo/orchard")
		names := []string{"a", "b", "c", "d", "e"}
		for _, name := range names {
			p.online(name + "/r")
			p.send(name+"/r", enable("e", "jid='push.example.com' node='n'/>"))
			p.until(name+"/r", "iq type=result id=e")
			if err := p.clients[name+"/r"].Close(); err != nil {
				t.Fatal(err)
			}
			p.send("romeo/orchard", "<message type='chat' to='"+name+"@example.com'><body>hi</body></message>")
		}
		p.heard("romeo/orchard")
		c := p.connectsUnread(p.edge)
		for range names {
			p.says(c, result(p.publishes(c)))
		}
		p.outcomes("acknowledged", len(names))
	})
	t.Run("an answer of another is none", func(t *testing.T) {
		p := newPlay(t, pushEdge("e1"))
		p.pushes("")
		c := p.connects(p.edge, componentDomain, componentSecret)
		other := p.connects(p.edge, "rooms.example.com", "another")
		p.romeo("one")
		id := p.publishes(c)
		p.says(other, strings.ReplaceAll(result(id), "push.example.com", "rooms.example.com"))
		p.says(c, strings.ReplaceAll(result(id), "from='push", "from='x@push"))
		p.pings(other, "rooms.example.com")
		p.pings(c, componentDomain)
		p.outcomes("acknowledged", 0)
		p.says(c, result(id))
		p.outcomes("acknowledged", 1)
	})
}

// connectsUnread is connects of a component to which something is said at once.
func (p *play) connectsUnread(e *edgetest.Edge) *edgetest.Component {
	p.t.Helper()
	c, err := edgetest.ConnectComponent(e.Addr(1).String(), componentDomain, componentSecret)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Conn.Close() })
	return c
}
