package edge_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

func TestMain(m *testing.M) {
	if serveClients() || serveLogins() {
		return
	}
	goleak.VerifyTestMain(m)
}

// play is a house with one edge and clients by name ("juliet/balcony").
type play struct {
	t       testing.TB
	house   *edgetest.House
	edge    *edgetest.Edge
	clients map[string]*edgetest.Client
	asked   int                  // by ask
	aside   []string             // what came before the answers
	metrics *prometheus.Registry // of the edge
}

func newPlay(t testing.TB, o edge.Options) *play {
	t.Helper()
	metrics := prometheus.NewRegistry()
	o.Registry = metrics
	h, e := edgetest.Start(t, o)
	return &play{t: t, house: h, edge: e, clients: make(map[string]*edgetest.Client), metrics: metrics}
}

// dial makes the account if need be and logs in as "name/resource".
func (p *play) dial(who string) *edgetest.Client {
	p.t.Helper()
	name, resource, _ := strings.Cut(who, "/")
	p.create(name)
	c, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: name, Resource: resource})
	if err != nil {
		p.t.Fatal(err)
	}
	p.clients[who] = c
	p.t.Cleanup(func() { c.Conn.Close() })
	return c
}

func (p *play) create(names ...string) {
	for _, name := range names {
		if p.clients[name] == nil {
			p.clients[name] = new(edgetest.Client)
			p.house.Create(name)
		}
	}
}

// online is dial, a roster get and initial presence, with all that comes of
// it read.
func (p *play) online(who string) *edgetest.Client {
	p.t.Helper()
	c := p.dial(who)
	p.send(who, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
	p.until(who, "iq type=result id=roster")
	p.send(who, "<presence/>")
	p.heard(who)
	return c
}

func (p *play) send(who, xml string) {
	p.t.Helper()
	if err := p.clients[who].Send(xml); err != nil {
		p.t.Fatal(err)
	}
}

// heard gives all that the client is told until the house is quiet.
func (p *play) heard(who string) []string {
	p.t.Helper()
	var all []string
	// What the client sent is in the log when it has its answer; what comes
	// of that is with the sessions when the house is quiet.
	for range 2 {
		got, err := p.clients[who].Sync()
		if err != nil {
			p.t.Fatalf("%s: %v", who, err)
		}
		for _, st := range got {
			all = append(all, edgetest.Text(st))
		}
		p.house.Quiet()
	}
	got, err := p.clients[who].Sync()
	if err != nil {
		p.t.Fatalf("%s: %v", who, err)
	}
	for _, st := range got {
		all = append(all, edgetest.Text(st))
	}
	return all
}

// until reads until a stanza begins so.
func (p *play) until(who, prefix string) *stanza.Stanza {
	p.t.Helper()
	var seen []string
	for {
		st, err := p.clients[who].Next()
		if err != nil {
			p.t.Fatalf("%s: %v; seen %q, want %q", who, err, seen, prefix)
		}
		text := edgetest.Text(st)
		if strings.HasPrefix(text, prefix) {
			return st
		}
		seen = append(seen, text)
	}
}

// expect compares what a client heard with what it must have heard, in any
// order, by the beginnings of the stanzas.
func (p *play) expect(who string, want ...string) {
	p.t.Helper()
	got := p.heard(who)
	left := append([]string(nil), got...)
next:
	for _, w := range want {
		for i, g := range left {
			if strings.HasPrefix(g, w) {
				left = append(left[:i], left[i+1:]...)
				continue next
			}
		}
		p.t.Errorf("%s did not hear %q; heard %q", who, w, got)
	}
	if len(left) > 0 {
		p.t.Errorf("%s heard %q too", who, left)
	}
}

// ends reads to the end of the stream and gives the stream error's condition.
func (p *play) ends(who string) string {
	p.t.Helper()
	all, err := p.clients[who].Rest()
	if err != nil {
		p.t.Errorf("%s: stream not closed: %v", who, err)
	}
	for _, st := range all {
		if st.Is(stanza.NSStreams, "error") {
			for c := range stanza.Children(st.Inner) {
				return c.Local()
			}
		}
	}
	return ""
}

// metric gives a counter of the edge.
func metric(p *play, name string) int { return int(value(p.metrics, name)) }
