package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

const sm = "xmlns='urn:xmpp:sm:3'"

// enable enables stream management and gives the id to resume by.
func (p *play) enable(who string) string {
	p.t.Helper()
	p.send(who, "<enable "+sm+" resume='true'/>")
	st := p.until(who, "enabled")
	if st.Attr("resume") != "true" || st.Attr("max") == "" {
		p.t.Fatalf("not resumable: %v", st.Attrs)
	}
	return st.ID
}

// ackOf asks how many stanzas the server has handled.
func (p *play) ackOf(who string) string {
	p.t.Helper()
	p.send(who, "<r "+sm+"/>")
	return p.until(who, "a").Attr("h")
}

// comeBack opens a new stream for the account of who, and asks to resume.
func (p *play) comeBack(e *edgetest.Edge, who, previd string, h int) *stanza.Stanza {
	p.t.Helper()
	name, _, _ := strings.Cut(who, "/")
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: e.Addr(0).String(), User: name, Unbound: true})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Conn.Close() })
	p.clients[who] = c
	p.send(who, fmt.Sprintf("<resume %s h='%d' previd='%s'/>", sm, h, previd))
	st, err := c.Next()
	if err != nil {
		p.t.Fatal(err)
	}
	return st
}

// next reads stanzas up to the n-th, over requests for acknowledgement.
func (p *play) next(who string, n int) (all []string) {
	p.t.Helper()
	for len(all) < n {
		st, err := p.clients[who].Next()
		if err != nil {
			p.t.Fatalf("%s: %v after %q", who, err, all)
		}
		if st.Kind != stanza.Other {
			all = append(all, edgetest.Text(st))
		}
	}
	return all
}

func TestStreamManagement(t *testing.T) {
	t.Run("2 it is offered", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("juliet")
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: "juliet", Unbound: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Conn.Close()
		if !strings.Contains(string(c.Features), "<sm "+sm+"/>") {
			t.Errorf("%s", c.Features)
		}
	})
	t.Run("3 without resume there is no id", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<enable "+sm+"/>")
		if st := p.until("juliet/balcony", "enabled"); st.ID != "" || len(st.Attrs) != 0 {
			t.Error(st.Attrs)
		}
	})
	t.Run("3 max is no more than the client wants", func(t *testing.T) {
		p := newPlay(t, edge.Options{ResumeFor: time.Minute})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<enable "+sm+" resume='1' max='7'/>")
		if st := p.until("juliet/balcony", "enabled"); st.Attr("max") != "7" {
			t.Error(st.Attrs)
		}
	})
	t.Run("3 where the server keeps nothing", func(t *testing.T) {
		p := newPlay(t, edge.Options{ResumeFor: -1})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<enable "+sm+" resume='true'/>")
		if st := p.until("juliet/balcony", "enabled"); st.ID != "" || st.Attr("resume") != "" {
			t.Error(st.Attrs)
		}
	})
	for _, c := range []struct{ name, sent, want string }{
		{"3 a second enable", "<enable " + sm + "/><enable " + sm + "/>", "unexpected-request"},
		{"4 r before enable", "<r " + sm + "/>", "unexpected-request"},
		{"4 a before enable", "<a " + sm + " h='0'/>", "unexpected-request"},
		{"4 a without h", "<enable " + sm + "/><a " + sm + "/>", "bad-request"},
		{"4 h too large to be a count", "<enable " + sm + "/><a " + sm + " h='4294967296'/>", "bad-request"},
		{"5 resume after bind", "<resume " + sm + " h='0' previd='x'/>", "unexpected-request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.dial("juliet/balcony")
			p.send("juliet/balcony", c.sent)
			if st := p.until("juliet/balcony", "failed"); !strings.Contains(string(st.Inner), "<"+c.want+" ") {
				t.Errorf("%s, want %s", st.Inner, c.want)
			}
			p.heard("juliet/balcony") // it is no reason to end the stream
		})
	}
	t.Run("6 more acknowledged than sent", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.enable("juliet/balcony")
		p.heard("juliet/balcony") // three pongs
		p.send("juliet/balcony", "<a "+sm+" h='4'/>")
		all, err := p.clients["juliet/balcony"].Rest()
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		if got := string(all[0].Inner); !strings.Contains(got, "<undefined-condition ") || !strings.Contains(got, "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='4' send-count='3'/>") {
			t.Error(got)
		}
	})
	t.Run("4 h counts stanzas, from enable on", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		p.heard("juliet/balcony")
		p.enable("juliet/balcony")
		if h := p.ackOf("juliet/balcony"); h != "0" {
			t.Error(h)
		}
		p.send("juliet/balcony", "<presence/><message to='romeo@example.com'><body>x</body></message><iq type='get' id='x'/><a "+sm+" h='0'/>")
		if h := p.ackOf("juliet/balcony"); h != "3" {
			t.Error(h)
		}
	})
	t.Run("4 handled means stored", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		c := p.dial("juliet/balcony")
		p.enable("juliet/balcony")
		p.house.Freeze(true)
		p.send("juliet/balcony", "<message id='m' to='romeo@example.com'><body>x</body></message><r "+sm+"/><iq type='get' id='bad'/>")
		// The error needs no append before it, and shows that the r was read.
		if st, err := c.Next(); err != nil || st.ID != "bad" {
			t.Fatalf("%v %v", st, err)
		}
		p.house.Freeze(false)
		if st := p.until("juliet/balcony", "a"); st.Attr("h") != "1" || p.count("message_accepted") != 1 {
			t.Error(st.Attr("h"), p.count("message_accepted"))
		}
	})
	t.Run("4 what could not be stored is handled by an error", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("romeo")
		p.dial("juliet/balcony")
		p.enable("juliet/balcony")
		p.house.Refuse(errors.New("away"))
		p.send("juliet/balcony", "<message id='m' to='romeo@example.com'><body>x</body></message><r "+sm+"/>")
		p.until("juliet/balcony", "message type=error id=m")
		if h := p.until("juliet/balcony", "a").Attr("h"); h != "1" {
			t.Error(h)
		}
	})
	t.Run("4 a message is delivered when the client says so", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("romeo/orchard")
		p.enable("romeo/orchard")
		p.send("romeo/orchard", "<presence/>")
		p.next("romeo/orchard", 1)
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message to='romeo@example.com'><body>x</body></message>")
		p.heard("juliet/balcony")
		p.next("romeo/orchard", 1)
		p.until("romeo/orchard", "r") // it is asked for at once
		p.house.Quiet()
		if n := delivered(p); n != 0 {
			t.Errorf("%d Delivered before the client has said so", n)
		}
		p.send("romeo/orchard", "<a "+sm+" h='2'/>")
		edgetest.WaitFor(t, "Delivered", func() bool { return delivered(p) == 1 })
	})
	t.Run("4 it is asked for what is not acknowledged", func(t *testing.T) {
		p := newPlay(t, edge.Options{IdlePing: 20 * time.Millisecond})
		p.dial("juliet/balcony")
		p.enable("juliet/balcony")
		p.send("juliet/balcony", "<iq type='get' id='x'/>")
		p.until("juliet/balcony", "iq type=error id=x")
		p.until("juliet/balcony", "r") // one stanza alone: after a while
	})
	t.Run("4 an end without acknowledgement leaves the message in the inbox", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("romeo/orchard")
		p.enable("romeo/orchard")
		p.send("romeo/orchard", "<presence/>")
		p.next("romeo/orchard", 1)
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<message to='romeo@example.com'><body>x</body></message>")
		p.heard("juliet/balcony")
		p.next("romeo/orchard", 1)
		if err := p.clients["romeo/orchard"].Close(); err != nil {
			t.Fatal(err)
		}
		edgetest.WaitFor(t, "the end", func() bool { return p.count("resource_closed") == 1 })
		p.dial("romeo/hall")
		p.send("romeo/hall", "<presence/>")
		if st := p.until("romeo/hall", "message "); !strings.Contains(string(st.Inner), "<delay ") {
			t.Errorf("%s", st.Inner)
		}
	})
}

func TestStanzaNumbersAreInTheLog(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("romeo")
	p.dial("juliet/balcony")
	p.send("juliet/balcony", "<presence/>")
	p.heard("juliet/balcony")
	p.enable("juliet/balcony")
	p.send("juliet/balcony", "<iq type='get' id='x'/><presence/><iq type='get' id='x'/>"+
		"<message to='romeo@example.com'><body>x</body></message>"+rosterSet("r", "<item jid='a@example.com'/>"))
	p.heard("juliet/balcony")
	var got []string
	for _, e := range p.house.Events() {
		switch e.GetKind().(type) {
		case *event.Event_PresenceAvailable, *event.Event_MessageAccepted, *event.Event_RosterItemSet:
			got = append(got, fmt.Sprint(e.GetStanza(), "<", e.GetStanzaBefore()))
		}
	}
	if want := "[0<0 2<0 4<2 5<4]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
}

func TestResumption(t *testing.T) {
	open := func(t *testing.T, o edge.Options) (p *play, id string) {
		p = newPlay(t, o)
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.dial("romeo/orchard")
		id = p.enable("romeo/orchard")
		p.send("romeo/orchard", "<presence/>")
		p.next("romeo/orchard", 1)
		return p, id
	}
	away := func(p *play, who string) {
		p.t.Helper()
		n := metric(p, "rollcall_edge_detached_total")
		p.clients[who].Conn.Close()
		edgetest.WaitFor(p.t, "it is away", func() bool { return metric(p, "rollcall_edge_detached_total") == n+1 })
	}
	t.Run("5 what was not acknowledged comes again, in order, and what came since", func(t *testing.T) {
		p, id := open(t, edge.Options{})
		p.dial("juliet/balcony")
		say := func(body string) {
			p.send("juliet/balcony", "<message id='"+body+"' to='romeo@example.com'><body>"+body+"</body></message>")
			p.heard("juliet/balcony")
		}
		say("1")
		say("2")
		p.next("romeo/orchard", 2)
		away(p, "romeo/orchard")
		say("3")
		p.send("juliet/balcony", "<presence><show>away</show></presence><presence><show>dnd</show></presence>")
		p.heard("juliet/balcony")
		if st := p.comeBack(p.edge, "romeo/orchard", id, 2); st.Local != "resumed" || st.Attr("previd") != id || st.Attr("h") != "1" {
			t.Fatal(edgetest.Text(st), st.Attrs)
		}
		got := p.next("romeo/orchard", 3)
		for i, want := range []string{"message id=2", "message id=3", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd"} {
			if !strings.HasPrefix(got[i], want) {
				t.Errorf("%q, want %q", got[i], want)
			}
		}
		p.send("romeo/orchard", "<a "+sm+" h='5'/>")
		edgetest.WaitFor(t, "all are delivered", func() bool { return delivered(p) == 3 })
		p.expect("romeo/orchard")
		if p.count("resource_bound") != 2 || p.count("resource_closed") != 0 {
			t.Error("a resumption is nothing to the log")
		}
	})
	t.Run("5 the client resends what h leaves out", func(t *testing.T) {
		p, id := open(t, edge.Options{})
		p.send("romeo/orchard", "<message id='1' to='juliet@example.com'><body>1</body></message>")
		edgetest.WaitFor(t, "stored", func() bool { return p.count("message_accepted") == 1 })
		p.send("romeo/orchard", "<message id='2' to='juliet@example.com'><body>") // breaks off here
		away(p, "romeo/orchard")
		st := p.comeBack(p.edge, "romeo/orchard", id, 1)
		if st.Attr("h") != "2" {
			t.Fatal(edgetest.Text(st), st.Attrs)
		}
		p.send("romeo/orchard", "<message id='2' to='juliet@example.com'><body>2</body></message>")
		if h := p.ackOf("romeo/orchard"); h != "3" || p.count("message_accepted") != 2 {
			t.Error(h, p.count("message_accepted"))
		}
	})
	t.Run("5 the old stream is still open", func(t *testing.T) {
		p, id := open(t, edge.Options{})
		old := p.clients["romeo/orchard"]
		if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "resumed" {
			t.Fatal(edgetest.Text(st))
		}
		p.clients["old"] = old
		if c := p.ends("old"); c != "conflict" {
			t.Error(c)
		}
		p.expect("romeo/orchard")
	})
	t.Run("5 again and again", func(t *testing.T) {
		p, id := open(t, edge.Options{})
		p.send("romeo/orchard", "<message to='romeo@example.com/orchard'><body>x</body></message>")
		p.next("romeo/orchard", 1)
		for range 5 {
			away(p, "romeo/orchard")
			if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "resumed" || st.Attr("h") != "2" {
				t.Fatal(edgetest.Text(st), st.Attrs)
			}
			if got := p.next("romeo/orchard", 1); !strings.HasPrefix(got[0], "message from=romeo@example.com/orchard") {
				t.Error(got)
			}
		}
		if n := delivered(p); n != 0 {
			t.Errorf("%d Delivered", n)
		}
	})
	t.Run("5 h too high", func(t *testing.T) {
		p, id := open(t, edge.Options{})
		away(p, "romeo/orchard")
		if st := p.comeBack(p.edge, "romeo/orchard", id, 9); !strings.Contains(string(st.Inner), "<handled-count-too-high ") {
			t.Error(edgetest.Text(st))
		}
		if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "resumed" {
			t.Error(edgetest.Text(st))
		}
	})
	for _, c := range []struct {
		name string
		id   func(p *play, id string) string
		do   func(p *play)
	}{
		{"an id that somebody made up", func(p *play, id string) string { return "AAAA" + id[4:] }, func(*play) {}},
		{"another account's id", func(p *play, id string) string { p.dial("juliet/balcony"); return p.enable("juliet/balcony") }, func(*play) {}},
		{"a stream that was closed", func(p *play, id string) string { return id }, func(p *play) {
			p.send("romeo/orchard", "</stream:stream>")
			p.ends("romeo/orchard")
		}},
		{"a resource that was bound anew", func(p *play, id string) string { return id }, func(p *play) {
			p.clients["other"] = p.clients["romeo/orchard"]
			p.dial("romeo/orchard")
			if c := p.ends("other"); c != "conflict" {
				p.t.Error(c)
			}
		}},
	} {
		t.Run("5 item-not-found: "+c.name, func(t *testing.T) {
			p, id := open(t, edge.Options{})
			c.do(p)
			st := p.comeBack(p.edge, "romeo/orchard", c.id(p, id), 1)
			if st.Local != "failed" || !strings.Contains(string(st.Inner), "<item-not-found ") {
				t.Fatal(edgetest.Text(st))
			}
			if err := p.clients["romeo/orchard"].Bind("hall"); err != nil {
				t.Errorf("no resource can be bound after it: %v", err)
			}
		})
	}
	t.Run("5 who stays away is gone, once", func(t *testing.T) {
		p, id := open(t, edge.Options{ResumeFor: 10 * time.Millisecond})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence/>")
		p.until("juliet/balcony", "presence from=romeo@example.com/orchard")
		p.clients["romeo/orchard"].Conn.Close()
		p.until("juliet/balcony", "presence type=unavailable from=romeo@example.com/orchard")
		p.expect("juliet/balcony")
		if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "failed" {
			t.Error(edgetest.Text(st))
		}
	})
	t.Run("4 too much waits for who is away", func(t *testing.T) {
		p, id := open(t, edge.Options{SoftOutbound: 1 << 10, HardOutbound: 4 << 10})
		away(p, "romeo/orchard")
		p.dial("juliet/balcony")
		for range 5 {
			p.send("juliet/balcony", "<message to='romeo@example.com'><body>"+strings.Repeat("x", 1000)+"</body></message>")
		}
		p.heard("juliet/balcony")
		edgetest.WaitFor(t, "the session has ended", func() bool { return p.count("resource_closed") == 1 })
		if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "failed" {
			t.Error(edgetest.Text(st))
		}
		if n := delivered(p); n != 0 {
			t.Errorf("%d of the messages were lost", n)
		}
	})
}

// A client that acknowledges nothing gets no presence beyond the bound, and
// in the end the newest.
func TestPresenceWaitsForAcknowledgements(t *testing.T) {
	p := newPlay(t, edge.Options{SoftOutbound: 2 << 10, HardOutbound: 64 << 10})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	p.dial("romeo/orchard")
	p.enable("romeo/orchard")
	p.send("romeo/orchard", "<presence/>")
	p.next("romeo/orchard", 1)
	p.dial("juliet/balcony")
	for i := range 200 {
		p.send("juliet/balcony", fmt.Sprintf("<presence><status>%d</status></presence>", i))
		p.heard("juliet/balcony") // each goes out by itself
	}
	n := 1
	for {
		st, err := p.clients["romeo/orchard"].Next()
		if err != nil {
			t.Fatal(err)
		}
		if st.Kind == stanza.Presence {
			if n++; strings.Contains(string(st.Inner), "199") {
				break
			}
		} else { // it asks; by now presence waits
			p.send("romeo/orchard", fmt.Sprintf("<a %s h='%d'/>", sm, n))
		}
	}
	if n > 100 {
		t.Errorf("%d presences: nothing was conflated", n)
	}
}
