package edge_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// view is what a client made of the presence it was told.
type view map[string]string // full JID -> show

func (v view) hear(st *stanza.Stanza) {
	if st.Kind != stanza.Presence {
		return
	}
	switch st.Type {
	case "":
		p, _ := st.Presence()
		v[st.From] = p.Show
	case "unavailable":
		delete(v, st.From)
	}
}

// After quiet, every client's view equals the fold of the log, whatever went
// before: random people on two edges come, go, subscribe and cancel.
func TestViewsEqualTheFold(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { playRandomly(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func playRandomly(t *testing.T, r *rand.Rand) {
	h, one := edgetest.Start(t, edge.Options{})
	two, err := h.Open(edge.Options{ID: "e2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := two.Stop(); err != nil {
			t.Error(err)
		}
	})
	names := []string{"a", "b", "c", "d"}
	h.Create(names...)
	h.Befriend("a", "b")
	h.Befriend("a", "c")
	h.Befriend("b", "d")
	type player struct {
		c         *edgetest.Client
		view      view
		available bool
	}
	players := make(map[string]*player)
	sync := func(who string, p *player) {
		all, err := p.c.Sync()
		for _, st := range all {
			p.view.hear(st)
		}
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
	}
	t.Cleanup(func() {
		for _, p := range players {
			p.c.Conn.Close()
		}
	})
	for range 120 {
		name := names[r.IntN(len(names))]
		who := fmt.Sprintf("%s/%d", name, r.IntN(2))
		p := players[who]
		if p == nil {
			e := []*edgetest.Edge{one, two}[r.IntN(2)]
			c, err := edgetest.Dial(edgetest.ClientOptions{Address: e.Addr(0).String(), User: name, Resource: who[2:]})
			if err != nil {
				t.Fatal(err)
			}
			players[who] = &player{c: c, view: make(view)}
			continue
		}
		other := names[r.IntN(len(names))] + "@example.com"
		verbs := []string{"subscribe", "subscribed", "unsubscribe", "unsubscribed"}
		switch n := r.IntN(12); {
		case n < 4:
			p.available = true
			err = p.c.Send("<presence><show>" + []string{"away", "chat", "dnd", "xa"}[r.IntN(4)] + "</show></presence>")
		case n == 4:
			p.available = false
			p.view = make(view) // who is not available is told nothing more
			err = p.c.Send("<presence type='unavailable'/>")
			sync(who, p)
			p.view = make(view)
		case n == 5:
			p.c.Conn.Close()
			delete(players, who)
		case n == 6:
			sync(who, p)
		case n == 7:
			err = p.c.Send(rosterSet("r", "<item jid='"+other+"' subscription='remove'/>"))
		default:
			err = p.c.Send("<presence to='" + other + "' type='" + verbs[min(r.IntN(6), 5)%4] + "'/>")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for who, p := range players {
		if !p.available {
			continue
		}
		edgetest.WaitFor(t, who+" sees what is so", func() bool {
			sync(who, p)
			h.Quiet()
			sync(who, p)
			want := h.Sees(strings.SplitN(who, "/", 2)[0])
			if maps.Equal(want, p.view) {
				return true
			}
			if testing.Verbose() {
				t.Logf("%s sees %v, should %v", who, p.view, want)
			}
			return false
		})
	}
}
