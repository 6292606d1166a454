package e2e

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// twoContacts follows two contacts on two edges from their first request to
// its cancellation, step by step.
func (w *world) twoContacts(t *testing.T) {
	trust := w.stack.trust(t)
	one := w.loginOf(t, "edge-1", "juliet", "balcony", trust)
	one.direct, one.address, one.mechanism = true, w.listen(t, "edge-1", "tls"), "SCRAM-SHA-1"
	two := w.loginOf(t, "edge-2", "romeo", "orchard", trust)
	juliet, romeo := w.join(t, one), w.join(t, two)
	j, r := w.people["juliet"].bare, w.people["romeo"].bare

	say := func(s *session, xml string) {
		t.Helper()
		if err := s.send(xml); err != nil {
			t.Fatal(err)
		}
	}
	befriend := func(a, b *session, from, to string) {
		t.Helper()
		say(a, "<presence type='subscribe' to='"+to+"'/>")
		b.expect(t, "the request", verb("subscribe", from))
		say(b, "<presence type='subscribed' to='"+from+"'/>")
		a.expect(t, "the approval", verb("subscribed", to))
		a.expect(t, "the contact online", shown(b.full, ""))
	}
	befriend(romeo, juliet, r, j)
	befriend(juliet, romeo, j, r)

	// Presence, one at a time: all of it, in order.
	from := len(romeo.sightings())
	for n := range 10 {
		status := fmt.Sprintf("balcony %d", n)
		say(juliet, "<presence><status>"+status+"</status></presence>")
		romeo.expect(t, status, shown(juliet.full, status))
	}
	for n, seen := range romeo.sightings()[from:] {
		if want := shows("", fmt.Sprintf("balcony %d", n), 0); seen.from != juliet.full || seen.shows != want {
			t.Errorf("sighting %d is %+v, not %s", n, seen, want)
		}
	}
	// And in a burst: what is seen is in the log's order and ends as it does.
	for n := range 200 {
		say(juliet, fmt.Sprintf("<presence><status>burst %d</status></presence>", n))
	}
	romeo.expect(t, "the end of the burst", shown(juliet.full, "burst 199"))
	eventually(t, "the log is read", loginTime, func() error { return w.ledger.reached(t.Context()) })
	for _, s := range []*session{juliet, romeo} {
		if _, err := w.ledger.follows(s.sightings()); err != nil {
			t.Errorf("%s: %v", s.full, err)
		}
	}

	// Messages to a full and to a bare JID, and to who is offline.
	say(romeo, "<message type='chat' id='m1' to='"+juliet.full+"'><body>Soft! what light?</body></message>")
	juliet.expect(t, "the message to her resource", body("Soft! what light?"))
	say(juliet, "<message type='chat' id='m2' to='"+r+"'><body>Wherefore art thou?</body></message>")
	romeo.expect(t, "the message to his account", body("Wherefore art thou?"))
	stranger := w.people["stranger"]
	say(juliet, "<message type='chat' id='m3' to='"+stranger.bare+"'><body>Who art thou?</body></message>")
	if err := juliet.ping(); err != nil {
		t.Fatal(err)
	}
	other := w.join(t, w.loginOf(t, "edge-2", "stranger", "street", trust))
	late := other.expect(t, "the message that waited", body("Who art thou?"))
	if _, ok := stanza.Find(late.Inner, stanza.NSDelay, "delay"); !ok {
		t.Errorf("the message that waited has no delay: %s", late.Inner)
	}
	if err := other.close(); err != nil {
		t.Errorf("the stranger leaves: %v", err)
	}
	for full := range other.seen() {
		if full != other.full {
			t.Errorf("a stranger sees %s", full)
		}
	}

	// Gone and back.
	if err := romeo.close(); err != nil {
		t.Errorf("romeo leaves: %v", err)
	}
	juliet.expect(t, "romeo offline", func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.Type == "unavailable" && st.From == romeo.full
	})
	romeo = w.join(t, two)
	romeo.expect(t, "juliet as she is", shown(juliet.full, "burst 199"))
	juliet.expect(t, "romeo online again", shown(romeo.full, ""))

	// After a cancellation is acknowledged, nothing more is seen.
	say(juliet, "<presence type='unsubscribed' to='"+r+"'/>")
	if err := juliet.ping(); err != nil {
		t.Fatal(err)
	}
	from = len(romeo.sightings())
	say(juliet, "<presence><status>secret</status></presence><message type='chat' to='"+r+"'><body>Farewell</body></message>")
	romeo.expect(t, "the cancellation", verb("unsubscribed", j))
	romeo.expect(t, "the message that came after", body("Farewell"))
	eventually(t, "romeo sees juliet go", loginTime, func() error { return same(w.ledger.view(r), romeo.seen()) })
	for _, seen := range romeo.sightings()[from:] {
		if seen.from == juliet.full && seen.shows != gone {
			t.Errorf("after the cancellation romeo sees %+v", seen)
		}
	}
	for _, s := range []*session{juliet, romeo} {
		if err := s.close(); err != nil {
			t.Errorf("%s leaves: %v", s.full, err)
		}
	}
}

// join connects somebody who is no device, and becomes available.
func (w *world) join(t *testing.T, l login) *session {
	t.Helper()
	s, err := connect(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cut)
	st, err := s.ask("get", "<query xmlns='"+stanza.NSRoster+"'/>")
	if err != nil || st.Type != "result" {
		t.Fatalf("roster of %s: %+v %v", s.full, st, err)
	}
	if err := s.send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	s.expect(t, "itself", shown(s.full, ""))
	return s
}

func verb(kind, from string) func(*stanza.Stanza) bool {
	return func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.Type == kind && st.From == from
	}
}

func shown(full, status string) func(*stanza.Stanza) bool {
	return func(st *stanza.Stanza) bool {
		if st.Kind != stanza.Presence || st.Type != "" || st.From != full {
			return false
		}
		p, err := st.Presence()
		return err == nil && p.Status == status
	}
}

func body(text string) func(*stanza.Stanza) bool {
	return func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Message && st.Type != "error" && st.Message().Body == text
	}
}
