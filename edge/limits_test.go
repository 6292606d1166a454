package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A client that floods is not read faster than it may send, so that a quiet one
// is served: while the quiet one gets its answers, the flood gets no further
// than its burst and a little.
func TestAFloodSlowsNobody(t *testing.T) {
	const burst = 1000
	p := newPlay(t, edge.Options{Limits: edge.Limits{StanzaRate: 1, StanzaBurst: burst}})
	p.create("nurse")
	flood := p.dial("tybalt/square")
	p.dial("juliet/balcony")
	sent := make(chan error, 1)
	go func() {
		stanzas := strings.Repeat("<message to='nurse@example.com'><body>x</body></message>", 200)
		var err error
		for n := 0; n < 1000 && err == nil; n++ {
			err = flood.Send(stanzas)
		}
		sent <- err
	}()
	edgetest.WaitFor(t, "the flood has used up its burst", func() bool { return p.count("message_accepted") >= burst })
	for range burst - 100 {
		if _, err := p.clients["juliet/balcony"].Sync(); err != nil {
			t.Fatal(err)
		}
	}
	// One a second, for as long as a slow machine takes for those.
	if n := p.count("message_accepted"); n > burst+100 {
		t.Errorf("%d of the flood were taken", n)
	}
	flood.Conn.Close()
	if err := <-sent; err == nil {
		t.Error("all of the flood was taken from the client")
	}
}

func TestAFloodOfBytesIsNotRead(t *testing.T) {
	p := newPlay(t, edge.Options{Limits: edge.Limits{ByteRate: 100, ByteBurst: 20000}})
	p.create("nurse")
	flood := p.dial("tybalt/square")
	sent := make(chan error, 1)
	go func() {
		var err error
		for n := 0; n < 1000 && err == nil; n++ {
			err = flood.Send("<message to='nurse@example.com'><body>" + strings.Repeat("x", 900) + "</body></message>" + strings.Repeat(" ", 100<<10))
		}
		sent <- err
	}()
	edgetest.WaitFor(t, "something is taken", func() bool { return p.count("message_accepted") > 0 })
	p.dial("juliet/balcony")
	for range 200 { // not 100 bytes each
		if _, err := p.clients["juliet/balcony"].Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.count("message_accepted"); n > 25 {
		t.Errorf("%d were taken", n)
	}
	flood.Conn.Close()
	if err := <-sent; err == nil {
		t.Error("all of the flood was taken from the client")
	}
}

func TestAFloodWithoutAnEndIsEnded(t *testing.T) {
	p := newPlay(t, edge.Options{Limits: edge.Limits{StanzaRate: 1000, StanzaBurst: 10, Patience: 50 * time.Millisecond}})
	p.create("nurse")
	flood := p.dial("tybalt/square")
	go func() {
		for flood.Send(strings.Repeat("<message to='nurse@example.com'><body>x</body></message>", 100)) == nil {
		}
	}()
	if got := p.ends("tybalt/square"); got != "policy-violation" {
		t.Error(got)
	}
	flood.Conn.Close()
}

func TestRequestsInFlight(t *testing.T) {
	p := friends(t)
	limited, err := p.house.Open(edge.Options{ID: "e2", Limits: edge.Limits{Asking: 3}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { limited.Stop() })
	p.online("romeo/orchard")
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: limited.Addr(0).String(), User: "juliet", Resource: "balcony"})
	if err != nil {
		t.Fatal(err)
	}
	p.clients["juliet/balcony"] = c
	t.Cleanup(func() { c.Conn.Close() })
	ask := func(id string) string {
		return "<iq type='get' id='" + id + "' to='romeo@example.com/orchard'><x xmlns='urn:x'/></iq>"
	}
	for i := range 5 {
		p.send("juliet/balcony", ask(fmt.Sprint(i)))
	}
	const refused = "iq type=error id=%s from=romeo@example.com/orchard to=juliet@example.com/balcony <error type='wait'><resource-constraint"
	p.expect("juliet/balcony", fmt.Sprintf(refused, "3"), fmt.Sprintf(refused, "4"))
	// An answer makes room for another request.
	p.until("romeo/orchard", "iq type=get id=1")
	p.send("romeo/orchard", "<iq type='result' id='1' to='juliet@example.com/balcony'/>")
	p.heard("romeo/orchard")
	p.expect("juliet/balcony", "iq type=result id=1")
	p.send("juliet/balcony", ask("5")+ask("6"))
	p.expect("juliet/balcony", fmt.Sprintf(refused, "6"))
	// Its own requests count likewise.
	p.send("juliet/balcony", rosterSet("7", "<item jid='nurse@example.com'/>"))
	p.expect("juliet/balcony", "iq type=error id=7 to=juliet@example.com/balcony <error type='wait'><resource-constraint")
}

// A session more than an account may have on all edges together is ended once
// it reads its roster.
func TestResourcesOnAllEdges(t *testing.T) {
	p := newPlay(t, edge.Options{MaxResources: 2})
	other, err := p.house.Open(edge.Options{ID: "e2", MaxResources: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Stop() })
	p.online("juliet/balcony")
	p.online("juliet/chamber")
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: other.Addr(0).String(), User: "juliet", Resource: "garden"})
	if err != nil {
		t.Fatal(err)
	}
	p.clients["juliet/garden"] = c
	t.Cleanup(func() { c.Conn.Close() })
	p.send("juliet/garden", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	if got := p.ends("juliet/garden"); got != "policy-violation" {
		t.Error(got)
	}
	p.heard("juliet/balcony")
	// One leaves, another may come.
	if err := p.clients["juliet/chamber"].Close(); err != nil {
		t.Fatal(err)
	}
	p.heard("juliet/balcony")
	if c, err = edgetest.Dial(edgetest.ClientOptions{Address: other.Addr(0).String(), User: "juliet", Resource: "garden"}); err != nil {
		t.Fatal(err)
	}
	p.clients["juliet/garden"] = c
	p.send("juliet/garden", "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>")
	p.until("juliet/garden", "iq type=result id=r")
	if st, err := c.Sync(); err != nil {
		t.Error(st, err)
	}
}

func TestStanzaSize(t *testing.T) {
	p := newPlay(t, edge.Options{MaxStanza: 20000})
	p.create("romeo")
	p.dial("juliet/balcony")
	p.send("juliet/balcony", "<message to='romeo@example.com'><body>"+strings.Repeat("x", 19000)+"</body></message>")
	p.expect("juliet/balcony")
	if n := p.count("message_accepted"); n != 1 {
		t.Errorf("%d", n)
	}
	go p.clients["juliet/balcony"].Send("<message to='romeo@example.com'><body>" + strings.Repeat("x", 20000) + "</body></message>")
	if got := p.ends("juliet/balcony"); got != string(stanza.PolicyViolation) {
		t.Error(got)
	}
}
