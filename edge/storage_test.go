package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// ask sends an iq and gives its answer.
func (p *play) ask(who, kind, to, payload string) string {
	p.t.Helper()
	p.asked++
	id := fmt.Sprintf("ask-%d", p.asked)
	if to != "" {
		to = " to='" + to + "'"
	}
	p.send(who, "<iq type='"+kind+"' id='"+id+"'"+to+">"+payload+"</iq>")
	for {
		st, err := p.clients[who].Next()
		if err != nil {
			p.t.Fatalf("%s: %v", who, err)
		}
		if st.Local == "iq" && st.ID == id {
			return st.Type + " " + string(st.Inner)
		}
		p.aside = append(p.aside, edgetest.Text(st))
	}
}

// asks is ask, and compares the beginning of the answer.
func (p *play) asks(who, kind, to, payload, want string) {
	p.t.Helper()
	if got := p.ask(who, kind, to, payload); !strings.HasPrefix(got, want) {
		p.t.Errorf("%s %s %s\ngot  %s\nwant %s", who, kind, payload, got, want)
	}
}

func failure(kind, condition string) string {
	return "error <error type='" + kind + "'><" + condition + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'"
}

func TestVCard(t *testing.T) {
	p := newPlay(t, edge.Options{MaxPayload: 200})
	p.dial("juliet/balcony")
	p.dial("romeo/orchard")
	const empty, card = "<vCard xmlns='vcard-temp'/>", "<vCard xmlns='vcard-temp'><FN>Juliet &lt;3</FN><PHOTO><BINVAL>AAAA</BINVAL></PHOTO></vCard>"
	// XEP-0054, section 3.1: none yet.
	p.asks("juliet/balcony", "get", "", empty, failure("cancel", "item-not-found"))
	// 3.2: set, and read at once what was written.
	p.send("juliet/balcony", "<iq type='set' id='v'>"+card+"</iq>")
	p.asks("juliet/balcony", "get", "juliet@example.com", empty, "result "+card)
	p.asks("juliet/balcony", "get", "", empty, "result "+card)
	// 3.3: another's, read by whoever asks.
	p.asks("romeo/orchard", "get", "juliet@example.com", empty, "result "+card)
	// Who has none and who is not there are the same.
	for _, to := range []string{"romeo@example.com", "nobody@example.com"} {
		p.asks("juliet/balcony", "get", to, empty, failure("cancel", "service-unavailable"))
	}
	// 3.2: only one's own can be set.
	p.asks("romeo/orchard", "set", "juliet@example.com", card, failure("auth", "forbidden"))
	p.asks("juliet/balcony", "set", "", "<vCard xmlns='vcard-temp'>"+strings.Repeat("x", 200)+"</vCard>", failure("modify", "not-acceptable"))
	p.asks("juliet/balcony", "get", "", empty, "result "+card)
}

func TestPrivateXML(t *testing.T) {
	p := newPlay(t, edge.Options{MaxStored: 2})
	p.dial("juliet/balcony")
	p.dial("romeo/orchard")
	query := func(inside string) string { return "<query xmlns='jabber:iq:private'>" + inside + "</query>" }
	// XEP-0049: what was never set is given back empty.
	p.asks("juliet/balcony", "get", "", query("<exodus xmlns='exodus:prefs'/>"), "result "+query("<exodus xmlns='exodus:prefs'/>"))
	const notes = "<storage xmlns='storage:rosternotes'><note jid='r@x'>He is 'dear'</note></storage>"
	stored := strings.ReplaceAll(notes, "'dear'", "&apos;dear&apos;")
	p.asks("juliet/balcony", "set", "", query(notes), "result ")
	p.asks("juliet/balcony", "get", "juliet@example.com", query("<storage xmlns='storage:rosternotes'/>"), "result "+query(stored))
	// Names differ by namespace and by local name.
	p.asks("juliet/balcony", "get", "", query("<storage xmlns='storage:bookmarks'/>"), "result "+query("<storage xmlns='storage:bookmarks'/>"))
	p.asks("juliet/balcony", "set", "", query("<storage xmlns='storage:bookmarks'/>"), "result ")
	// The bound of what an account keeps; what is there may be replaced.
	p.asks("juliet/balcony", "set", "", query("<a xmlns='b'/>"), failure("wait", "resource-constraint"))
	p.asks("juliet/balcony", "set", "", query("<storage xmlns='storage:rosternotes'/>"), "result ")
	// It is its owner's alone.
	p.asks("romeo/orchard", "get", "juliet@example.com", query("<storage xmlns='storage:bookmarks'/>"), failure("auth", "forbidden"))
	p.asks("romeo/orchard", "set", "juliet@example.com", query("<storage xmlns='storage:bookmarks'/>"), failure("auth", "forbidden"))
	for _, bad := range []string{"", "<a xmlns='b'/><c xmlns='d'/>", "<a/>", "<a xmlns='jabber:client'/>", "<a xmlns='" + strings.Repeat("n", 1030) + "'/>"} {
		p.asks("juliet/balcony", "get", "", query(bad), failure("modify", "not-acceptable"))
	}
}

func TestLastActivity(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "romeo", "nurse")
	p.house.Befriend("juliet", "romeo")
	p.dial("romeo/orchard")
	p.dial("nurse/home")
	p.dial("juliet/balcony")
	const last = "<query xmlns='jabber:iq:last'/>"
	// XEP-0012, section 6: the uptime of the server.
	p.asks("romeo/orchard", "get", "example.com", last, "result <query xmlns='jabber:iq:last' seconds='0'")
	// Section 4: never there since it was made, decades ago in this house.
	if got := p.ask("romeo/orchard", "get", "juliet@example.com", last); !strings.HasPrefix(got, "result ") || strings.Contains(got, "seconds='0'") {
		t.Errorf("never online: %s", got)
	}
	p.online("juliet/chamber")
	p.asks("romeo/orchard", "get", "juliet@example.com", last, "result <query xmlns='jabber:iq:last' seconds='0'/>")
	p.send("juliet/chamber", "<presence type='unavailable'><status>to bed</status></presence>")
	p.heard("juliet/chamber")
	p.asks("romeo/orchard", "get", "juliet@example.com", last, "result <query xmlns='jabber:iq:last' seconds='0'>to bed</query>")
	p.asks("juliet/balcony", "get", "", last, "result <query xmlns='jabber:iq:last' seconds='0'>to bed</query>")
	// Who may not see her presence hears nothing, there or not.
	for _, to := range []string{"juliet@example.com", "nobody@example.com"} {
		p.asks("nurse/home", "get", to, last, failure("auth", "forbidden"))
	}
}

func TestAboutTheServer(t *testing.T) {
	p := newPlay(t, edge.Options{Version: "7.1"})
	p.dial("juliet/balcony")
	// XEP-0092.
	p.asks("juliet/balcony", "get", "example.com", "<query xmlns='jabber:iq:version'/>",
		"result <query xmlns='jabber:iq:version'><name>Rollcall</name><version>7.1</version></query>")
	// XEP-0202.
	p.asks("juliet/balcony", "get", "example.com", "<time xmlns='urn:xmpp:time'/>", "result <time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>20")
	info := p.ask("juliet/balcony", "get", "example.com", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	for _, f := range []string{"jabber:iq:version", "urn:xmpp:time", "jabber:iq:last"} {
		if !strings.Contains(info, "<feature var='"+f+"'/>") {
			t.Errorf("%s is not advertised: %s", f, info)
		}
	}
	info = p.ask("juliet/balcony", "get", "", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	for _, f := range []string{"vcard-temp", "jabber:iq:private", "jabber:iq:last"} {
		if !strings.Contains(info, "<feature var='"+f+"'/>") {
			t.Errorf("%s is not advertised: %s", f, info)
		}
	}
}
