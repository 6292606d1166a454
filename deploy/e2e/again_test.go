package e2e

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// sentAgain has a client that is cut off write all again that it does not know
// to have arrived, by the other edge and under the same origin ids (XEP-0359),
// while the workers are killed: who it is for gets each under one stanza id.
// That the archive has it once, and that no view of the log differs, the steps
// after this one check.
func (w *world) sentAgain(t *testing.T) {
	const turns, each = 6, 5
	trust := w.stack.trust(t)
	to := w.join(t, w.loginOf(t, "edge-1", "juliet", "again", trust))
	write := func(from *session, turn int) {
		t.Helper()
		for n := range each {
			if err := from.send(fmt.Sprintf("<message type='chat' to='%s'><body>again %d.%d</body><origin-id xmlns='%s' id='again-%[2]d.%[3]d'/></message>",
				to.full, turn, n, stanza.NSStanzaID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for turn := range turns {
		from := w.join(t, w.loginOf(t, []string{"edge-1", "edge-2"}[turn%2], "romeo", "again", trust))
		if turn > 0 {
			write(from, turn-1)
		}
		write(from, turn)
		if turn == turns/2 {
			w.stack.killParts(t, "worker-1", "worker-2")
		}
		if err := from.ping(); err != nil { // all of it is in the log
			t.Fatal(err)
		}
		from.cut()
	}
	// By body, the stanza ids.
	heard := func() map[string]map[string]bool {
		to.mu.Lock()
		defer to.mu.Unlock()
		all := make(map[string]map[string]bool)
		for _, st := range to.unread {
			if st.Kind != stanza.Message || st.Type != "chat" {
				continue
			}
			var turn, n int
			body := st.Message().Body
			if _, err := fmt.Sscanf(body, "again %d.%d", &turn, &n); err != nil {
				continue
			}
			if all[body] == nil {
				all[body] = make(map[string]bool)
			}
			id, _ := stanza.Find(st.Inner, stanza.NSStanzaID, "stanza-id")
			all[body][id.Attr("id")] = true
		}
		return all
	}
	eventually(t, "juliet has all of it", loginTime, func() error {
		if n := len(heard()); n != turns*each {
			return fmt.Errorf("%d of %d", n, turns*each)
		}
		return nil
	})
	last := w.join(t, w.loginOf(t, "edge-2", "romeo", "again", trust))
	if err := last.send("<message type='chat' to='" + to.full + "'><body>again no more</body></message>"); err != nil {
		t.Fatal(err)
	}
	to.expect(t, "the last message", func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Message && st.Message().Body == "again no more"
	})
	for body, ids := range heard() {
		if len(ids) != 1 {
			t.Errorf("%q came under the ids %v", body, ids)
		}
	}
	for _, s := range []*session{to, last} {
		if err := s.close(); err != nil {
			t.Errorf("%s leaves: %v", s.full, err)
		}
	}
}
