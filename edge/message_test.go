package edge_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
)

func delivered(p *play) (n int) {
	for _, e := range p.house.Events() {
		if e.GetDelivered() != nil {
			n++
		}
	}
	return n
}

func TestMessages(t *testing.T) {
	t.Run("5.1 to a bare JID: all resources, one Delivered", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("romeo/orchard")
		p.online("romeo/street")
		p.heard("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message to='romeo@example.com' type='chat' id='m1' xml:lang='en'><body>wherefore?</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.com' id='forged'/></message>")
		p.heard("juliet/balcony")
		for _, who := range []string{"romeo/orchard", "romeo/street"} {
			heard := p.heard(who)
			if len(heard) != 1 || !strings.HasPrefix(heard[0], "message type=chat id=m1 from=juliet@example.com/balcony to=romeo@example.com <body>wherefore?</body><stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.com' id='") || strings.Contains(heard[0], "forged") {
				t.Errorf("%s: %q", who, heard)
			}
		}
		if n := delivered(p); n != 1 {
			t.Errorf("%d Delivered", n)
		}
	})
	t.Run("8.5.2.2.1 nobody there: the inbox, with a delay", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message to='romeo@example.com/x' type='chat'><body>1</body></message><message to='romeo@example.com'><body>2</body></message>")
		p.heard("juliet/balcony")
		p.dial("romeo/orchard")
		p.send("romeo/orchard", "<presence/>")
		for _, body := range []string{"1", "2"} {
			st := p.until("romeo/orchard", "message ")
			if got := string(st.Inner); !strings.HasPrefix(got, "<body>"+body+"</body>") || !strings.Contains(got, "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='") {
				t.Error(got)
			}
		}
		p.heard("romeo/orchard")
		if n := delivered(p); n != 2 {
			t.Errorf("%d Delivered", n)
		}
	})
	for _, c := range []struct{ name, stanza, want string }{
		{"8.5.1 no such account", "<message id='x' to='nobody@example.com'><body>x</body></message>", "from=nobody@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"10.4 another domain", "<message id='x' to='a@example.net'/>", "from=a@example.net to=juliet@example.com/balcony <error type='cancel'><remote-server-not-found"},
		{"the server itself", "<message id='x' to='example.com'/>", "from=example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable"},
		{"RFC 6120 8.3.3.8 malformed address", "<message id='x' to='a@b@c'/>", "from=a@b@c to=juliet@example.com/balcony <error type='modify'><jid-malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.dial("juliet/balcony")
			p.send("juliet/balcony", c.stanza)
			p.expect("juliet/balcony", "message type=error id=x "+c.want)
		})
	}
	t.Run("RFC 6120 8.3.1 an error is not answered with an error", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message type='error' to='a@example.net'/><presence type='error' to='@'/><iq type='error' id='a' to='a@example.net/b'/>")
		p.expect("juliet/balcony")
	})
	t.Run("10.3.1 without a to: for oneself", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.send("juliet/balcony", "<message><body>note</body></message>")
		p.expect("juliet/balcony", "message from=juliet@example.com/balcony to=juliet@example.com <body>note")
	})
	t.Run("the log is away", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.create("romeo")
		p.house.Refuse(errors.New("away"))
		p.send("juliet/balcony", "<message id='x' to='romeo@example.com'><body>x</body></message>")
		p.expect("juliet/balcony", "message type=error id=x from=romeo@example.com to=juliet@example.com/balcony <error type='wait'>")
	})
	// What waits is told by storable, what archives may keep by archive.
	for _, c := range []struct {
		name, inner       string
		storable, archive bool
	}{
		{"XEP-0334 no hint", "<body>a</body>", true, true},
		{"XEP-0334 4.1 no-permanent-store", "<body>a</body><no-permanent-store xmlns='urn:xmpp:hints'/>", true, false},
		{"XEP-0334 4.2 no-store", "<body>a</body><no-store xmlns='urn:xmpp:hints'/>", false, false},
		{"XEP-0334 4.2 no-store counts before store", "<body>a</body><store xmlns='urn:xmpp:hints'/><no-store xmlns='urn:xmpp:hints'/>", false, false},
		{"XEP-0334 4.3 no-copy keeps nothing from the archive", "<body>a</body><no-copy xmlns='urn:xmpp:hints'/>", true, true},
		{"XEP-0334 4.4 store", "<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", true, true},
		{"XEP-0334 of a message inside", "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><no-store xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/></message></forwarded>", true, true},
		{"XEP-0085 lone chat state", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", false, false},
		{"XEP-0308 correction", "<body>a</body><replace id='m' xmlns='urn:xmpp:message-correct:0'/>", true, true},
		{"XEP-0424 retraction", "<retract id='m' xmlns='urn:xmpp:message-retract:1'/>", true, true},
		{"XEP-0444 reactions", "<reactions id='m' xmlns='urn:xmpp:reactions:0'><reaction>a</reaction></reactions>", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.create("romeo")
			p.dial("juliet/balcony")
			p.send("juliet/balcony", "<message to='romeo@example.com' type='chat'>"+c.inner+"</message>")
			p.heard("juliet/balcony")
			n := 0
			for _, e := range p.house.Events() {
				m := e.GetMessageAccepted().GetMessage()
				if m == nil {
					m = e.GetMessageSent().GetMessage()
				}
				if m == nil {
					continue
				}
				if n++; m.GetStorable() != c.storable || (m.GetArchive() == event.Archive_ARCHIVE_YES) != c.archive || account.Archived(m) != c.archive {
					t.Error(m)
				}
			}
			if n != 2 {
				t.Errorf("%d messages in the histories", n)
			}
		})
	}
}
