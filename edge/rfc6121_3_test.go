package edge_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// pushed tells whether one of what was heard is a roster push of an item that
// begins so.
func pushed(heard []string, item string) bool {
	for _, h := range heard {
		if strings.HasPrefix(h, "iq type=set") && strings.Contains(h, "<item "+item) {
			return true
		}
	}
	return false
}

func TestRFC6121_3_4_PreApproval(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='subscribed'/>")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='none' approved='true'/>") {
		t.Errorf("%q", heard)
	}
	p.expect("romeo/orchard")
	p.send("juliet/balcony", "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
	if st := p.until("juliet/balcony", "iq type=result id=g"); !strings.Contains(string(st.Inner), "approved='true'") {
		t.Errorf("%s", st.Inner)
	}
	// The request is answered without her, and he sees her at once.
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.expect("romeo/orchard", "iq type=set id=push-1", "iq type=set id=push-2",
		"presence type=subscribed from=juliet@example.com to=romeo@example.com",
		"presence from=juliet@example.com/balcony to=romeo@example.com")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='from'/>") {
		t.Errorf("%q", heard)
	}
}

func TestRFC6121_3_4_PreApprovalCancelled(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='subscribed'/>")
	p.expect("juliet/balcony", "iq type=set id=push-1")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='unsubscribed'/>")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='none'/>") {
		t.Errorf("%q", heard)
	}
	p.expect("romeo/orchard")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.expect("romeo/orchard", "iq type=set id=push-1")
	p.expect("juliet/balcony", "presence type=subscribe from=romeo@example.com")
}

func TestRFC6121_3_1_2_Addresses(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	for _, c := range []struct{ name, to, want string }{
		{"malformed", "@example.com", "presence type=error id=s from=@example.com to=romeo@example.com/orchard <error type='modify'><jid-malformed"},
		{"another domain", "juliet@example.net", "presence type=error id=s from=juliet@example.net to=romeo@example.com/orchard <error type='cancel'><remote-server-not-found"},
		{"the server", "example.com", "presence type=error id=s from=example.com to=romeo@example.com/orchard <error type='cancel'><service-unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.send("romeo/orchard", "<presence to='"+c.to+"' type='subscribe' id='s'/>")
			p.expect("romeo/orchard", c.want)
		})
	}
	t.Run("oneself", func(t *testing.T) {
		for _, verb := range []string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"} {
			p.send("romeo/orchard", "<presence to='romeo@example.com' type='"+verb+"'/><presence to='Romeo@example.com/orchard' type='"+verb+"'/>")
		}
		p.expect("romeo/orchard")
	})
	t.Run("full JIDs are bare JIDs", func(t *testing.T) {
		p.send("romeo/orchard", "<presence to='Juliet@example.com/nowhere' type='subscribe'/>")
		p.expect("romeo/orchard", "iq type=set id=push-1")
		p.expect("juliet/balcony", "presence type=subscribe from=romeo@example.com to=juliet@example.com")
		p.send("juliet/balcony", "<presence to='romeo@example.com/nowhere' type='subscribed'/>")
		p.expect("juliet/balcony", "iq type=set id=push-1")
		p.expect("romeo/orchard", "iq type=set id=push-2", "presence type=subscribed from=juliet@example.com to=romeo@example.com",
			"presence from=juliet@example.com/balcony")
		p.send("juliet/balcony", "<presence to='romeo@example.com/nowhere' type='unsubscribed'/>")
		p.expect("juliet/balcony", "iq type=set id=push-2")
		p.expect("romeo/orchard", "iq type=set id=push-3", "presence type=unsubscribed from=juliet@example.com to=romeo@example.com",
			"presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("no such account", func(t *testing.T) {
		p.send("romeo/orchard", "<presence to='nobody@example.com' type='subscribe'/>")
		p.expect("romeo/orchard", "iq type=set id=push-4", "iq type=set id=push-5", "presence type=unsubscribed from=nobody@example.com to=romeo@example.com")
		for _, verb := range []string{"unsubscribe", "unsubscribed"} { // nothing is there to be ended
			p.send("romeo/orchard", "<presence to='nobody@example.com' type='"+verb+"'/>")
		}
		p.expect("romeo/orchard")
	})
}

func TestRFC6121_3_1_3_Redelivery(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet")
	p.online("romeo/orchard")
	p.send("romeo/orchard", "<presence id='ask' xml:lang='it' to='juliet@example.com' type='subscribe'><status>ciao</status><status xml:lang='en'>hello</status><nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick></presence>")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'><status>again</status></presence>")
	p.heard("romeo/orchard")
	const request = "presence type=subscribe id=ask from=romeo@example.com to=juliet@example.com <status>ciao</status><status xml:lang='en'>hello</status><nick xmlns='http://jabber.org/protocol/nick'>Romeo</nick>"
	// Once to each resource that becomes available, as it was first sent.
	for range 2 {
		for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
			p.dial(who)
			p.expect(who)
			p.send(who, "<presence/>")
			if got := edgetest.Text(p.until(who, "presence type=subscribe")); got != request {
				t.Errorf("%s heard %s", who, got)
			}
			for _, h := range p.heard(who) {
				if strings.Contains(h, "type=subscribe") {
					t.Errorf("%s heard it again: %s", who, h)
				}
			}
			p.send(who, "<presence><show>away</show></presence>") // not initial
			p.expect(who, "presence from=juliet@example.com/"+who[len("juliet/"):])
		}
		p.heard("juliet/balcony")
		for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
			if err := p.clients[who].Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Until it is answered.
	p.online("juliet/balcony")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='unsubscribed'/>")
	p.heard("juliet/balcony")
	p.dial("juliet/chamber")
	p.send("juliet/chamber", "<presence/>")
	for _, h := range p.heard("juliet/chamber") {
		if strings.Contains(h, "subscribe") {
			t.Errorf("after the denial: %s", h)
		}
	}
	if heard := p.heard("romeo/orchard"); len(heard) != 2 || !strings.HasPrefix(heard[0], "presence type=unsubscribed from=juliet@example.com") {
		t.Errorf("%q", heard)
	}
}

func TestRFC6121_3_1_3_AutoReply(t *testing.T) {
	p := friends(t)
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.heard("juliet/balcony")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	// He has it: nothing changes on his side, and she is not asked.
	p.expect("romeo/orchard")
	p.expect("juliet/balcony")
}

// Two resources answer one request: the first answer in the log counts, and
// both sides agree on what comes of the second.
func TestRFC6121_3_1_5_TwoResourcesAnswer(t *testing.T) {
	for _, c := range []struct{ first, second, juliet, romeo string }{
		{"subscribed", "subscribed", "from", "to"},
		{"subscribed", "unsubscribed", "none", "none"},
		{"unsubscribed", "unsubscribed", "", "none"},
		{"unsubscribed", "subscribed", "none' approved='true", "none"},
	} {
		t.Run(c.first+" then "+c.second, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.online("juliet/balcony")
			p.online("juliet/chamber")
			p.heard("juliet/balcony")
			p.online("romeo/orchard")
			p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
			p.heard("romeo/orchard")
			for _, who := range []string{"juliet/balcony", "juliet/chamber"} {
				p.expect(who, "presence type=subscribe from=romeo@example.com")
			}
			// Neither knows of the other's answer.
			p.house.Freeze(true)
			p.send("juliet/balcony", "<presence to='romeo@example.com' type='"+c.first+"'/><iq type='get' id='bad'/>")
			p.until("juliet/balcony", "iq type=error id=bad") // it was read
			p.send("juliet/chamber", "<presence to='romeo@example.com' type='"+c.second+"'/><iq type='get' id='bad'/>")
			p.until("juliet/chamber", "iq type=error id=bad")
			p.house.Freeze(false)
			p.heard("juliet/chamber")
			p.heard("juliet/balcony")
			p.heard("romeo/orchard")
			p.rosterHas("juliet/balcony", "romeo", c.juliet)
			p.rosterHas("romeo/orchard", "juliet", c.romeo)
		})
	}
}

// rosterHas checks an item's subscription; without any it must not be there.
func (p *play) rosterHas(who, contact, subscription string) {
	p.t.Helper()
	answer, _ := p.rosterGet(who, "")
	item := "<item jid='" + contact + "@example.com'"
	if want := item + " subscription='" + subscription + "'"; strings.Contains(answer, item) != (subscription != "") || subscription != "" && !strings.Contains(answer, want) {
		p.t.Errorf("%s: %s, want %s", who, answer, want)
	}
}

// A request, or its answer, and its end cross on the way: both sides agree
// afterwards, whichever is first in the log.
func TestRFC6121_3_3_RequestAndCancelCross(t *testing.T) {
	for _, c := range []struct {
		name          string
		romeo, juliet string // what each sends before hearing of the other
		first         string // who is in the log first
		to, from      string // his item for her, her item for him
	}{
		{"the request is withdrawn while it is approved", "unsubscribe", "subscribed", "romeo", "none", "none' approved='true"},
		{"the request is withdrawn when it is approved", "unsubscribe", "subscribed", "juliet", "none", "none"},
		{"the request is withdrawn while it is denied", "unsubscribe", "unsubscribed", "romeo", "none", ""},
		{"he asks again while she denies", "subscribe", "unsubscribed", "romeo", "none", ""},
		{"he asks again when she has denied", "subscribe", "unsubscribed", "juliet", "none' ask='subscribe", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.online("juliet/balcony")
			p.online("romeo/orchard")
			p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
			p.heard("romeo/orchard")
			p.heard("juliet/balcony")
			p.house.Freeze(true)
			cross := map[string]string{
				"romeo/orchard":  "<presence to='juliet@example.com' type='" + c.romeo + "'/><iq type='get' id='bad'/>",
				"juliet/balcony": "<presence to='romeo@example.com' type='" + c.juliet + "'/><iq type='get' id='bad'/>",
			}
			order := []string{"romeo/orchard", "juliet/balcony"}
			if c.first == "juliet" {
				order = []string{"juliet/balcony", "romeo/orchard"}
			}
			for _, who := range order {
				p.send(who, cross[who])
				p.until(who, "iq type=error id=bad")
			}
			p.house.Freeze(false)
			p.heard("juliet/balcony")
			p.heard("romeo/orchard")
			p.rosterHas("romeo/orchard", "juliet", c.to)
			p.rosterHas("juliet/balcony", "romeo", c.from)
		})
	}
}

// What must stay below a limit of the account is refused with an error of its
// own, and goes nowhere.
func TestRFC6121_3_1_2_RosterFull(t *testing.T) {
	p := newPlay(t, edge.Options{Limits: edge.Limits{Roster: 1, Pending: 1}})
	p.online("nurse/hall")
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.online("tybalt/square")
	p.send("romeo/orchard", rosterSet("a", "<item jid='juliet@example.com'/>")+rosterSet("b", "<item jid='nurse@example.com'/>"))
	p.expect("romeo/orchard", "iq type=set id=push-1", "iq type=result id=a", "iq type=error id=b to=romeo@example.com/orchard <error type='modify'><policy-violation")
	p.send("romeo/orchard", "<presence id='c' to='nurse@example.com' type='subscribe'/>")
	p.expect("romeo/orchard", "presence type=error id=c from=nurse@example.com to=romeo@example.com/orchard <error type='modify'><policy-violation")
	p.expect("nurse/hall")
	// 3.1.3, security warning: no more requests wait than may.
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.heard("romeo/orchard")
	p.send("tybalt/square", "<presence to='juliet@example.com' type='subscribe'/>")
	p.heard("tybalt/square")
	p.expect("juliet/balcony", "presence type=subscribe from=romeo@example.com")
}

// A request that comes while a new resource's roster is still being read is
// given to it once.
func TestRFC6121_3_1_3_OnlyOnce(t *testing.T) {
	p := newPlay(t, edge.Options{RetryEvery: 5 * time.Millisecond})
	p.online("romeo/orchard")
	p.dial("juliet/balcony")
	p.house.RefuseRosters(errors.New("away"))
	p.send("juliet/balcony", "<presence/>")
	p.heard("juliet/balcony")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.heard("romeo/orchard")
	p.expect("juliet/balcony")
	p.house.RefuseRosters(nil)
	p.until("juliet/balcony", "presence type=subscribe from=romeo@example.com to=juliet@example.com")
	for _, h := range p.heard("juliet/balcony") {
		if strings.Contains(h, "type=subscribe") {
			t.Errorf("again: %s", h)
		}
	}
}
