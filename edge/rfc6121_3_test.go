package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

// pushed tells whether one of what was heard is a roster push of an item that
// begins so.
func pushed(heard []string, item string) bool {
	for _, h := range heard {
		if strings.HasPrefix(h, "iq type=set") && strings.Contains(h, "<item "+item) {
			return true
		}
	}
	return false
}

func TestRFC6121_3_4_PreApproval(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='subscribed'/>")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='none' approved='true'/>") {
		t.Errorf("%q", heard)
	}
	p.expect("romeo/orchard")
	p.send("juliet/balcony", "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
	if st := p.until("juliet/balcony", "iq type=result id=g"); !strings.Contains(string(st.Inner), "approved='true'") {
		t.Errorf("%s", st.Inner)
	}
	// The request is answered without her, and he sees her at once.
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.expect("romeo/orchard", "iq type=set id=push-1", "iq type=set id=push-2",
		"presence type=subscribed from=juliet@example.com to=romeo@example.com",
		"presence from=juliet@example.com/balcony to=romeo@example.com")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='from'/>") {
		t.Errorf("%q", heard)
	}
}

func TestRFC6121_3_4_PreApprovalCancelled(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='subscribed'/>")
	p.expect("juliet/balcony", "iq type=set id=push-1")
	p.send("juliet/balcony", "<presence to='romeo@example.com' type='unsubscribed'/>")
	if heard := p.heard("juliet/balcony"); len(heard) != 1 || !pushed(heard, "jid='romeo@example.com' subscription='none'/>") {
		t.Errorf("%q", heard)
	}
	p.expect("romeo/orchard")
	p.send("romeo/orchard", "<presence to='juliet@example.com' type='subscribe'/>")
	p.expect("romeo/orchard", "iq type=set id=push-1")
	p.expect("juliet/balcony", "presence type=subscribe from=romeo@example.com")
}
