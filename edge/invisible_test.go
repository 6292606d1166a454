package edge_test

import (
	"testing"
)

const (
	goInvisible = "<invisible xmlns='urn:xmpp:invisible:1'/>"
	goVisible   = "<visible xmlns='urn:xmpp:invisible:1'/>"
)

// XEP-0186.
func TestInvisible(t *testing.T) {
	t.Run("3.1 contacts see the user go, and hear nothing more", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony to=romeo@example.com")
		p.send("juliet/balcony", "<presence><show>away</show></presence>")
		p.expect("juliet/balcony", "presence from=juliet@example.com/balcony to=juliet@example.com <show>away")
		p.expect("romeo/orchard")
	})
	t.Run("3.1 invisible and presence in one write, before any other", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='set' id='i'>"+goInvisible+"</iq><presence/>")
		p.until("juliet/balcony", "iq type=result id=i")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard")
		p.online("romeo/home") // who comes later sees nothing either
		p.send("romeo/home", "<presence id='probe' type='probe' to='juliet@example.com'/>")
		p.expect("romeo/home", "presence type=unavailable id=probe from=juliet@example.com to=romeo@example.com")
	})
	t.Run("3.1 without probe='true' the user sees nobody who is there already", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='set' id='i'>"+goInvisible+"</iq><presence/>")
		p.expect("juliet/balcony", "iq type=result id=i", "presence from=juliet@example.com/balcony")
		p.send("romeo/orchard", "<presence><show>dnd</show></presence>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com <show>dnd")
	})
	t.Run("3.1 with probe='true' it does", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.dial("juliet/balcony")
		p.send("juliet/balcony", "<iq type='set' id='i'><invisible xmlns='urn:xmpp:invisible:1' probe='true'/></iq>")
		p.until("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com")
		p.expect("romeo/orchard")
	})
	t.Run("3.1.1 messages pass both ways, iqs to the resource do not", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.heard("romeo/orchard")
		p.send("romeo/orchard", "<message id='m' type='chat' to='juliet@example.com'><body>x</body></message><iq id='q' type='get' to='juliet@example.com/balcony'><query xmlns='jabber:iq:version'/></iq>")
		p.expect("romeo/orchard", "iq type=error id=q from=juliet@example.com/balcony to=romeo@example.com/orchard "+unavailable)
		p.expect("juliet/balcony", "message type=chat id=m from=romeo@example.com/orchard")
		p.send("juliet/balcony", "<message id='n' type='chat' to='romeo@example.com'><body>x</body></message>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "message type=chat id=n from=juliet@example.com/balcony")
	})
	t.Run("3.1.1 directed presence passes, and ends for who got it", func(t *testing.T) {
		p := onlineFriends(t)
		p.online("nurse/kitchen")
		p.set("juliet/balcony", goInvisible)
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<presence to='nurse@example.com'/><presence><show>xa</show></presence>")
		p.heard("juliet/balcony")
		p.expect("nurse/kitchen", "presence from=juliet@example.com/balcony to=nurse@example.com")
		p.send("juliet/balcony", "<presence type='unavailable'/>")
		p.heard("juliet/balcony")
		p.expect("nurse/kitchen", "presence type=unavailable from=juliet@example.com/balcony")
		p.expect("romeo/orchard")
	})
	t.Run("3.1.1 directed to a subscriber", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.send("juliet/balcony", "<presence to='romeo@example.com'><status>psst</status></presence><presence><show>xa</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony", "presence from=juliet@example.com/balcony to=romeo@example.com <status>psst")
		p.send("juliet/balcony", "</stream:stream>")
		p.ends("juliet/balcony")
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
	t.Run("invisible, then gone: contacts hear nothing, nor does who asks", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.heard("romeo/orchard")
		p.clients["juliet/balcony"].Conn.Close()
		for p.count("resource_closed") == 0 {
			p.house.Quiet()
		}
		p.expect("romeo/orchard")
		p.online("juliet/balcony") // the next session is visible again
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony")
	})
	t.Run("3.2 visible is as before initial presence", func(t *testing.T) {
		p := onlineFriends(t)
		p.online("juliet/chamber")
		p.heard("romeo/orchard")
		p.heard("juliet/balcony")
		p.set("juliet/balcony", goInvisible)
		p.heard("romeo/orchard")
		p.set("juliet/balcony", goVisible)
		p.expect("romeo/orchard")
		p.expect("juliet/chamber", "presence type=unavailable from=juliet@example.com/balcony")
		p.send("romeo/orchard", "<presence><show>xa</show></presence>")
		p.heard("romeo/orchard")
		p.expect("juliet/balcony")
		p.send("juliet/balcony", "<presence/>")
		p.expect("juliet/balcony", "presence from=juliet@example.com/balcony", "presence from=juliet@example.com/chamber", "presence from=romeo@example.com/orchard to=juliet@example.com <show>xa")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony")
	})
	t.Run("3.2 visible and presence in one write", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.send("juliet/balcony", "<presence><status>secret</status></presence>")
		p.heard("juliet/balcony")
		p.heard("romeo/orchard")
		p.send("juliet/balcony", "<iq type='set' id='v'>"+goVisible+"</iq><presence><show>chat</show></presence>")
		p.heard("juliet/balcony")
		p.expect("romeo/orchard", "presence from=juliet@example.com/balcony to=romeo@example.com <show>chat</show>")
	})
	t.Run("visible while visible changes nothing", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goVisible)
		p.send("romeo/orchard", "<presence><show>xa</show></presence>")
		p.expect("romeo/orchard", "presence from=romeo@example.com/orchard")
		p.expect("juliet/balcony", "presence from=romeo@example.com/orchard to=juliet@example.com <show>xa")
	})
	t.Run("invisible and blocking at once", func(t *testing.T) {
		p := onlineFriends(t)
		p.set("juliet/balcony", goInvisible)
		p.heard("romeo/orchard")
		p.set("juliet/balcony", block("romeo@example.com"))
		p.set("juliet/balcony", unblock("romeo@example.com"))
		p.expect("romeo/orchard")
	})
	t.Run("two edges", func(t *testing.T) {
		p := friends(t)
		p.online("romeo/orchard")
		p.edge = p.open("e2")
		p.online("juliet/balcony")
		p.heard("romeo/orchard")
		p.set("juliet/balcony", goInvisible)
		p.expect("romeo/orchard", "presence type=unavailable from=juliet@example.com/balcony")
	})
}
