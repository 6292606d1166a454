package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

func TestClientState(t *testing.T) {
	const csi = " xmlns='urn:xmpp:csi:0'/>"
	const composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
	start := func(t *testing.T) *play {
		p := newPlay(t, edge.Options{})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("romeo/orchard", "<inactive"+csi)
		p.heard("romeo/orchard")
		return p
	}
	say := func(p *play, xml string) {
		p.t.Helper()
		p.send("juliet/balcony", xml)
		p.heard("juliet/balcony")
	}
	// read reads n stanzas, in the order in which they come.
	read := func(p *play, n int) string {
		p.t.Helper()
		return strings.Join(p.next("romeo/orchard", n), "\n")
	}
	const away, dnd = "<presence><show>away</show></presence>", "<presence><show>dnd</show></presence>"
	t.Run("2 it is offered", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("juliet")
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: "juliet", Unbound: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Conn.Close()
		if !strings.Contains(string(c.Features), "<csi"+csi) {
			t.Errorf("%s", c.Features)
		}
	})
	t.Run("presence waits for a message, the last state of each", func(t *testing.T) {
		p := start(t)
		say(p, away)
		say(p, dnd)
		say(p, away+dnd)
		if n := metric(p, "rollcall_edge_conflated_total"); n != 3 {
			t.Errorf("%d conflated", n)
		}
		say(p, "<message id='m' to='romeo@example.com'><body>x</body></message>")
		got := read(p, 2)
		if !strings.HasPrefix(got, "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd</show>\nmessage id=m") {
			t.Error(got)
		}
		p.expect("romeo/orchard")
	})
	t.Run("3 active comes before what follows", func(t *testing.T) {
		p := start(t)
		say(p, away)
		say(p, dnd)
		p.send("romeo/orchard", "<active"+csi+"<iq type='get' id='after'><ping xmlns='urn:xmpp:ping'/></iq>")
		if got := read(p, 2); !strings.HasPrefix(got, "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd</show>\niq type=result id=after") {
			t.Error(got)
		}
		say(p, away)
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>away")
	})
	t.Run("a chat state alone is dropped, one with a message is not", func(t *testing.T) {
		p := start(t)
		say(p, away)
		say(p, "<message id='1' type='chat' to='romeo@example.com'>"+composing+"</message>")
		say(p, "<message id='2' type='chat' to='romeo@example.com'><body>x</body>"+composing+"</message>")
		say(p, "<message id='h' type='headline' to='romeo@example.com'><body>x</body></message>")
		got := read(p, 3)
		if !strings.HasPrefix(got, "presence from=juliet@example.com/balcony") || !strings.Contains(got, "\nmessage type=chat id=2") || !strings.Contains(got, "\nmessage type=headline id=h") {
			t.Error(got)
		}
		p.send("romeo/orchard", "<active"+csi)
		p.heard("romeo/orchard")
		say(p, "<message id='3' type='chat' to='romeo@example.com'>"+composing+"</message>")
		p.expect("romeo/orchard", "message type=chat id=3")
	})
	t.Run("3.2 a resumed stream is active", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.dial("romeo/orchard")
		id := p.enable("romeo/orchard")
		p.send("romeo/orchard", "<presence/>")
		p.next("romeo/orchard", 1)
		p.send("romeo/orchard", "<inactive"+csi)
		p.ackOf("romeo/orchard")
		p.breaks("romeo/orchard")
		p.dial("juliet/balcony")
		say(p, away)
		say(p, dnd)
		if st := p.comeBack(p.edge, "romeo/orchard", id, 1); st.Local != "resumed" {
			t.Fatal(edgetest.Text(st))
		}
		if got := read(p, 1); !strings.Contains(got, "<show>dnd") {
			t.Error(got)
		}
	})
	wanting := func(t *testing.T) *play {
		p := newPlay(t, edge.Options{})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.wanting("romeo/orchard", "mood+notify", "marks+notify")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("romeo/orchard", "<inactive"+csi)
		p.heard("romeo/orchard")
		return p
	}
	post := func(p *play, node, id string, options ...string) {
		p.t.Helper()
		p.asks("juliet/balcony", "set", "", publish(node, id, mood, options...), "result ")
		p.house.Quiet()
	}
	mentions := func(got []string, want ...string) bool {
		ok := len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = strings.Contains(got[i], want[i])
		}
		return ok
	}
	t.Run("news wait, the last of a node that keeps one item", func(t *testing.T) {
		p := wanting(t)
		for _, id := range []string{"1", "2", "3"} {
			post(p, "mood", id)
		}
		if n := metric(p, "rollcall_edge_conflated_total"); n != 2 {
			t.Errorf("%d conflated", n)
		}
		say(p, "<message id='m' to='romeo@example.com'><body>x</body></message>")
		if got := p.next("romeo/orchard", 2); !mentions(got, "<item id='3'", "message id=m") {
			t.Error(got)
		}
		p.expect("romeo/orchard")
	})
	t.Run("news wait, the last of each item", func(t *testing.T) {
		p := wanting(t)
		for _, id := range []string{"1", "2", "1"} {
			post(p, "marks", id, "max_items", "10")
		}
		p.asks("juliet/balcony", "set", "", "<pubsub xmlns='"+nsPubSub+"'><retract node='marks' notify='true'><item id='2'/></retract></pubsub>", "result ")
		p.house.Quiet()
		p.send("romeo/orchard", "<active"+csi)
		if got := p.next("romeo/orchard", 2); !mentions(got, "<item id='1'", "<retract id='2'") {
			t.Error(got)
		}
		p.expect("romeo/orchard")
	})
	t.Run("news wait, nothing of a node that is gone", func(t *testing.T) {
		p := wanting(t)
		for _, id := range []string{"1", "2"} {
			post(p, "marks", id, "max_items", "10")
		}
		p.asks("juliet/balcony", "set", "", "<pubsub xmlns='"+nsPubSub+"#owner'><delete node='marks'/></pubsub>", "result ")
		p.house.Quiet()
		p.send("romeo/orchard", "<active"+csi)
		if got := p.next("romeo/orchard", 1); !mentions(got, "<delete node='marks'/>") {
			t.Error(got)
		}
		p.expect("romeo/orchard")
	})
	t.Run("not more news than the soft bound wait", func(t *testing.T) {
		p := newPlay(t, edge.Options{SoftOutbound: 4000})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.wanting("romeo/orchard", "marks+notify")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("romeo/orchard", "<inactive"+csi)
		p.heard("romeo/orchard")
		for i := range 40 {
			post(p, "marks", fmt.Sprint(i), "max_items", "100")
		}
		got := p.next("romeo/orchard", 10) // nobody has become active
		if !mentions(got[:2], "<item id='0'", "<item id='1'") {
			t.Error(got)
		}
	})
	t.Run("2 anything else is no client state", func(t *testing.T) {
		p := start(t)
		p.send("romeo/orchard", "<asleep"+csi)
		if c := p.ends("romeo/orchard"); c != "unsupported-stanza-type" {
			t.Error(c)
		}
	})
}
