package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// A client whose capabilities have these features, by a hash that is made up:
// it is asked, and believed for its session alone.
func (p *play) wanting(who string, features ...string) *edgetest.Client {
	p.t.Helper()
	c := p.online(who)
	p.want(who, features...)
	p.heard(who)
	return c
}

// want has an online client announce features, and answer what they are.
func (p *play) want(who string, features ...string) {
	p.t.Helper()
	p.asked++
	p.send(who, fmt.Sprintf("<presence><c xmlns='http://jabber.org/protocol/caps' hash='made-up' node='urn:client' ver='%d'/></presence>", p.asked))
	st := p.until(who, "iq type=get id=caps-")
	if want := fmt.Sprintf("<query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#%d'/>", p.asked); string(st.Inner) != want || st.From != "example.com" {
		p.t.Fatalf("asked from %s: %s", st.From, st.Inner)
	}
	answer := "<iq type='result' id='" + st.ID + "' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'>"
	for _, f := range features {
		answer += "<feature var='" + f + "'/>"
	}
	p.send(who, answer+"</query></iq>")
}

func news(from, to, inside string) string {
	return "message type=headline from=" + from + "@example.com to=" + strings.Replace(to, "/", "@example.com/", 1) + " <event xmlns='" + nsPubSub + "#event'>" + inside + "</event>"
}

// newsIn gives the news among what a client heard.
func newsIn(heard []string) (all []string) {
	for _, h := range heard {
		if strings.HasPrefix(h, "message type=headline ") {
			all = append(all, h)
		}
	}
	return all
}

// hears reads what the client has been sent and compares the news in it.
func (p *play) hears(who string, want ...string) {
	p.t.Helper()
	got := newsIn(p.heard(who))
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = got[i] == want[i]
	}
	if !ok {
		p.t.Errorf("%s heard\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestNewsOfNodes(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "romeo", "nurse", "tybalt")
	p.house.Befriend("juliet", "romeo")
	p.house.Befriend("juliet", "tybalt")
	p.wanting("juliet/balcony", "mood+notify", "secret+notify")
	p.wanting("juliet/chamber", "tune+notify")
	p.wanting("romeo/orchard", "mood+notify", "secret+notify", "x")
	p.wanting("romeo/phone", "tune+notify")
	p.wanting("nurse/home", "mood+notify", "secret+notify")
	p.online("tybalt/street") // wants nothing
	everybody := []string{"juliet/chamber", "romeo/phone", "nurse/home", "tybalt/street"}

	// XEP-0163, section 4.3: who sees the account and announces node+notify,
	// its own resources too, and the publishing one.
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result ")
	for _, who := range []string{"juliet/balcony", "romeo/orchard"} {
		want := news("juliet", who, "<items node='mood'>"+item("1", mood)+"</items>")
		if who == "juliet/balcony" {
			if got := newsIn(append(p.aside, p.heard(who)...)); len(got) != 1 || got[0] != want {
				t.Errorf("%s heard %q", who, got)
			}
			continue
		}
		p.hears(who, want)
	}
	for _, who := range everybody {
		p.hears(who)
	}
	// What is the owner's alone is told to nobody else.
	p.asks("juliet/chamber", "set", "", publish("secret", "1", mood, "access_model", "whitelist"), "result ")
	p.hears("romeo/orchard")
	p.hears("nurse/home")
	p.hears("juliet/balcony", news("juliet", "juliet/balcony", "<items node='secret'>"+item("1", mood)+"</items>"))
	// XEP-0060, 7.2.2.1: a retraction if that is asked for; 8.5.2 and 8.4.2.
	retract := func(id, notify string) string {
		return pubsub("<retract node='mood'" + notify + "><item id='" + id + "'/></retract>")
	}
	p.asks("juliet/chamber", "set", "", retract("1", ""), "result ")
	p.hears("romeo/orchard")
	p.asks("juliet/chamber", "set", "", publish("mood", "2", mood), "result ")
	p.asks("juliet/chamber", "set", "", retract("2", " notify='true'"), "result ")
	p.asks("juliet/chamber", "set", "", retract("2", " notify='true'"), failure("cancel", "item-not-found"))
	p.asks("juliet/chamber", "set", "", owner("<purge node='mood'/>"), "result ")
	p.asks("juliet/chamber", "set", "", owner("<delete node='mood'/>"), "result ")
	p.hears("romeo/orchard",
		news("juliet", "romeo/orchard", "<items node='mood'>"+item("2", mood)+"</items>"),
		news("juliet", "romeo/orchard", "<items node='mood'><retract id='2'/></items>"),
		news("juliet", "romeo/orchard", "<purge node='mood'/>"),
		news("juliet", "romeo/orchard", "<delete node='mood'/>"))
	// Who is not available, or not admitted any more, hears nothing.
	p.heard("juliet/balcony")
	p.send("juliet/balcony", "<presence type='unavailable'/>")
	p.heard("juliet/balcony")
	p.send("juliet/chamber", "<presence to='romeo@example.com' type='unsubscribed'/>")
	p.heard("juliet/chamber")
	p.asks("juliet/chamber", "set", "", publish("mood", "3", mood), "result ")
	p.hears("juliet/balcony")
	p.hears("romeo/orchard")
	for _, who := range everybody {
		p.hears(who)
	}
}

// lastOf gives the news among what a client hears until a last item has come.
func (p *play) lastOf(who string, want ...string) {
	p.t.Helper()
	left := make(map[string]bool)
	for _, w := range want {
		left[w] = true
	}
	for len(left) > 0 {
		st := p.until(who, "message type=headline ")
		got, ok := cutDelay(edgetest.Text(st))
		if !ok || !left[got] {
			p.t.Fatalf("%s heard %s (delayed: %v)", who, got, ok)
		}
		delete(left, got)
	}
	p.hears(who)
}

// cutDelay cuts the delay stamp off, if there is one.
func cutDelay(text string) (string, bool) {
	before, _, ok := strings.Cut(text, "<delay xmlns='urn:xmpp:delay'")
	return before, ok
}

func TestLastItemsOnPresence(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "romeo", "nurse")
	p.house.Befriend("juliet", "romeo")
	p.dial("juliet/balcony")
	for _, m := range []string{
		publish("mood", "1", mood), publish("mood", "2", mood), publish("tune", "1", mood, "access_model", "open"),
		publish("secret", "1", mood, "access_model", "whitelist"), publish("quiet", "1", mood, "send_last_published_item", "never"),
		publish("empty", "1", mood), pubsub("<retract node='empty'><item id='1'/></retract>"),
	} {
		p.asks("juliet/balcony", "set", "", m, "result ")
	}
	all := []string{"mood+notify", "tune+notify", "secret+notify", "quiet+notify", "empty+notify"}
	last := func(who, node, id string) string {
		return news("juliet", who, "<items node='"+node+"'>"+item(id, mood)+"</items>")
	}
	// XEP-0163, section 4.3.4: of contacts, what may be read; of oneself all.
	p.online("romeo/orchard")
	p.want("romeo/orchard", all...)
	p.lastOf("romeo/orchard", last("romeo/orchard", "mood", "2"), last("romeo/orchard", "tune", "1"))
	p.online("juliet/chamber")
	p.want("juliet/chamber", all...)
	p.lastOf("juliet/chamber", last("juliet/chamber", "mood", "2"), last("juliet/chamber", "tune", "1"), last("juliet/chamber", "secret", "1"))
	// A stranger gets nothing, also of what is open.
	p.online("nurse/home")
	p.want("nurse/home", all...)
	p.hears("nurse/home")
	// Subsequent presence is no reason to tell it again, initial presence is.
	p.send("romeo/orchard", "<presence><show>away</show></presence>")
	p.hears("romeo/orchard")
	p.send("romeo/orchard", "<presence type='unavailable'/>")
	p.heard("romeo/orchard")
	p.send("romeo/orchard", "<presence/>")
	p.lastOf("romeo/orchard", last("romeo/orchard", "mood", "2"), last("romeo/orchard", "tune", "1"))
	// Who wants more is told of that.
	p.online("romeo/phone")
	p.want("romeo/phone", "tune+notify")
	p.lastOf("romeo/phone", last("romeo/phone", "tune", "1"))
	p.want("romeo/phone", "tune+notify", "mood+notify")
	p.lastOf("romeo/phone", last("romeo/phone", "mood", "2"))
	// A new contact's last items come when it lets the client see it.
	p.send("nurse/home", "<presence to='juliet@example.com' type='subscribe'/>")
	p.heard("nurse/home")
	p.send("juliet/balcony", "<presence to='nurse@example.com' type='subscribed'/>")
	p.heard("juliet/balcony")
	p.lastOf("nurse/home", last("nurse/home", "mood", "2"), last("nurse/home", "tune", "1"))
}

// features gives the stream features after authentication.
func (p *play) features(name string) []byte {
	p.t.Helper()
	p.create(name)
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: name, Unbound: true})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Conn.Close()
	return c.Features
}

// Nobody hears, or reads, what a policy keeps from it (XEP-0163, section 4.3.3;
// XEP-0191, section 3.2; XEP-0186).
func TestPoliciesHoldForNodes(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "romeo", "nurse")
	p.house.Befriend("juliet", "romeo")
	p.house.Befriend("juliet", "nurse")
	p.online("juliet/balcony")
	p.wanting("romeo/orchard", "mood+notify")
	p.wanting("nurse/home", "mood+notify")
	const juliet = "juliet@example.com"
	const last = "<query xmlns='jabber:iq:last'/>"
	told := func(who, id string) string {
		return news("juliet", who, "<items node='mood'>"+item(id, mood)+"</items>")
	}
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result ")
	p.asks("juliet/balcony", "set", "", publish("open", "1", mood, "access_model", "open"), "result ")
	p.asks("juliet/balcony", "set", "", "<vCard xmlns='vcard-temp'><FN>J</FN></vCard>", "result ")
	p.hears("romeo/orchard", told("romeo/orchard", "1"))
	p.hears("nurse/home", told("nurse/home", "1"))

	// Blocked: not a word, and every question is refused alike.
	p.asks("juliet/balcony", "set", "", "<block xmlns='urn:xmpp:blocking'><item jid='romeo@example.com'/></block>", "result ")
	p.asks("juliet/balcony", "set", "", publish("mood", "2", mood), "result ")
	p.hears("romeo/orchard")
	p.hears("nurse/home", told("nurse/home", "2"))
	for _, q := range []string{items("mood"), items("open"), "<vCard xmlns='vcard-temp'/>", last} {
		p.asks("romeo/orchard", "get", juliet, q, failure("cancel", "service-unavailable"))
	}
	for _, q := range []string{"items", "info"} {
		p.asks("romeo/orchard", "get", juliet, "<query xmlns='http://jabber.org/protocol/disco#"+q+"'/>", failure("cancel", "service-unavailable"))
	}
	p.send("romeo/orchard", "<presence type='unavailable'/>")
	p.heard("romeo/orchard")
	p.send("romeo/orchard", "<presence/>")
	p.hears("romeo/orchard")
	// Who blocks somebody does not hear of it either, and cannot ask.
	p.asks("nurse/home", "set", "", "<block xmlns='urn:xmpp:blocking'><item jid='"+juliet+"'/></block>", "result ")
	p.asks("juliet/balcony", "set", "", publish("mood", "3", mood), "result ")
	p.hears("nurse/home")
	p.asks("nurse/home", "get", juliet, items("mood"), failure("cancel", "not-acceptable"))
	// Unblocked, news come again.
	p.asks("juliet/balcony", "set", "", "<unblock xmlns='urn:xmpp:blocking'/>", "result ")
	p.heard("romeo/orchard")
	p.asks("juliet/balcony", "set", "", publish("mood", "4", mood), "result ")
	p.hears("romeo/orchard", told("romeo/orchard", "4"))
	p.asks("romeo/orchard", "get", juliet, last, "result <query xmlns='jabber:iq:last' seconds='0'/>")

	// Invisible: neither what it publishes nor when it was there tells of it.
	p.asks("juliet/balcony", "set", "", "<invisible xmlns='urn:xmpp:invisible:1'/>", "result ")
	p.asks("juliet/balcony", "set", "", publish("mood", "5", mood), "result ")
	p.hears("romeo/orchard")
	p.asks("romeo/orchard", "get", juliet, last, failure("auth", "forbidden"))
}

// A session that goes on at another edge wants what it wanted, and hears what
// it missed.
func TestNewsAfterResumptionElsewhere(t *testing.T) {
	p := newPlay(t, edge.Options{})
	two := p.second(edge.Options{})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	p.dial("juliet/balcony")
	p.online("romeo/orchard")
	if err := p.house.Learn(t.Context(), "sha-1", "v", []string{"mood+notify"}); err != nil {
		t.Fatal(err)
	}
	id := p.enable("romeo/orchard")
	p.send("romeo/orchard", "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:exodus' ver='v'/></presence>")
	p.heard("romeo/orchard")
	p.breaks("romeo/orchard")
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result ")
	if st := p.comeBack(two, "romeo/orchard", id, 0); st.Local != "resumed" {
		t.Fatal(edgetest.Text(st))
	}
	said := func(id string) string {
		return news("juliet", "romeo/orchard", "<items node='mood'>"+item(id, mood)+"</items>")
	}
	p.until("romeo/orchard", said("1"))
	p.asks("juliet/balcony", "set", "", publish("mood", "2", mood), "result ")
	p.until("romeo/orchard", said("2"))
}
