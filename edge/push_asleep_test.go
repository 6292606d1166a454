package edge_test

import (
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge/edgetest"
)

// Of what a client under stream management (XEP-0198) does not take because its
// connection is broken its push service hears before its session ends.
func TestPushWhileAConnectionIsBroken(t *testing.T) {
	begin := func(t *testing.T, doubt time.Duration) (*play, *edgetest.Component) {
		o := pushEdge("e1")
		o.Push.Doubt = doubt
		p := newPlay(t, o)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.send("juliet/balcony", enable("e", "jid='push.example.com' node='n'/>"))
		p.until("juliet/balcony", "iq type=result id=e")
		return p, p.connects(p.edge, componentDomain, componentSecret)
	}
	nothing := func(t *testing.T, p *play, c *edgetest.Component) {
		t.Helper()
		p.noPushes()
		if before := p.pings(c, componentDomain); len(before) > 0 {
			t.Error(before)
		}
	}
	t.Run("what comes after it broke", func(t *testing.T) {
		p, c := begin(t, time.Millisecond)
		p.enable("juliet/balcony")
		p.breaks("juliet/balcony")
		p.romeo("one")
		p.says(c, result(p.publishes(c, summary("message-count", "1"), summary("last-message-sender", "romeo@example.com/orchard"))))
		p.noPushes()
		p.romeo("two")
		p.says(c, result(p.publishes(c, summary("message-count", "2"))))
		p.noPushes()
	})
	t.Run("what it had not acknowledged", func(t *testing.T) {
		p, c := begin(t, time.Millisecond)
		p.enable("juliet/balcony")
		p.romeo("one")
		p.romeo("two")
		p.until("juliet/balcony", "message type=chat")
		nothing(t, p, c)
		p.breaks("juliet/balcony")
		p.says(c, result(p.publishes(c, summary("message-count", "2"))))
		p.noPushes()
	})
	t.Run("not what another session takes", func(t *testing.T) {
		p, c := begin(t, time.Millisecond)
		p.online("juliet/desk")
		p.enable("juliet/balcony")
		p.breaks("juliet/balcony")
		p.romeo("one")
		nothing(t, p, c)
	})
	t.Run("not what it takes when it comes back at once", func(t *testing.T) {
		p, c := begin(t, 300*time.Millisecond)
		previd := p.enable("juliet/balcony")
		p.breaks("juliet/balcony")
		p.romeo("one")
		edgetest.WaitFor(t, "the message is noted", func() bool { return p.house.Pushes() == 1 })
		p.comeBack(p.edge, "juliet/balcony", previd, 0)
		p.until("juliet/balcony", "message type=chat")
		p.send("juliet/balcony", "<a "+sm+" h='1'/>")
		p.outcomes("moot", 1)
		nothing(t, p, c)
	})
	t.Run("without stream management when its session ends", func(t *testing.T) {
		o := pushEdge("e1")
		o.Grace = 30 * time.Millisecond
		p := newPlay(t, o)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.send("juliet/balcony", enable("e", "jid='push.example.com' node='n'/>"))
		p.until("juliet/balcony", "iq type=result id=e")
		c := p.connects(p.edge, componentDomain, componentSecret)
		p.breaks("juliet/balcony")
		p.romeo("one")
		p.says(c, result(p.publishes(c, summary("message-count", "1"))))
		p.noPushes()
	})
}
