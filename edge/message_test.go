package edge_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
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
	t.Run("XEP-0334 hints decide what is kept", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		for _, inner := range []string{"<body>a</body>", "<body>a</body><no-store xmlns='urn:xmpp:hints'/>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"} {
			p.send("juliet/balcony", "<message to='romeo@example.com' type='chat'>"+inner+"</message>")
		}
		p.heard("juliet/balcony")
		var storable []bool
		for _, e := range p.house.Events() {
			if m, ok := e.GetKind().(*event.Event_MessageAccepted); ok {
				storable = append(storable, m.MessageAccepted.GetMessage().GetStorable())
			}
		}
		if len(storable) != 3 || !storable[0] || storable[1] || storable[2] {
			t.Error(storable)
		}
	})
}
