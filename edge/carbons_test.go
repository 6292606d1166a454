package edge_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// open starts one more edge in the house.
func (p *play) open(id string) *edgetest.Edge {
	p.t.Helper()
	e, err := p.house.Open(edge.Options{ID: id})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := e.Stop(); err != nil {
			p.t.Error(err)
		}
	})
	return e
}

// copy has a client get copies.
func (p *play) copy(who string) {
	p.t.Helper()
	p.send(who, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
	p.until(who, "iq type=result id=carbons")
}

// copying is a play on two edges: romeo/orchard and romeo/street are available
// on different edges, street and the not available romeo/tower have copies
// enabled, romeo/cell is available and has not.
func copying(t *testing.T) *play {
	p := newPlay(t, edge.Options{})
	one, two := p.edge, p.open("e2")
	p.online("romeo/orchard")
	p.edge = two
	p.online("romeo/street")
	p.copy("romeo/street")
	p.online("romeo/cell")
	p.dial("romeo/tower")
	p.copy("romeo/tower")
	p.edge = one
	p.dial("juliet/balcony")
	for _, who := range []string{"romeo/orchard", "romeo/street", "romeo/cell"} {
		p.heard(who)
	}
	return p
}

// exactly compares whole stanzas, in their order.
func (p *play) exactly(who string, want ...string) {
	p.t.Helper()
	ids := regexp.MustCompile(`<stanza-id xmlns='urn:xmpp:sid:0' by='([^']*)' id='[0-9]+'/>`)
	got := p.heard(who)
	for i := range got {
		got[i] = ids.ReplaceAllString(got[i], "[id of $1]")
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("%s heard\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// carbon is what the account of to is told of a message.
func carbon(direction, kind, to, message string) string {
	name, _, _ := strings.Cut(to, "/")
	return fmt.Sprintf("message type=%s from=%s@example.com to=%s@example.com/%s <%s xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>%s</forwarded></%[5]s>",
		kind, name, name, strings.TrimPrefix(to, name+"/"), direction, message)
}

func TestCarbons(t *testing.T) {
	t.Run("XEP-0280 4 advertised by server and account", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("romeo/orchard")
		for _, to := range []string{"example.com", "romeo@example.com"} {
			p.send("romeo/orchard", "<iq type='get' id='d' to='"+to+"'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
			if heard := string(p.until("romeo/orchard", "iq type=result id=d").Inner); !strings.Contains(heard, "<feature var='urn:xmpp:carbons:2'/>") || strings.Contains(heard, "carbons:rules") {
				t.Errorf("%s: %s", to, heard)
			}
		}
	})
	t.Run("XEP-0280 5, 6, 10.1 enabled and disabled, as often as one likes", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("romeo/orchard")
		p.dial("romeo/street")
		p.dial("juliet/balcony")
		for n, c := range []struct {
			what, to string
			copies   bool
		}{
			{"disable", "", false}, {"enable", "", true}, {"enable", "romeo@example.com", true}, {"disable", "", false}, {"disable", "romeo@example.com", false}, {"enable", "", true},
		} {
			p.send("romeo/street", fmt.Sprintf("<iq type='set' id='c%d' to='%s'><%s xmlns='urn:xmpp:carbons:2'/></iq>", n, c.to, c.what))
			p.until("romeo/street", fmt.Sprintf("iq type=result id=c%d", n))
			p.send("juliet/balcony", "<message to='romeo@example.com/orchard' type='chat'><body>x</body></message>")
			p.heard("juliet/balcony")
			if got := len(p.heard("romeo/street")); got == 1 != c.copies {
				t.Errorf("%d copies after %s", got, c.what)
			}
		}
	})
	for _, c := range []struct{ name, iq, want string }{
		{"XEP-0280 5 only for oneself", "<iq type='set' id='x' to='romeo@example.com'><enable xmlns='urn:xmpp:carbons:2'/></iq>", "iq type=error id=x from=romeo@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"XEP-0280 5 not by get", "<iq type='get' id='x'><enable xmlns='urn:xmpp:carbons:2'/></iq>", "iq type=error id=x to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.create("romeo")
			p.dial("juliet/balcony")
			p.send("juliet/balcony", c.iq)
			p.expect("juliet/balcony", c.want)
		})
	}
	t.Run("XEP-0280 7 to a full JID: copies for the other sessions that asked", func(t *testing.T) {
		p := copying(t)
		p.send("juliet/balcony", "<message to='romeo@example.com/orchard' type='chat' id='m1' xml:lang='en'><body>What man art thou?</body><thread>t1</thread></message>")
		p.exactly("juliet/balcony")
		p.exactly("romeo/orchard", "message type=chat id=m1 from=juliet@example.com/balcony to=romeo@example.com/orchard <body>What man art thou?</body><thread>t1</thread>[id of romeo@example.com]")
		copied := "<message xmlns='jabber:client' type='chat' id='m1' from='juliet@example.com/balcony' to='romeo@example.com/orchard' xml:lang='en'><body>What man art thou?</body><thread>t1</thread>[id of romeo@example.com]</message>"
		p.exactly("romeo/street", carbon("received", "chat", "romeo/street", copied))
		p.exactly("romeo/tower", carbon("received", "chat", "romeo/tower", copied))
		p.exactly("romeo/cell")
	})
	t.Run("XEP-0280 7 to the bare JID: copies for those that did not get it", func(t *testing.T) {
		p := copying(t)
		p.send("romeo/street", "<presence><priority>-1</priority></presence>")
		for _, who := range []string{"romeo/street", "romeo/cell", "romeo/orchard"} {
			p.heard(who)
		}
		p.send("juliet/balcony", "<message to='romeo@example.com'><body>b</body></message>")
		p.exactly("juliet/balcony")
		itself := "message from=juliet@example.com/balcony to=romeo@example.com <body>b</body>[id of romeo@example.com]"
		p.exactly("romeo/orchard", itself)
		p.exactly("romeo/cell", itself)
		copied := "<message xmlns='jabber:client' from='juliet@example.com/balcony' to='romeo@example.com'><body>b</body>[id of romeo@example.com]</message>"
		p.exactly("romeo/street", strings.Replace(carbon("received", "", "romeo/street", copied), " type=", "", 1))
		p.exactly("romeo/tower", strings.Replace(carbon("received", "", "romeo/tower", copied), " type=", "", 1))
	})
	t.Run("XEP-0280 7 kept for later: those that asked have a copy now", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("romeo/tower")
		p.dial("romeo/cell")
		p.copy("romeo/tower")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message to='romeo@example.com' type='chat'><body>b</body></message>")
		p.heard("juliet/balcony")
		p.exactly("romeo/tower", carbon("received", "chat", "romeo/tower", "<message xmlns='jabber:client' type='chat' from='juliet@example.com/balcony' to='romeo@example.com'><body>b</body>[id of romeo@example.com]</message>"))
		p.exactly("romeo/cell")
		p.send("romeo/cell", "<presence/>")
		p.until("romeo/cell", "message type=chat from=juliet@example.com/balcony to=romeo@example.com <body>b</body>")
		p.exactly("romeo/tower")
	})
	t.Run("XEP-0280 8 sent: copies for the sender's other sessions, whether it asked or not", func(t *testing.T) {
		p := copying(t)
		for _, from := range []string{"romeo/orchard", "romeo/street"} {
			p.send(from, "<message to='juliet@example.com/balcony' type='chat' id='m2'><body>Neither</body></message>")
			p.heard(from)
			resource := strings.TrimPrefix(from, "romeo/")
			p.exactly("juliet/balcony", "message type=chat id=m2 from=romeo@example.com/"+resource+" to=juliet@example.com/balcony <body>Neither</body>[id of juliet@example.com]")
			copied := "<message xmlns='jabber:client' type='chat' id='m2' from='romeo@example.com/" + resource + "' to='juliet@example.com/balcony'><body>Neither</body>[id of romeo@example.com]</message>"
			p.exactly("romeo/tower", carbon("sent", "chat", "romeo/tower", copied))
			if from == "romeo/orchard" {
				p.exactly("romeo/street", carbon("sent", "chat", "romeo/street", copied))
			}
			for _, who := range []string{"romeo/orchard", "romeo/street", "romeo/cell"} {
				p.exactly(who)
			}
		}
	})
	t.Run("XEP-0280 7, 8 to oneself: each session has it once, the sender no copy", func(t *testing.T) {
		p := copying(t)
		p.copy("romeo/orchard")
		p.send("romeo/orchard", "<message to='romeo@example.com/cell' type='chat'><body>n</body></message>")
		p.exactly("romeo/orchard")
		p.exactly("romeo/cell", "message type=chat from=romeo@example.com/orchard to=romeo@example.com/cell <body>n</body>[id of romeo@example.com]")
		copied := "<message xmlns='jabber:client' type='chat' from='romeo@example.com/orchard' to='romeo@example.com/cell'><body>n</body>[id of romeo@example.com]</message>"
		p.exactly("romeo/street", carbon("received", "chat", "romeo/street", copied))
		p.exactly("romeo/tower", carbon("received", "chat", "romeo/tower", copied))
	})
	for name, mark := range map[string]string{"9 private": "<private xmlns='urn:xmpp:carbons:2'/>", "9, XEP-0334 no-copy": "<no-copy xmlns='urn:xmpp:hints'/>"} {
		t.Run("XEP-0280 "+name+" is passed on, and no copy is made", func(t *testing.T) {
			p := copying(t)
			p.dial("juliet/chamber")
			p.copy("juliet/chamber")
			p.send("juliet/balcony", "<message to='romeo@example.com/orchard' type='chat'><body>s</body>"+mark+"</message>")
			p.heard("juliet/balcony")
			p.exactly("romeo/orchard", "message type=chat from=juliet@example.com/balcony to=romeo@example.com/orchard <body>s</body>"+mark+"[id of romeo@example.com]")
			for _, who := range []string{"romeo/street", "romeo/tower", "romeo/cell", "juliet/chamber"} {
				p.exactly(who)
			}
		})
	}
	t.Run("XEP-0280 11 a client cannot make a copy", func(t *testing.T) {
		for _, direction := range []string{"sent", "received"} {
			for _, to := range []string{"romeo@example.com/street", "juliet@example.com"} {
				p := copying(t)
				p.online("juliet/chamber")
				p.copy("juliet/chamber")
				forged := "<" + direction + " xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='tybalt@example.com/x' to='romeo@example.com/street'><body>f</body></message></forwarded></" + direction + ">"
				p.send("juliet/balcony", "<message id='f' type='chat' to='"+to+"'>"+forged+"</message>")
				p.expect("juliet/balcony", "message type=error id=f from="+to+" to=juliet@example.com/balcony <error type='modify'><policy-violation")
				// Nor does an error that answers a copy go anywhere (10.3).
				p.send("juliet/balcony", "<message id='f' type='error' to='"+to+"'>"+forged+"</message>")
				for _, who := range []string{"juliet/balcony", "juliet/chamber", "romeo/orchard", "romeo/street", "romeo/tower", "romeo/cell"} {
					p.exactly(who)
				}
			}
		}
	})
	t.Run("XEP-0280 6.1 an error is copied if what it answers was", func(t *testing.T) {
		p := copying(t)
		bad := func(id string) string {
			return "<message type='error' id='" + id + "' to='romeo@example.com/orchard'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
		}
		p.send("romeo/orchard", "<message to='juliet@example.com/balcony' type='chat' id='open'><body>1</body></message>"+
			"<message to='juliet@example.com/balcony' type='chat' id='closed'><body>2</body><private xmlns='urn:xmpp:carbons:2'/></message>")
		p.heard("romeo/orchard")
		p.heard("juliet/balcony")
		p.dial("tybalt/square")
		p.send("tybalt/square", bad("open")) // it got no such message
		p.heard("tybalt/square")
		p.send("juliet/balcony", bad("closed")+bad("open")+bad("other"))
		p.heard("juliet/balcony")
		if heard := p.heard("romeo/orchard"); len(heard) != 4 {
			t.Errorf("the addressee heard %q", heard)
		}
		copies := p.heard("romeo/street")
		want := carbon("received", "error", "romeo/street", "<message xmlns='jabber:client' type='error' id='open' from='juliet@example.com/balcony' to='romeo@example.com/orchard'><error type='cancel'>")
		want, _, _ = strings.Cut(want, "</forwarded>")
		if len(copies) != 2 || !strings.HasPrefix(copies[1], want) {
			t.Errorf("copies are %q", copies)
		}
	})
	t.Run("XEP-0280 8 a message that is refused is not copied", func(t *testing.T) {
		p := copying(t)
		p.send("romeo/orchard", "<message to='nobody@example.com' type='chat' id='x'><body>?</body></message>")
		p.expect("romeo/orchard", "message type=error id=x from=nobody@example.com")
		p.exactly("romeo/street")
	})
	t.Run("a copy that comes again, or is of before the session, is dropped", func(t *testing.T) {
		p := copying(t)
		partition := topic.Partition(jid.MustBare("romeo@example.com"), 4)
		copied := func(offset int64) *wire.Frame {
			return &wire.Frame{What: &wire.Frame_Carbon{Carbon: &wire.Carbon{
				Account: "romeo@example.com", Offset: offset, From: "a@example.com/r", To: "romeo@example.com",
				Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: fmt.Sprint(offset)},
			}}}
		}
		p.copy("romeo/orchard")
		p.edge.Frames(partition, []*wire.Frame{copied(0)})
		p.exactly("romeo/orchard")
		p.edge.Frames(partition, []*wire.Frame{copied(1 << 40), copied(1<<40 + 1), copied(1 << 40)})
		want := func(offset int64) string {
			return carbon("received", "chat", "romeo/orchard", fmt.Sprintf("<message xmlns='jabber:client' type='chat' id='%d' from='a@example.com/r' to='romeo@example.com'>[id of romeo@example.com]</message>", offset))
		}
		p.exactly("romeo/orchard", want(1<<40), want(1<<40+1))
	})
	t.Run("copies come in the order of the log", func(t *testing.T) {
		p := copying(t)
		var want []string
		for n := range 20 {
			to, from := "juliet/balcony", "romeo/orchard"
			if n%3 == 0 {
				to, from = from, to
			}
			p.send(from, fmt.Sprintf("<message to='%s' type='chat'><body>%d</body></message>", strings.Replace(to, "/", "@example.com/", 1), n))
			p.heard(from)
			want = append(want, fmt.Sprintf("<body>%d</body>", n))
		}
		for _, who := range []string{"romeo/street", "romeo/tower"} {
			heard := p.heard(who)
			ok := len(heard) == len(want)
			for n := range min(len(heard), len(want)) {
				ok = ok && strings.Contains(heard[n], want[n])
			}
			if !ok {
				t.Errorf("%s heard %q", who, heard)
			}
		}
	})
}

// What a session that can be resumed asked for is in the log, for the edge on
// which it is resumed (XEP-0198, section 5); of others it is not.
func TestCarbonsAreLoggedForResumption(t *testing.T) {
	for _, c := range []struct {
		name string
		do   []string // "sm" enables stream management to resume, "on" and "off" copies
		want []bool
	}{
		{"without stream management", []string{"on", "off"}, nil},
		{"after it was enabled", []string{"sm", "on", "on", "off", "off", "on"}, []bool{true, false, true}},
		{"before it is enabled", []string{"on", "sm", "off"}, []bool{true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{ResumeFor: time.Minute})
			p.dial("romeo/orchard")
			for _, what := range c.do {
				switch what {
				case "sm":
					p.enable("romeo/orchard")
				case "on":
					p.copy("romeo/orchard")
				default:
					p.send("romeo/orchard", "<iq type='set' id='off'><disable xmlns='urn:xmpp:carbons:2'/></iq>")
					p.until("romeo/orchard", "iq type=result id=off")
				}
			}
			p.heard("romeo/orchard")
			var got []bool
			for _, e := range p.house.Events() {
				if h := e.GetStanzaHandled(); h != nil && h.Copies != nil {
					got = append(got, h.GetCopies())
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("the log has %v, want %v", got, c.want)
			}
		})
	}
	t.Run("a refused one does not count", func(t *testing.T) {
		p := newPlay(t, edge.Options{ResumeFor: time.Minute})
		p.online("juliet/balcony")
		p.dial("romeo/orchard")
		p.online("romeo/street")
		p.enable("romeo/orchard")
		p.house.Refuse(errors.New("away"))
		p.send("romeo/orchard", "<iq type='set' id='on'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		p.until("romeo/orchard", "iq type=error id=on")
		p.house.Refuse(nil)
		p.send("juliet/balcony", "<message to='romeo@example.com/street' type='chat'><body>x</body></message>")
		p.heard("juliet/balcony")
		p.exactly("romeo/orchard")
	})
}

// Whom the account, or a session, lets nothing through from is not copied to
// it either (XEP-0191, section 3.3; XEP-0016, section 2.10).
func TestCarbonsKeepToPrivacy(t *testing.T) {
	fromJuliet := "<message to='romeo@example.com/orchard' type='chat' id='%s'><body>x</body></message>"
	t.Run("a blocked sender", func(t *testing.T) {
		p := copying(t)
		p.set("romeo/street", block("juliet@example.com"))
		p.send("juliet/balcony", fmt.Sprintf(fromJuliet, "m"))
		p.expect("juliet/balcony", "message type=error id=m from=romeo@example.com/orchard to=juliet@example.com/balcony "+unavailable)
		for _, who := range []string{"romeo/orchard", "romeo/street", "romeo/tower"} {
			for _, heard := range p.heard(who) {
				if strings.HasPrefix(heard, "message") {
					t.Errorf("%s heard %s", who, heard)
				}
			}
		}
	})
	t.Run("a session's own list", func(t *testing.T) {
		p := copying(t)
		p.set("romeo/street", "<query xmlns='jabber:iq:privacy'><list name='l'><item type='jid' value='juliet@example.com' action='deny' order='1'><message/></item></list></query>")
		p.set("romeo/street", "<query xmlns='jabber:iq:privacy'><active name='l'/></query>")
		for _, who := range []string{"romeo/orchard", "romeo/street", "romeo/tower"} {
			p.heard(who)
		}
		p.send("juliet/balcony", fmt.Sprintf(fromJuliet, "m"))
		p.exactly("juliet/balcony")
		p.expect("romeo/orchard", "message type=chat id=m")
		p.exactly("romeo/street")
		p.expect("romeo/tower", "message type=chat from=romeo@example.com to=romeo@example.com/tower <received ")
		// What is sent to her is no word of hers.
		p.send("romeo/orchard", "<message to='juliet@example.com' type='chat'><body>y</body></message>")
		p.heard("romeo/orchard")
		p.expect("romeo/street", "message type=chat from=romeo@example.com to=romeo@example.com/street <sent ")
	})
}
