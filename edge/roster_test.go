package edge_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

func rosterSet(id, items string) string {
	return "<iq type='set' id='" + id + "'><query xmlns='jabber:iq:roster'>" + items + "</query></iq>"
}

func TestRoster(t *testing.T) {
	t.Run("2.1.3 get, 2.3 set and push, 2.5 remove", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.online("juliet/balcony")
		p.online("juliet/chamber")
		p.heard("juliet/balcony")
		p.dial("juliet/silent") // not interested: hears of no push
		p.send("juliet/balcony", rosterSet("r1", "<item jid='Nurse@example.com' name='Nurse'><group>Servants</group></item>"))
		item := " <query xmlns='jabber:iq:roster' ver='%s'><item jid='nurse@example.com' name='Nurse' subscription='none'><group>Servants</group></item></query>"
		heard := p.heard("juliet/balcony")
		if len(heard) != 2 || !strings.HasPrefix(heard[0], "iq type=set id=push-1 to=juliet@example.com/balcony") ||
			!strings.HasSuffix(heard[0], fmt.Sprintf(item, version(heard[0]))) || heard[1] != "iq type=result id=r1 to=juliet@example.com/balcony" {
			t.Errorf("%q", heard)
		}
		p.expect("juliet/chamber", "iq type=set id=push-1 to=juliet@example.com/chamber")
		p.expect("juliet/silent")
		ver := version(heard[0])
		p.send("juliet/silent", "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver=''/></iq>")
		if got := edgetest.Text(p.until("juliet/silent", "iq type=result id=g")); !strings.HasSuffix(got, fmt.Sprintf(item, ver)) {
			t.Error(got)
		}
		// 2.6.3: nothing is sent to who has it all.
		p.send("juliet/silent", "<iq type='get' id='g2'><query xmlns='jabber:iq:roster' ver='"+ver+"'/></iq>")
		if st := p.until("juliet/silent", "iq type=result id=g2"); len(st.Inner) > 0 {
			t.Errorf("%s", st.Inner)
		}
		p.send("juliet/balcony", rosterSet("r2", "<item jid='nurse@example.com' subscription='remove'/>"))
		p.expect("juliet/balcony", "iq type=set id=push-2", "iq type=result id=r2")
		p.expect("juliet/silent", "iq type=set id=push-1")
		p.send("juliet/balcony", rosterSet("r3", "<item jid='nurse@example.com' subscription='remove'/>"))
		p.expect("juliet/balcony", "iq type=error id=r3 to=juliet@example.com/balcony <error type='cancel'><item-not-found")
	})
	for _, c := range []struct{ name, items, want string }{
		{"2.3.3 two items", "<item jid='a@example.com'/><item jid='b@example.com'/>", "bad-request"},
		{"2.3.3 no item", "", "bad-request"},
		{"2.3.3 no jid", "<item/>", "bad-request"},
		{"2.3.3 malformed jid", "<item jid='@example.com'/>", "jid-malformed"},
		{"2.3.3 a group twice", "<item jid='a@example.com'><group>x</group><group>x</group></item>", "bad-request"},
		{"2.3.3 a group without a name", "<item jid='a@example.com'><group/></item>", "not-acceptable"},
		{"2.3.3 a name too long", "<item jid='a@example.com' name='" + strings.Repeat("x", 1024) + "'/>", "not-acceptable"},
		{"2.3.3 a group too long", "<item jid='a@example.com'><group>" + strings.Repeat("x", 1024) + "</group></item>", "not-acceptable"},
		{"2.3.3 oneself", "<item jid='juliet@example.com'/>", "not-allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			p.dial("juliet/balcony")
			p.send("juliet/balcony", rosterSet("x", c.items))
			if st := p.until("juliet/balcony", "iq type=error id=x"); !strings.Contains(string(st.Inner), "<"+c.want+" ") {
				t.Errorf("%s", st.Inner)
			}
		})
	}
	t.Run("2.3 the log is away", func(t *testing.T) {
		p := newPlay(t, edge.Options{})
		p.dial("juliet/balcony")
		p.house.Refuse(errors.New("away"))
		p.send("juliet/balcony", rosterSet("x", "<item jid='a@example.com'/>"))
		p.expect("juliet/balcony", "iq type=error id=x to=juliet@example.com/balcony <error type='wait'>")
		p.house.Refuse(nil)
		p.send("juliet/balcony", rosterSet("x", "<item jid='a@example.com'/>"))
		p.expect("juliet/balcony", "iq type=result id=x")
	})
}

// version gives the ver of a roster push.
func version(push string) string {
	_, after, _ := strings.Cut(push, "ver='")
	ver, _, _ := strings.Cut(after, "'")
	return ver
}
