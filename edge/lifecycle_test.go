package edge_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// count gives how many events of a kind are in the log.
func (p *play) count(kind string) (n int) {
	for _, e := range p.house.Events() {
		if strings.Contains(e.String(), kind+":") {
			n++
		}
	}
	return n
}

func TestAnswersAcknowledge(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("romeo")
	p.dial("juliet/balcony")
	p.house.Freeze(true)
	p.send("juliet/balcony", "<message id='m' to='romeo@example.com'><body>x</body></message><iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq><iq type='get' id='bad'/>")
	// The error needs no append before it, and shows that the ping was read.
	st, err := p.clients["juliet/balcony"].Next()
	if err != nil || st.ID != "bad" {
		t.Fatalf("%v %v: the ping was answered before the message was stored", st, err)
	}
	p.house.Freeze(false)
	p.until("juliet/balcony", "iq type=result id=ping")
	if p.count("message_accepted") != 1 {
		t.Error("acknowledged, but not in the log")
	}
}

func TestManyOutstanding(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("romeo")
	c := p.dial("juliet/balcony")
	p.house.Freeze(true)
	sent := make(chan error, 1)
	const n = 2000
	go func() {
		sent <- c.Send(strings.Repeat("<message to='romeo@example.com'><body>x</body></message>", n))
	}()
	p.house.Freeze(false)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	p.heard("juliet/balcony")
	if got := p.count("message_accepted"); got != n {
		t.Errorf("%d of %d", got, n)
	}
}

func TestLease(t *testing.T) {
	t.Run("nothing is acknowledged without it", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		p.edge.SetValid(false)
		p.send("juliet/balcony", "<message to='romeo@example.com'><body>x</body></message><iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")
		edgetest.WaitFor(t, "stored", func() bool { return p.count("message_accepted") == 1 })
		p.send("juliet/balcony", "<iq type='get' id='bad'/>")
		if st, err := p.clients["juliet/balcony"].Next(); err != nil || st.ID != "bad" {
			t.Fatal(st, err)
		}
		p.edge.SetValid(true)
		p.until("juliet/balcony", "iq type=result id=ping")
	})
	t.Run("held too long", func(t *testing.T) {
		p := newPlay(t, edge.Options{HoldFor: time.Millisecond})
		p.create("romeo")
		p.dial("juliet/balcony")
		p.edge.SetValid(false)
		p.send("juliet/balcony", "<message id='x' to='romeo@example.com'><body>x</body></message>")
		p.until("juliet/balcony", "message type=error id=x from=romeo@example.com to=juliet@example.com/balcony <error type='wait'><resource-constraint")
		p.edge.SetValid(true)
	})
	t.Run("lost: all sessions end, nothing is said in their name", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.edge.Lose()
		if c := p.ends("juliet/balcony"); c != "reset" {
			t.Error(c)
		}
		p.clients["juliet/balcony"].Conn.Close()
		if err := p.edge.Wait(); !errors.Is(err, edge.ErrLost) {
			t.Error(err)
		}
		if n := p.count("resource_closed"); n != 0 {
			t.Errorf("%d farewells", n)
		}
	})
}

func TestStop(t *testing.T) {
	p := friends(t)
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.heard("juliet/balcony")
	go p.edge.Stop()
	for _, who := range []string{"juliet/balcony", "romeo/orchard"} {
		if c := p.ends(who); c != "system-shutdown" {
			t.Error(who, c)
		}
		p.clients[who].Conn.Close()
	}
	if err := p.edge.Wait(); err != nil {
		t.Error(err)
	}
	if n := p.count("resource_closed"); n != 2 {
		t.Errorf("%d farewells", n)
	}
}

func TestClose(t *testing.T) {
	t.Run("RFC 6120 4.4 closing handshake", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		if err := p.clients["juliet/balcony"].Close(); err != nil {
			t.Error(err)
		}
		edgetest.WaitFor(t, "its end is in the log", func() bool { return p.count("resource_closed") == 1 })
	})
	for _, c := range []struct{ name, sent, want string }{
		{"RFC 6120 4.9.3.13 not well-formed", "<message><a></b></message>", "not-well-formed"},
		{"RFC 6120 11.1 comment", "<!-- x -->", "restricted-xml"},
		{"RFC 6120 4.9.3.24 unknown element", "<x xmlns='jabber:client'/>", "unsupported-stanza-type"},
		{"RFC 6120 4.9.3.24 unknown namespace", "<x xmlns='urn:x'/>", "unsupported-stanza-type"},
		{"RFC 6120 13.12 too large", "<message><body>" + strings.Repeat("x", 300<<10) + "</body></message>", "policy-violation"},
		{"RFC 6120 13.12 too deep", "<message>" + strings.Repeat("<a>", 100), "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.dial("juliet/balcony")
			go p.clients["juliet/balcony"].Send(c.sent)
			if got := p.ends("juliet/balcony"); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	t.Run("RFC 6120 7.1 a stanza before the resource is bound", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("juliet")
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: "juliet", Unbound: true})
		if err != nil {
			t.Fatal(err)
		}
		p.clients["x"] = c
		p.send("x", "<presence/>")
		if got := p.ends("x"); got != "not-authorized" {
			t.Error(got)
		}
		c.Conn.Close()
	})
}

func TestKeptPresence(t *testing.T) {
	p := newPlay(t, edge.Options{RetryEvery: 10 * time.Millisecond})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	p.online("romeo/orchard")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	p.house.Refuse(errors.New("away"))
	p.send("juliet/balcony", "<presence id='1'><show>away</show></presence><presence id='2'><show>dnd</show></presence>")
	p.expect("juliet/balcony", "presence type=error id=1", "presence type=error id=2")
	p.house.Refuse(nil)
	if st := p.until("romeo/orchard", "presence id=2 from=juliet@example.com/balcony"); string(st.Inner) != "<show>dnd</show>" {
		t.Errorf("%s", st.Inner)
	}
}

func TestWhiteSpaceToTheSilent(t *testing.T) {
	p := newPlay(t, edge.Options{IdlePing: 10 * time.Millisecond})
	c := p.dial("juliet/balcony")
	buf := make([]byte, 8)
	if n, err := c.Conn.Read(buf); err != nil || strings.Trim(string(buf[:n]), " ") != "" {
		t.Errorf("%q %v", buf[:n], err)
	}
	p.heard("juliet/balcony")
}
