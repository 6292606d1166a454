package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// friends is a play where juliet and romeo see each other.
func friends(t *testing.T) *play {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	return p
}

func TestPresence(t *testing.T) {
	t.Run("4.2.2 initial presence reaches contacts and oneself", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence id='p1'><show>away</show><status>here</status><priority>3</priority></presence>")
		p.until("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com")
		p.expect("romeo/orchard", "presence id=p1 from=juliet@example.com/balcony to=romeo@example.com <show>away</show><status>here</status><priority>3</priority>")
	})
	t.Run("4.2.2 the sender hears itself", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence/>")
		p.until("juliet/balcony", "presence from=juliet@example.com/balcony to=juliet@example.com")
	})
	t.Run("4.4.2 subsequent presence, 4.5.2 unavailable and its echo", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony")
		p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
		p.expect("juliet/balcony", "presence from=juliet@example.com/balcony to=juliet@example.com <show>dnd")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>dnd")
		p.send("juliet/balcony", "<presence type='unavailable'><status>bye</status></presence>")
		p.expect("juliet/balcony", "presence type=unavailable from=juliet@example.com/balcony to=juliet@example.com <status>bye")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com <status>bye")
		p.send("romeo/orchard", "<presence><show>xa</show></presence>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony")
	})
	t.Run("4.5.2 a lost connection is unavailable", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.clients["juliet/balcony"].Conn.Close()
		p.until("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("4.6 directed presence, and its end", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.online("tybalt/square")
		p.send("juliet/balcony", "<presence to='tybalt@example.com'><status>psst</status></presence>")
		p.expect("juliet/balcony")
		p.expect("tybalt/square", "presence from=juliet@example.com/balcony to=tybalt@example.com <status>psst")
		p.send("juliet/balcony", "<presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("4.7.2.3 priority that is no integer", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence id='x'><priority>high</priority></presence>")
		p.expect("juliet/balcony", "presence type=error id=x to=juliet@example.com/balcony <error type='modify'><bad-request")
	})
	t.Run("4.7.1 unknown type", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence id='x' type='there'/>")
		p.expect("juliet/balcony", "presence type=error id=x")
	})
	t.Run("RFC 6120 8.1.2.1 from of another", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence from='romeo@example.com'/>")
		if c := p.ends("juliet/balcony"); c != "invalid-from" {
			t.Error(c)
		}
	})
	t.Run("RFC 6120 8.1.2.1 from of one's own", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence from='juliet@example.com'/><presence from='Juliet@EXAMPLE.com/balcony'/>")
		p.until("juliet/balcony", "presence from=juliet@example.com/balcony")
	})
}

func TestSubscriptions(t *testing.T) {
	t.Run("3.1 subscribe, approve, and see", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.online("romeo/orchard")
		p.send("romeo/orchard", "<presence to='juliet@example.com/balcony' type='subscribe' id='s'><status>please</status></presence>")
		p.expect("romeo/orchard", "iq type=set id=push-1 to=romeo@example.com/orchard <query xmlns='jabber:iq:roster' ver=")
		p.expect("juliet/balcony", "presence type=subscribe id=s from=romeo@example.com to=juliet@example.com <status>please")
		p.send("juliet/balcony", "<presence to='romeo@example.com' type='subscribed'/>")
		p.expect("juliet/balcony", "iq type=set id=push-1")
		p.expect("romeo/orchard", "iq type=set id=push-2",
			"presence type=subscribed from=juliet@example.com to=romeo@example.com",
			"presence from=juliet@example.com/balcony to=romeo@example.com")
		// 3.2: cancelled again, nothing more is seen.
		p.send("juliet/balcony", "<presence to='romeo@example.com' type='unsubscribed'/>")
		p.expect("juliet/balcony", "iq type=set id=push-2")
		p.expect("romeo/orchard", "iq type=set id=push-3", "presence type=unsubscribed from=juliet@example.com",
			"presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com")
		p.send("juliet/balcony", "<presence><show>away</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("3.1.3 a request waits for initial presence", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.create("juliet")
		p.online("romeo/orchard")
		p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
		p.heard("romeo/orchard")
		for range 2 { // it comes each time
			p.dial("juliet/balcony")
			p.send("juliet/balcony", "<presence/>")
			p.until("juliet/balcony", "presence type=subscribe from=romeo@example.com to=juliet@example.com")
			p.clients["juliet/balcony"].Close()
		}
	})
	t.Run("3.1.3 no such account", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("romeo/orchard")
		p.send("romeo/orchard", "<presence to='nobody@example.com' type='subscribe'/>")
		heard := strings.Join(p.heard("romeo/orchard"), "\n")
		if !strings.Contains(heard, "presence type=unsubscribed from=nobody@example.com") {
			t.Error(heard)
		}
	})
}

func TestConflict(t *testing.T) {
	t.Run("RFC 6120 7.7.2.2 the new session wins", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		old := p.clients["juliet/balcony"]
		p.online("juliet/balcony")
		p.clients["old"] = old
		if c := p.ends("old"); c != "conflict" {
			t.Error(c)
		}
		if heard := p.heard("romeo/orchard"); len(heard) == 0 || !strings.HasPrefix(heard[len(heard)-1], "presence from=juliet@example.com/balcony") {
			t.Errorf("romeo must see juliet at last: %q", heard)
		}
	})
	t.Run("RFC 6120 7.7.2.2 on another edge", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		other, err := p.house.Open(edge.Options{ID: "e2"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: other.Addr(0).String(), User: "juliet", Resource: "balcony"})
		if err != nil {
			t.Fatal(err)
		}
		if c := p.ends("juliet/balcony"); c != "conflict" {
			t.Error(c)
		}
		c.Conn.Close()
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("7.6.1 the server chooses a resource", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		if c := p.dial("juliet/"); !strings.HasPrefix(c.Full, "juliet@example.com/") || len(c.Full) < 30 {
			t.Error(c.Full)
		}
	})
	t.Run("7.6.2.1 too many resources", func(t *testing.T) {
		p := newPlay(t, edge.Options{MaxResources: 2})
		p.dial("juliet/a")
		p.dial("juliet/b")
		_, err := edgetest.Dial(edgetest.ClientOptions{Address: p.edge.Addr(0).String(), User: "juliet", Resource: "c"})
		if err == nil || !strings.Contains(err.Error(), "resource-constraint") {
			t.Error(err)
		}
	})
}
