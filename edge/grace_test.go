package edge_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// second opens another edge in the house.
func (p *play) second(o edge.Options) *edgetest.Edge {
	p.t.Helper()
	o.ID = "e2"
	e, err := p.house.Open(o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		p.house.Freeze(false)
		if err := e.Stop(); err != nil {
			p.t.Error(err)
		}
	})
	return e
}

// breaks has a client's connection break, and waits until its edge knows.
func (p *play) breaks(who string) {
	p.t.Helper()
	n := metric(p, "rollcall_edge_detached_total")
	p.clients[who].Conn.Close()
	edgetest.WaitFor(p.t, "its edge knows that it broke", func() bool { return metric(p, "rollcall_edge_detached_total") == n+1 })
}

// dialAt is dial at an edge.
func (p *play) dialAt(e *edgetest.Edge, who string) {
	p.t.Helper()
	name, resource, _ := strings.Cut(who, "/")
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: e.Addr(0).String(), User: name, Resource: resource})
	if err != nil {
		p.t.Fatal(err)
	}
	p.clients[who] = c
	p.t.Cleanup(func() { c.Conn.Close() })
}

func TestGrace(t *testing.T) {
	const said = "<presence><show>away</show><status>x</status><priority>3</priority><c xmlns='http://jabber.org/protocol/caps' ver='1'/></presence>"
	start := func(t *testing.T, grace time.Duration) (*play, [2]*edgetest.Edge) {
		p := newPlay(t, edge.Options{Grace: grace})
		two := p.second(edge.Options{Grace: grace})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", said)
		p.heard("juliet/balcony")
		p.until("romeo/orchard", "presence from=juliet@example.com/balcony")
		return p, [2]*edgetest.Edge{p.edge, two}
	}
	for i := range 2 {
		t.Run(fmt.Sprintf("who comes back in time to edge %d is not noticed", i+1), func(t *testing.T) {
			p, edges := start(t, time.Minute)
			for range 3 {
				p.breaks("juliet/balcony")
				p.expect("romeo/orchard")
				p.dialAt(edges[i], "juliet/balcony")
				p.expect("romeo/orchard")
				p.send("juliet/balcony", strings.Replace(said, "<presence>", "<presence id='another'>", 1))
				// Whom it follows, a worker tells in its own time.
				for missing := []string{" from=romeo@example.com/orchard ", " from=juliet@example.com/balcony "}; len(missing) > 0; {
					st, err := p.clients["juliet/balcony"].Next()
					if err != nil {
						t.Fatalf("who is back does not see %q: %v", missing, err)
					}
					missing = slices.DeleteFunc(missing, func(from string) bool { return strings.Contains(edgetest.Text(st)+" ", from) })
				}
				p.heard("juliet/balcony")
				p.expect("romeo/orchard")
				if edges[0] != edges[i] {
					break // its counters are not looked at
				}
			}
			if n := p.count("resource_closed"); n != 0 {
				t.Errorf("%d farewells", n)
			}
			p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
			p.heard("juliet/balcony")
			p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd")
		})
	}
	t.Run("who comes back as something else is seen as that", func(t *testing.T) {
		p, edges := start(t, time.Minute)
		p.breaks("juliet/balcony")
		p.dialAt(edges[1], "juliet/balcony")
		p.send("juliet/balcony", "<presence/>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com")
	})
	t.Run("who stays away is unavailable, once", func(t *testing.T) {
		p, _ := start(t, 30*time.Millisecond)
		p.breaks("juliet/balcony")
		p.until("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("who comes back and says nothing is unavailable, once", func(t *testing.T) {
		p, edges := start(t, 300*time.Millisecond)
		p.breaks("juliet/balcony")
		p.dialAt(edges[1], "juliet/balcony")
		p.until("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard")
		if n := p.count("presence_unavailable"); n != 1 || p.count("resource_closed") != 0 {
			t.Errorf("%d ends of presence", n)
		}
	})
	t.Run("a clean end is seen at once", func(t *testing.T) {
		p, _ := start(t, time.Minute)
		if err := p.clients["juliet/balcony"].Close(); err != nil {
			t.Fatal(err)
		}
		p.until("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("messages wait for who is away", func(t *testing.T) {
		p, edges := start(t, time.Minute)
		p.breaks("juliet/balcony")
		p.send("romeo/orchard", "<message id='1' to='juliet@example.com'><body>x</body></message><message id='2' type='chat' to='juliet@example.com/balcony'><body>x</body></message>")
		p.heard("romeo/orchard")
		if n := delivered(p); n != 0 {
			t.Errorf("%d Delivered to nobody", n)
		}
		p.dialAt(edges[1], "juliet/balcony")
		p.send("juliet/balcony", said)
		var got []string
		for _, text := range p.heard("juliet/balcony") {
			if strings.HasPrefix(text, "message ") {
				got = append(got, strings.Fields(text)[1]+strings.Fields(text)[2])
			}
		}
		if fmt.Sprint(got) != "[type=chatid=2 id=1from=romeo@example.com/orchard]" {
			t.Error(got)
		}
		if n := delivered(p); n != 2 {
			t.Errorf("%d Delivered", n)
		}
	})
	t.Run("who is away makes room for who comes", func(t *testing.T) {
		p := newPlay(t, edge.Options{Grace: time.Minute, MaxResources: 2})
		p.dial("juliet/one")
		p.dial("juliet/two")
		p.breaks("juliet/one")
		p.dial("juliet/three")
		if n := p.count("resource_closed"); n != 1 {
			t.Errorf("%d ended", n)
		}
		p.heard("juliet/two")
	})
}
