package edge_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// bodies gives the bodies of the messages in the log, in its order.
func (p *play) bodies() (all []string) {
	for _, e := range p.house.Events() {
		if m := e.GetMessageAccepted(); m != nil {
			all = append(all, m.GetMessage().GetBody())
		}
	}
	return all
}

// resumes comes back to an edge, resends what the client had sent and the
// server says it has not, and gives the h that it got.
func (p *play) resumes(e *edgetest.Edge, who, id string, h int, sent []string) string {
	p.t.Helper()
	st := p.comeBack(e, who, id, h)
	if st.Local != "resumed" || st.Attr("previd") != id {
		p.t.Fatalf("not resumed: %s", edgetest.Text(st))
	}
	var handled int
	fmt.Sscan(st.Attr("h"), &handled)
	for _, xml := range sent[handled:] {
		p.send(who, xml)
	}
	return st.Attr("h")
}

func TestResumptionElsewhere(t *testing.T) {
	const resumable = "romeo/orchard"
	sent := []string{"<presence><show>away</show></presence>"}
	for i := range 6 {
		sent = append(sent, fmt.Sprintf("<message id='%d' to='juliet@example.com'><body>%d</body></message>", i, i))
	}
	start := func(t *testing.T) (p *play, two *edgetest.Edge, id string) {
		p = newPlay(t, edge.Options{})
		two = p.second(edge.Options{})
		p.create("juliet", "romeo", "nurse", "tybalt")
		p.house.Befriend("juliet", "romeo")
		p.house.Befriend("nurse", "romeo")
		p.dialAt(two, "juliet/balcony")
		p.send("juliet/balcony", "<presence/>")
		p.dialAt(two, "nurse/hall")
		p.send("nurse/hall", "<presence/>")
		p.dialAt(two, "nurse/kitchen")
		p.send("nurse/kitchen", "<presence/>")
		for _, who := range []string{"juliet/balcony", "nurse/hall", "nurse/kitchen"} {
			p.heard(who)
		}
		p.dial(resumable)
		p.send(resumable, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
		p.until(resumable, "iq type=result id=roster")
		id = p.enable(resumable)
		for _, xml := range sent[:4] {
			p.send(resumable, xml)
		}
		edgetest.WaitFor(t, "stored", func() bool { return len(p.bodies()) == 3 })
		p.house.Quiet()
		p.heard("juliet/balcony")
		return p, two, id
	}
	type world struct {
		name  string
		apart func(p *play)
		noise []string // what juliet hears of it
	}
	for _, w := range []world{
		{"of an edge that has it still", func(p *play) { p.breaks(resumable) }, nil},
		{"of an edge that takes it for connected", func(*play) {}, nil},
		{"of an edge that was killed", func(p *play) { p.edge.Kill(); p.house.Quiet() },
			[]string{"presence type=unavailable from=romeo@example.com/orchard", "presence from=romeo@example.com/orchard to=juliet@example.com <show>away"}},
		{"of an edge that has stopped", func(p *play) {
			// Its client reads to the end, as one does that is told to go.
			go p.edge.Stop()
			if c := p.ends(resumable); c != "system-shutdown" {
				p.t.Error(c)
			}
			p.clients[resumable].Conn.Close()
			if err := p.edge.Wait(); err != nil {
				p.t.Error(err)
			}
			p.house.Quiet()
		}, []string{"presence type=unavailable from=romeo@example.com/orchard", "presence from=romeo@example.com/orchard to=juliet@example.com <show>away"}},
	} {
		t.Run("5 "+w.name+": nothing lost, nothing twice", func(t *testing.T) {
			p, two, id := start(t)
			w.apart(p)
			if h := p.resumes(two, resumable, id, 4, sent); h != "4" {
				t.Errorf("handled %s", h)
			}
			if got := strings.Join(p.heard(resumable), "\n"); strings.Contains(got, "error") {
				t.Error(got)
			}
			if got := fmt.Sprint(p.bodies()); got != "[0 1 2 3 4 5]" {
				t.Error(got)
			}
			var heard []string
			for _, text := range p.heard("juliet/balcony") {
				if !strings.HasPrefix(text, "message ") {
					heard = append(heard, text)
				}
			}
			if len(heard) != len(w.noise) {
				t.Fatalf("juliet heard %q", heard)
			}
			for i, prefix := range w.noise {
				if !strings.HasPrefix(heard[i], prefix) {
					t.Errorf("juliet heard %q, want %q", heard[i], prefix)
				}
			}
			// And once more, by the same id, to where it was or stays.
			p.clients[resumable].Conn.Close()
			last := two
			if w.noise == nil {
				last = p.edge
			}
			if st := p.comeBack(last, resumable, id, 9); st.Local != "resumed" || st.Attr("h") == "4" {
				t.Error(edgetest.Text(st), st.Attrs)
			}
		})
	}
	t.Run("5 the client learns what it missed", func(t *testing.T) {
		p, two, id := start(t)
		p.send(resumable, rosterSet("old", "<item jid='mercutio@example.com' name='M'/>"))
		p.until(resumable, "iq type=result id=old")
		p.breaks(resumable)
		p.send("nurse/hall", "<presence type='unavailable'/>") // kitchen stays
		p.send("juliet/balcony", "<message id='m' to='romeo@example.com/orchard'><body>while you were away</body></message><presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.heard("nurse/hall")
		p.dialAt(two, "romeo/desk")
		p.send("romeo/desk", rosterSet("s", "<item jid='mercutio@example.com' subscription='remove'/>")+rosterSet("n", "<item jid='nurse@example.com' name='N'/>"))
		p.heard("romeo/desk")
		p.resumes(two, resumable, id, 4, sent[:5])
		seen, pushes, messages := map[string]string{"juliet@example.com/balcony": "", "nurse@example.com/hall": "", "nurse@example.com/kitchen": "", "romeo@example.com/gone": ""}, []string{}, []string{}
		for range 3 {
			all, err := p.clients[resumable].Sync()
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range all {
				switch {
				case st.Kind == stanza.Presence && st.Type == "unavailable" && !strings.Contains(st.From, "/"):
					maps.DeleteFunc(seen, func(full, _ string) bool { return strings.HasPrefix(full, st.From+"/") })
				case st.Kind == stanza.IQ:
					pushes = append(pushes, string(st.Inner))
				case st.Kind == stanza.Message:
					messages = append(messages, st.ID)
				}
				if st.Kind == stanza.Presence && st.Type == "unavailable" {
					delete(seen, st.From)
				} else if st.Kind == stanza.Presence && st.Type == "" {
					p, _ := st.Presence()
					seen[st.From] = p.Show
				}
			}
			p.house.Quiet()
		}
		if want := p.house.Sees("romeo"); !maps.Equal(seen, want) {
			t.Errorf("sees %v, should %v", seen, want)
		}
		if !slices.Equal(messages, []string{"m"}) {
			t.Errorf("messages %q", messages)
		}
		all := strings.Join(pushes, "\n")
		for _, want := range []string{"jid='mercutio@example.com' subscription='remove'", "jid='nurse@example.com' name='N'"} {
			if !strings.Contains(all, want) {
				t.Errorf("no push of %s in %s", want, all)
			}
		}
		if strings.Contains(all, "juliet@") {
			t.Errorf("a push of what is as it was: %s", all)
		}
	})
	t.Run("5 stanzas that leave nothing here are counted", func(t *testing.T) {
		p, two, id := start(t)
		bounced := []string{
			"<message to='nobody@example.com'><body>a</body></message>", "<message type='error' to='juliet@example.com/balcony'/>",
			"<iq type='get' id='x'/>", "<message to='juliet@example.com'><body>c</body></message>", "<presence to='tybalt@example.com' type='subscribe'/>",
		}
		for _, xml := range bounced {
			p.send(resumable, xml)
		}
		p.heard(resumable)
		p.breaks(resumable)
		if st := p.comeBack(two, resumable, id, 4); st.Attr("h") != "9" {
			t.Error(edgetest.Text(st), st.Attrs)
		}
	})
	t.Run("5 of two edges one resumes it", func(t *testing.T) {
		p, two, id := start(t)
		three, err := p.house.Open(edge.Options{ID: "e3"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { three.Stop() })
		p.breaks(resumable)
		answers := make(chan *stanza.Stanza, 2)
		for _, e := range []*edgetest.Edge{two, three} {
			go func() {
				c, err := edgetest.Dial(edgetest.ClientOptions{Address: e.Addr(0).String(), User: "romeo", Unbound: true})
				if err != nil {
					t.Error(err)
					answers <- nil
					return
				}
				t.Cleanup(func() { c.Conn.Close() })
				_ = c.Send(fmt.Sprintf("<resume %s h='4' previd='%s'/>", sm, id))
				st, err := c.Next()
				if err != nil {
					t.Error(err)
				}
				answers <- st
			}()
		}
		got := []string{(<-answers).Local, (<-answers).Local}
		slices.Sort(got)
		// The second may come when the first is through, and takes it from it.
		if got[1] != "resumed" {
			t.Error(got)
		}
		p.house.Quiet()
		if got := fmt.Sprint(p.bodies()); got != "[0 1 2]" {
			t.Error(got)
		}
	})
	t.Run("5 item-not-found after a clean end", func(t *testing.T) {
		p, two, id := start(t)
		if err := p.clients[resumable].Close(); err != nil {
			t.Fatal(err)
		}
		p.house.Quiet()
		if st := p.comeBack(two, resumable, id, 4); !strings.Contains(string(st.Inner), "<item-not-found ") {
			t.Error(edgetest.Text(st))
		}
	})
	t.Run("a failed append does not break the chain", func(t *testing.T) {
		p, two, id := start(t)
		p.house.Refuse(errors.New("away"))
		p.send(resumable, sent[4])
		p.until(resumable, "message type=error id=3")
		p.house.Refuse(nil)
		p.send(resumable, sent[5])
		edgetest.WaitFor(t, "the log knows", func() bool { return p.count("stanza_handled") == 1 })
		p.heard(resumable)
		p.breaks(resumable)
		if st := p.comeBack(two, resumable, id, 4); st.Attr("h") != "6" {
			t.Error(edgetest.Text(st), st.Attrs)
		}
	})
}
