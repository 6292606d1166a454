package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// nothingLeaks has a person on one edge hide from a contact on the other in
// each way there is (XEP-0191, XEP-0016, XEP-0186), and say something in the
// same write: the contact sees them go and nothing of what was said until they
// are seen again. In the middle of it the workers are killed.
func (w *world) nothingLeaks(t *testing.T) {
	trust := w.stack.trust(t)
	juliet, romeo := w.join(t, w.loginOf(t, "edge-1", "juliet", "veil", trust)), w.join(t, w.loginOf(t, "edge-2", "romeo", "watch", trust))
	other := w.join(t, w.loginOf(t, "edge-2", "juliet", "mirror", trust))
	j, r := w.people["juliet"].bare, w.people["romeo"].bare
	say := func(s *session, xml string) {
		t.Helper()
		if err := s.send(xml); err != nil {
			t.Fatal(err)
		}
	}
	set := func(payload string) {
		t.Helper()
		if st, err := juliet.ask("set", payload); err != nil || st.Type != "result" {
			t.Fatalf("%s: %+v %v", payload, st, err)
		}
	}
	say(romeo, "<presence type='subscribe' to='"+j+"'/>")
	juliet.expect(t, "the request", verb("subscribe", r))
	say(juliet, "<presence type='subscribed' to='"+r+"'/>")
	romeo.expect(t, "juliet", shown(juliet.full, ""))
	set("<query xmlns='" + stanza.NSRoster + "'><item jid='" + r + "'><group>Foes</group></item></query>")

	// Every request has an id of its own: the answer to an earlier one may be late.
	iqs := 0
	iq := func(payload string) string {
		iqs++
		return fmt.Sprintf("<iq type='set' id='iq-%d'>%s</iq>", iqs, payload)
	}
	list := func(inner string) string { return "<query xmlns='" + stanza.NSPrivacy + "'>" + inner + "</query>" }
	item := "<item jid='" + r + "'/>"
	byGroup := "<list name='foes'><item type='group' value='Foes' action='deny' order='1'/></list>"
	outOnly := "<list name='foes'><item type='jid' value='" + r + "' action='deny' order='1'><presence-out/></item></list>"
	rounds := 0
	for _, way := range []struct {
		name, show string
		hide       []string
	}{
		{"block list", "<unblock xmlns='" + stanza.NSBlocking + "'>" + item + "</unblock>", []string{"<block xmlns='" + stanza.NSBlocking + "'>" + item + "</block>"}},
		{"list by group", list("<active/>"), []string{list(byGroup), list("<active name='foes'/>")}},
		{"list by JID", list("<active/>"), []string{list(outOnly), list("<active name='foes'/>")}},
		{"invisible", "<visible xmlns='" + stanza.NSInvisible + "'/>", []string{"<invisible xmlns='" + stanza.NSInvisible + "'/>"}},
	} {
		for n := range 5 {
			from := len(romeo.sightings())
			rounds++
			secret, plain, open := fmt.Sprintf("secret %d", rounds), fmt.Sprintf("plain %d", rounds), fmt.Sprintf("open %d", rounds)
			hide := ""
			for _, payload := range way.hide {
				hide += iq(payload)
			}
			say(juliet, hide+"<presence><status>"+secret+"</status></presence>")
			other.expect(t, way.name+": "+secret, shown(juliet.full, secret))
			if n == 2 && way.name != "invisible" {
				w.stack.killParts(t, "worker-1", "worker-2")
				w.stack.awaitReady(t)
				say(juliet, "<presence><status>secret still</status></presence>")
				other.expect(t, way.name+": what is said after the workers died", shown(juliet.full, "secret still"))
			}
			eventually(t, way.name+": romeo sees juliet go", loginTime, func() error {
				if shows, there := romeo.seen()[juliet.full]; there {
					return fmt.Errorf("he sees %s", shows)
				}
				return nil
			})
			// What she is when she is seen again is for him.
			say(juliet, "<presence><status>"+plain+"</status></presence>"+iq(way.show)+"<presence><status>"+open+"</status></presence>")
			romeo.expect(t, way.name+": "+open, shown(juliet.full, open))
			for _, seen := range romeo.sightings()[from:] {
				if seen.from == juliet.full && strings.Contains(seen.shows, "secret") {
					t.Errorf("%s, round %d: romeo sees %+v", way.name, n, seen)
				}
			}
		}
	}

	// Blocked: nothing comes or goes, and no view has either.
	set("<block xmlns='" + stanza.NSBlocking + "'>" + item + "</block>")
	say(romeo, "<message id='m' type='chat' to='"+j+"'><body>Hear me</body></message><iq id='i' type='get' to='"+juliet.full+"'><ping xmlns='"+stanza.NSPing+"'/></iq>")
	refused := func(id string) func(*stanza.Stanza) bool {
		return func(st *stanza.Stanza) bool {
			return st.ID == id && st.Type == "error" && strings.Contains(string(st.Inner), "<service-unavailable ")
		}
	}
	romeo.expect(t, "the message refused", refused("m"))
	romeo.expect(t, "the iq refused", refused("i"))
	say(juliet, "<message id='n' type='chat' to='"+r+"'><body>No</body></message>")
	juliet.expect(t, "her own message refused", func(st *stanza.Stanza) bool {
		return st.ID == "n" && st.Type == "error" && strings.Contains(string(st.Inner), "<blocked xmlns='urn:xmpp:blocking:errors'/>")
	})
	eventually(t, "views equal the fold", loginTime, func() error {
		if err := w.ledger.reached(t.Context()); err != nil {
			return err
		}
		for bare, s := range map[string]*session{j: juliet, r: romeo} {
			if err := same(w.ledger.view(bare), s.seen()); err != nil {
				return fmt.Errorf("%s: %w", s.full, err)
			}
		}
		return nil
	})
	w.onlineFriends(t)
	set("<unblock xmlns='" + stanza.NSBlocking + "'/>")
	set("<query xmlns='" + stanza.NSRoster + "'><item jid='" + r + "' subscription='remove'/></query>")
	for _, s := range []*session{juliet, romeo, other} {
		if err := s.close(); err != nil {
			t.Errorf("%s leaves: %v", s.full, err)
		}
	}
}
