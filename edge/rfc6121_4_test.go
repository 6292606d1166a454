package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

func TestRFC6121_4_3_2_Probes(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.dial("romeo/garden")
	p.send("romeo/garden", "<presence id='g1'><show>dnd</show><status>busy</status><priority>2</priority></presence>")
	p.heard("romeo/garden")
	p.online("tybalt/square")
	p.online("juliet/balcony")
	p.heard("romeo/orchard")
	for _, c := range []struct {
		name, to string
		want     []string
	}{
		{"rule 4, a subscriber's to the bare JID: all of each resource", "romeo@example.com", []string{
			"presence from=romeo@example.com/orchard to=juliet@example.com",
			"presence id=g1 from=romeo@example.com/garden to=juliet@example.com <show>dnd</show><status>busy</status><priority>2</priority>"}},
		{"a full JID: that it is there and no more", "romeo@example.com/garden", []string{"presence from=romeo@example.com/garden to=juliet@example.com"}},
		{"a full JID that is not there", "romeo@example.com/nowhere", []string{"presence type=unavailable id=p from=romeo@example.com/nowhere to=juliet@example.com"}},
		{"rule 1, no subscriber's", "tybalt@example.com", []string{"presence type=unsubscribed id=p from=tybalt@example.com to=juliet@example.com"}},
		{"rule 1, no subscriber's to a full JID", "tybalt@example.com/square", []string{"presence type=unsubscribed id=p from=tybalt@example.com to=juliet@example.com"}},
		{"rule 1, nobody", "nobody@example.com/square", []string{"presence type=unsubscribed id=p from=nobody@example.com to=juliet@example.com"}},
		{"oneself", "juliet@example.com", []string{"presence from=juliet@example.com/balcony to=juliet@example.com"}},
		{"the server", "example.com", nil},
		{"another domain", "romeo@example.net", nil}, // 4.3: no error for a probe alone
		{"malformed", "@", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.send("juliet/balcony", "<presence type='probe' id='p' to='"+c.to+"'/>")
			heard := p.heard("juliet/balcony")
			if len(heard) != len(c.want) {
				t.Fatalf("heard %q", heard)
			}
			for _, w := range c.want { // of each the whole
				if !strings.Contains(strings.Join(heard, "\n")+"\n", w+"\n") {
					t.Errorf("heard %q, want %q", heard, w)
				}
			}
			for _, who := range []string{"romeo/orchard", "tybalt/square"} {
				p.expect(who)
			}
		})
	}
	t.Run("rule 3, nobody is there", func(t *testing.T) {
		for _, who := range []string{"romeo/orchard", "romeo/garden"} {
			if err := p.clients[who].Close(); err != nil {
				t.Fatal(err)
			}
		}
		p.until("juliet/balcony", "presence type=unavailable from=romeo@example.com")
		p.until("juliet/balcony", "presence type=unavailable from=romeo@example.com")
		p.send("juliet/balcony", "<presence type='probe' id='p' to='romeo@example.com'/>")
		p.expect("juliet/balcony", "presence type=unavailable id=p from=romeo@example.com to=juliet@example.com <delay xmlns='urn:xmpp:delay' from='example.com' stamp='")
	})
}

// Who sees nothing yet, because it asked for nothing, may ask all the same.
func TestRFC6121_4_3_2_ProbeFirst(t *testing.T) {
	p := friends(t)
	p.online("romeo/orchard")
	p.dial("juliet/balcony")
	p.send("juliet/balcony", "<presence type='probe' id='p' to='romeo@example.com'/><presence type='probe' id='q' to='tybalt@example.com'/>")
	p.until("juliet/balcony", "presence type=unsubscribed id=q from=tybalt@example.com to=juliet@example.com")
	p.send("juliet/balcony", "<presence type='probe' id='p' to='romeo@example.com'/>")
	p.until("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com")
}

// A probe that is denied changes no state, nor an approval that waits.
func TestRFC6121_4_3_2_DeniedProbeChangesNothing(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribed'/>")
	p.heard("romeo/orchard")
	p.send("juliet/balcony", "<presence type='probe' to='romeo@example.com'/>")
	p.expect("juliet/balcony", "presence type=unsubscribed from=romeo@example.com")
	p.expect("romeo/orchard")
	p.rosterHas("romeo/orchard", "juliet", "none' approved='true")
	p.rosterHas("juliet/balcony", "romeo", "")
	// One who asked and was not answered sees nothing either.
	p.send("juliet/balcony", "<presence to='tybalt@example.com' type='subscribe'/>")
	p.create("tybalt")
	p.heard("juliet/balcony")
	p.send("juliet/balcony", "<presence type='probe' to='tybalt@example.com'/>")
	p.expect("juliet/balcony", "presence type=unsubscribed from=tybalt@example.com")
}

func TestRFC6121_4_6_6_ProbeOfDirectedPresence(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("romeo/orchard")
	p.online("romeo/garden")
	p.heard("romeo/orchard")
	p.online("juliet/balcony")
	p.send("romeo/orchard", "<presence to='juliet@example.com'><show>away</show></presence>")
	p.heard("romeo/orchard")
	p.expect("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com <show>away")
	probes := "<presence type='probe' id='1' to='romeo@example.com/orchard'/><presence type='probe' id='2' to='romeo@example.com/garden'/><presence type='probe' id='3' to='romeo@example.com'/>"
	p.send("juliet/balcony", probes)
	if heard := p.heard("juliet/balcony"); len(heard) != 3 || heard[0] != "presence from=romeo@example.com/orchard to=juliet@example.com" ||
		heard[1] != "presence type=unsubscribed id=2 from=romeo@example.com to=juliet@example.com" || heard[2] != "presence type=unsubscribed id=3 from=romeo@example.com to=juliet@example.com" {
		t.Errorf("%q", heard)
	}
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='unavailable'/>")
	p.heard("romeo/orchard")
	p.heard("juliet/balcony")
	p.send("juliet/balcony", "<presence type='probe' id='1' to='romeo@example.com/orchard'/>")
	p.expect("juliet/balcony", "presence type=unsubscribed id=1 from=romeo@example.com to=juliet@example.com")
}

func TestRFC6121_4_6_3_DirectedPresence(t *testing.T) {
	t.Run("rule 1: a subscriber hears the broadcasts too", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<presence to='romeo@example.com'><status>psst</status></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <status>psst")
		p.send("juliet/balcony", "<presence><show>away</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>away")
		p.send("juliet/balcony", "<presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("rule 2: others hear no broadcast but the end", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("tybalt/square")
		p.online("juliet/balcony")
		p.send("juliet/balcony", "<presence to='tybalt@example.com/square' id='d'><x xmlns='urn:x'/></presence>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square", "presence id=d from=juliet@example.com/balcony to=tybalt@example.com/square <x xmlns='urn:x'/>")
		p.send("juliet/balcony", "<presence><show>away</show></presence>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square")
		p.send("juliet/balcony", "<presence type='unavailable'><status>bye</status></presence>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square", "presence type=unavailable from=juliet@example.com/balcony to=tybalt@example.com/square <status>bye")
		// And once: the list is empty.
		p.send("juliet/balcony", "<presence/><presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square")
	})
	t.Run("rule 2: not after directed unavailable", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("tybalt/square")
		p.online("juliet/balcony")
		p.send("juliet/balcony", "<presence to='tybalt@example.com'/><presence to='tybalt@example.com' type='unavailable'/>")
		p.heard("juliet/balcony")
		p.heard("tybalt/square")
		p.send("juliet/balcony", "<presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square")
	})
	t.Run("rule 3: before initial presence", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<presence to='romeo@example.com'/>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com")
		p.clients["juliet/balcony"].Close()
		p.until("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com")
	})
	t.Run("a broken connection", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("tybalt/square")
		p.online("juliet/balcony")
		p.send("juliet/balcony", "<presence to='tybalt@example.com'/>")
		p.heard("juliet/balcony")
		p.clients["juliet/balcony"].Conn.Close()
		p.until("tybalt/square", "presence from=juliet@example.com/balcony")
		p.until("tybalt/square", "presence type=unavailable from=juliet@example.com/balcony to=tybalt@example.com")
	})
	t.Run("the death of an edge", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("tybalt/square")
		other, err := p.house.Open(edge.Options{ID: "e2"})
		if err != nil {
			t.Fatal(err)
		}
		p.create("juliet")
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: other.Addr(0).String(), User: "juliet", Resource: "balcony"})
		if err != nil {
			t.Fatal(err)
		}
		p.clients["juliet/balcony"] = c
		p.send("juliet/balcony", "<presence to='tybalt@example.com'/>")
		p.heard("juliet/balcony")
		p.expect("tybalt/square", "presence from=juliet@example.com/balcony to=tybalt@example.com")
		p.house.LoseEdge(other)
		p.expect("tybalt/square", "presence type=unavailable from=juliet@example.com/balcony to=tybalt@example.com")
		c.Conn.Close()
		other.Lose()
		if err := other.Wait(); err != edge.ErrLost {
			t.Error(err)
		}
	})
	t.Run("no more targets than may be", func(t *testing.T) {
		p := newPlay(t, edge.Options{Limits: edge.Limits{Directed: 2}})
		p.online("tybalt/square")
		p.online("juliet/balcony")
		p.send("juliet/balcony", "<presence to='a@example.com'/><presence to='b@example.com'/><presence id='x' to='tybalt@example.com'/>")
		p.expect("juliet/balcony", "presence type=error id=x from=tybalt@example.com to=juliet@example.com/balcony <error type='modify'><policy-violation")
		p.expect("tybalt/square")
		p.send("juliet/balcony", "<presence to='a@example.com' type='unavailable'/><presence to='tybalt@example.com'/>")
		p.expect("juliet/balcony")
		p.expect("tybalt/square", "presence from=juliet@example.com/balcony")
	})
}

func TestRFC6121_4_7_Syntax(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	for _, c := range []struct{ name, attrs, inner string }{
		{"4.7.1 a type that is none", " type='available'", ""},
		{"4.7.2.1 two shows", "", "<show>away</show><show>dnd</show>"},
		{"4.7.2.1 another show", "", "<show>online</show>"},
		{"4.7.2.1 mixed content", "", "<show><b xmlns='urn:x'/>away</show>"},
		{"4.7.2.2 mixed content", "", "<status>I am <b xmlns='urn:x'>here</b></status>"},
		{"4.7.2.3 two priorities", "", "<priority>1</priority><priority>1</priority>"},
		{"4.7.2.3 too high", "", "<priority>128</priority>"},
		{"4.7.2.3 too low", "", "<priority>-129</priority>"},
		{"4.7.2.3 no integer", "", "<priority>1.5</priority>"},
		{"4.7.2.3 an empty priority", "", "<priority/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.send("juliet/balcony", "<presence id='x'"+c.attrs+">"+c.inner+"</presence>")
			p.expect("juliet/balcony", "presence type=error id=x to=juliet@example.com/balcony <error type='modify'><bad-request")
		})
	}
	for _, c := range []struct{ name, sent, heard string }{
		{"4.7.2.1 an empty show is none", "<show></show><status>hi</status>", "<status>hi</status>"},
		{"4.7.2.3 bounds", "<priority>-128</priority>", "<priority>-128</priority>"},
		{"4.7.2.3 white space", "<priority> 127 </priority>", "<priority>127</priority>"},
		{"4.7.2.2 several languages", "<status>hi</status><status xml:lang='it'>ciao</status>", "<status>hi</status><status xml:lang='it'>ciao</status>"},
		{"4.7.3 extended content", "<c xmlns='urn:c'><show xmlns='urn:c'>x</show></c>", "<c xmlns='urn:c'><show>x</show></c>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.send("juliet/balcony", "<presence>"+c.sent+"</presence>")
			p.expect("juliet/balcony", "presence from=juliet@example.com/balcony to=juliet@example.com "+c.heard)
		})
	}
	t.Run("4.7.1 an error answers nobody", func(t *testing.T) {
		p.send("juliet/balcony", "<presence type='error' to='nobody@example.com'/><presence type='error'/>")
		p.expect("juliet/balcony")
	})
	t.Run("4.5.1 show and priority are of available resources", func(t *testing.T) {
		p.send("juliet/balcony", "<presence type='unavailable'><show>away</show><priority>3</priority><status>bye</status></presence>")
		if heard := p.heard("juliet/balcony"); len(heard) != 1 || heard[0] != "presence type=unavailable from=juliet@example.com/balcony to=juliet@example.com <status>bye</status>" {
			t.Errorf("%q", heard)
		}
	})
}

// Presence that is directed to a resource which is not available reaches it,
// though a newer broadcast has reached the account's other resource.
func TestRFC6121_4_6_3_DirectedBehindABroadcast(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("juliet", "mercutio")
	p.house.Befriend("juliet", "mercutio")
	p.online("juliet/balcony")
	p.dial("juliet/chamber")
	p.online("mercutio/orchard")
	p.heard("juliet/balcony")
	late := make([]bool, 4)
	late[topic.Partition(jid.MustBare("juliet@example.com"), 4)] = true
	if late[topic.Partition(jid.MustBare("mercutio@example.com"), 4)] {
		t.Fatal("both are in one partition")
	}
	p.house.Late(late)
	p.send("mercutio/orchard", "<presence to='juliet@example.com/chamber'><show>chat</show></presence><presence><show>away</show></presence>")
	p.until("juliet/balcony", "presence from=mercutio@example.com/orchard to=juliet@example.com <show>away</show>")
	p.house.Late(nil)
	p.expect("juliet/chamber", "presence from=mercutio@example.com/orchard to=juliet@example.com/chamber <show>chat</show>")
	p.expect("juliet/balcony")
}

// Who takes a resource over hears nothing of the session that had it, though
// its end comes late: it would take that for its own.
func TestRFC6121_4_2_2_AfterAnotherSession(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/chamber")
	p.online("juliet/balcony")
	p.send("juliet/balcony", "<presence><show>xa</show></presence>")
	p.until("juliet/chamber", "presence from=juliet@example.com/balcony to=juliet@example.com <show>xa</show>")
	p.house.Late([]bool{true, true, true, true})
	p.dial("juliet/balcony")
	p.send("juliet/balcony", "<presence><show>dnd</show></presence>")
	p.until("juliet/balcony", "presence from=juliet@example.com/chamber to=juliet@example.com")
	p.house.Late(nil)
	for _, heard := range p.heard("juliet/balcony") {
		if strings.Contains(heard, "from=juliet@example.com/balcony") && !strings.Contains(heard, "dnd") {
			t.Errorf("it hears %q", heard)
		}
	}
	p.expect("juliet/chamber", "presence type=unavailable from=juliet@example.com/balcony", "presence from=juliet@example.com/balcony to=juliet@example.com <show>dnd</show>")
}
