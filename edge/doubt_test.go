package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// doubting is juliet, of whose lists a worker tells what it knows.
type doubting struct {
	*play
	at int64
}

func newDoubting(t *testing.T) *doubting {
	d := &doubting{newPlay(t, edge.Options{}), 1 << 40}
	d.online("juliet/balcony")
	d.online("nurse/kitchen")
	return d
}

// policy tells what juliet lets through: nothing, or everything.
func (d *doubting) policy(doubt, denies bool) { d.policyOf("juliet", doubt, denies) }

func (d *doubting) policyOf(name string, doubt, denies bool) {
	d.at++
	name += "@example.com"
	a := &wire.Audience{Account: name, Offset: d.at, Doubt: doubt, Policy: &event.Policy{Account: name, Roster: true}}
	if denies {
		a.Policy.DefaultRules = []*event.PolicyRule{{All: true}}
	}
	d.edge.Frames(topic.Partition(jid.MustBare(a.GetAccount()), 4), []*wire.Frame{{What: &wire.Frame_Audience{Audience: a}}})
}

// While it is in doubt what an account lets through, nothing new comes to it,
// and nothing is lost.
func TestDoubtRefusesNothingForGood(t *testing.T) {
	const here, gone = "presence from=nurse@example.com/kitchen", "presence type=unavailable from=nurse@example.com/kitchen"
	direct := func(p *doubting, to string) {
		p.send("nurse/kitchen", "<presence to='"+to+"'/>")
		p.heard("nurse/kitchen")
	}
	for _, to := range []string{"juliet@example.com", "juliet@example.com/balcony"} {
		t.Run("directed presence that was there stays, to "+to, func(t *testing.T) {
			p := newDoubting(t)
			direct(p, to)
			p.expect("juliet/balcony", here)
			p.policy(true, true)
			p.expect("juliet/balcony")
			p.policy(false, false)
			p.expect("juliet/balcony")
			p.policy(true, true)
			p.policy(false, true)
			p.expect("juliet/balcony", gone)
		})
		t.Run("directed presence that comes waits, to "+to, func(t *testing.T) {
			p := newDoubting(t)
			p.policy(true, true)
			direct(p, to)
			p.expect("juliet/balcony")
			p.policy(true, true)
			p.expect("juliet/balcony")
			p.policy(false, false)
			p.expect("juliet/balcony", here)
			p.policy(false, true)
			p.expect("juliet/balcony", gone)
			p.policy(true, true)
			direct(p, to)
			p.policy(false, true)
			p.policy(false, false)
			p.expect("juliet/balcony")
		})
	}
	t.Run("who came later is not given what waited", func(t *testing.T) {
		p := newDoubting(t)
		p.policy(true, true)
		direct(p, "juliet@example.com")
		p.online("juliet/chamber")
		p.heard("juliet/balcony")
		p.policy(false, false)
		p.expect("juliet/chamber")
		p.expect("juliet/balcony", here)
	})
	t.Run("a message out waits", func(t *testing.T) {
		p := newDoubting(t)
		p.policy(true, true)
		p.send("juliet/balcony", "<message id='m' to='nurse@example.com'><body>x</body></message>")
		p.expect("nurse/kitchen")
		p.policy(false, false)
		p.heard("juliet/balcony")
		p.expect("nurse/kitchen", "message id=m from=juliet@example.com/balcony")
		p.policy(true, true)
		p.send("juliet/balcony", "<message id='n' to='nurse@example.com'><body>x</body></message>")
		p.expect("nurse/kitchen")
		p.policy(false, true)
		p.expect("juliet/balcony", "message type=error id=n from=nurse@example.com to=juliet@example.com/balcony <error type='cancel'><not-acceptable")
	})
	t.Run("presence out is the fold's to decide", func(t *testing.T) {
		p := newDoubting(t)
		p.policy(true, true)
		p.send("juliet/balcony", "<presence to='nurse@example.com'/>")
		p.heard("juliet/balcony")
		p.expect("nurse/kitchen", "presence from=juliet@example.com/balcony")
	})
}

// Requests to subscribe are shown once it is known whether they may be.
func TestDoubtHoldsRequests(t *testing.T) {
	p := &doubting{newPlay(t, edge.Options{}), 1 << 40}
	p.create("juliet")
	p.online("nurse/kitchen")
	p.send("nurse/kitchen", "<presence type='subscribe' to='juliet@example.com'/>")
	p.heard("nurse/kitchen")
	p.dial("juliet/balcony")
	p.heard("juliet/balcony")
	p.policy(true, true)
	p.send("juliet/balcony", "<presence/>")
	if got := strings.Join(p.heard("juliet/balcony"), "\n"); strings.Contains(got, "subscribe") {
		t.Error(got)
	}
	p.policy(false, false)
	p.expect("juliet/balcony", "presence type=subscribe from=nurse@example.com")
}

// What a contact shows while its lists are in doubt is hidden and comes back;
// what it directed stays as it was, whether broadcasts follow or not.
func TestDoubtOfAContact(t *testing.T) {
	p := &doubting{onlineFriends(t), 1 << 40}
	p.heard("romeo/orchard")
	p.send("juliet/balcony", "<presence to='romeo@example.com'><show>chat</show></presence>")
	p.heard("juliet/balcony")
	p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>chat")
	p.policy(true, true)
	p.expect("romeo/orchard")
	p.policy(false, false)
	p.expect("romeo/orchard")
	p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
	p.heard("juliet/balcony")
	p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd")
	p.policy(true, true)
	p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	p.policy(false, false)
	p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd")
}

// A list in use that refers to the roster, while the roster changes: the world
// that knows no rosters tells what it lets through a moment later.
func TestDoubtWhileTheRosterChanges(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.house.Doubt()
	p.create("romeo", "nurse")
	p.online("juliet/balcony")
	p.online("nurse/kitchen")
	p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='nurse@example.com'><group>G</group></item></query>")
	p.list("juliet/balcony", "default", "<item type='group' value='G' action='allow' order='1'/><item action='deny' order='2'><presence-in/></item>")
	p.send("nurse/kitchen", "<presence to='juliet@example.com/balcony'/>")
	p.heard("nurse/kitchen")
	p.expect("juliet/balcony", "presence from=nurse@example.com/kitchen")
	p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='nurse@example.com' name='N'><group>G</group></item></query>")
	p.expect("juliet/balcony")
	p.set("juliet/balcony", "<query xmlns='jabber:iq:roster'><item jid='nurse@example.com' name='N'/></query>")
	p.expect("juliet/balcony", "presence type=unavailable from=nurse@example.com/kitchen")
}

// News that did not pass in doubt come as last items.
func TestDoubtOfNews(t *testing.T) {
	for _, of := range []string{"romeo", "juliet"} {
		t.Run("of what "+of+" lets through", func(t *testing.T) {
			p := &doubting{friends(t), 1 << 40}
			p.online("juliet/balcony")
			p.wanting("romeo/orchard", "mood+notify")
			p.policyOf(of, true, true)
			p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result ")
			p.hears("romeo/orchard")
			p.policyOf(of, false, false)
			edgetest.WaitFor(t, "it is told", func() bool { return len(newsIn(p.heard("romeo/orchard"))) == 1 })
		})
	}
}
