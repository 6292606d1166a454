package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// carbons has two people talk, each with a second client on the other edge
// that gets copies (XEP-0280) and a third that did not ask for them; in the
// middle of it the workers are killed. Who has what, how often, and in which
// order is held against the log.
func (w *world) carbons(t *testing.T) {
	const turns = 40
	trust := w.stack.trust(t)
	at := func(edge, name, resource string, copies bool) *session {
		t.Helper()
		s := w.join(t, w.loginOf(t, edge, name, resource, trust))
		if copies {
			st, err := s.ask("set", "<enable xmlns='"+stanza.NSCarbons+"'/>")
			if err != nil || st.Type != "result" {
				t.Fatalf("%s enables copies: %v %v", s.full, st, err)
			}
		}
		return s
	}
	balcony, chamber, attic := at("edge-1", "juliet", "balcony", false), at("edge-2", "juliet", "chamber", true), at("edge-1", "juliet", "attic", false)
	orchard, street, tower := at("edge-2", "romeo", "orchard", false), at("edge-1", "romeo", "street", true), at("edge-2", "romeo", "tower", false)
	j, r := w.people["juliet"].bare, w.people["romeo"].bare

	for n := range turns {
		if n == turns/2 {
			w.stack.killParts(t, "worker-1", "worker-2")
		}
		from, to := balcony, orchard
		if n%3 == 0 {
			from, to = to, from
		}
		body := fmt.Sprintf("copied %d", n)
		if err := from.send("<message type='chat' to='" + to.full + "'><body>" + body + "</body></message>"); err != nil {
			t.Fatal(err)
		}
		if n%5 == 0 {
			if err := from.ping(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// One that goes to all, and one that is not to be copied, come last.
	for _, end := range []struct {
		from *session
		xml  string
	}{
		{balcony, "<message type='chat' to='" + orchard.full + "'><body>copied not</body><private xmlns='" + stanza.NSCarbons + "'/></message>"},
		{balcony, "<message type='chat' to='" + r + "'><body>copied to all of romeo</body></message>"},
		{orchard, "<message type='chat' to='" + j + "'><body>copied to all of juliet</body></message>"},
	} {
		if err := end.from.send(end.xml); err != nil {
			t.Fatal(err)
		}
		if err := end.from.ping(); err != nil {
			t.Fatal(err)
		}
	}

	// What each of them hears, of these messages: "body" for one itself,
	// "received body" and "sent body" for copies.
	heard := func(s *session) (all []string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, st := range s.unread {
			if st.Kind != stanza.Message || st.Type == "error" {
				continue
			}
			said, direction := st.Message().Body, ""
			for _, d := range []string{"received", "sent"} {
				if c, ok := stanza.Find(st.Inner, stanza.NSCarbons, d); ok {
					e, err := c.Element()
					if err != nil || st.From != strings.SplitN(s.full, "/", 2)[0] || st.To != s.full {
						t.Errorf("copy from %s to %s: %v", st.From, st.To, err)
						continue
					}
					said, direction = e.Child(stanza.NSForward, "forwarded").Child(stanza.NSClient, "message").ChildText(stanza.NSClient, "body"), d+" "
				}
			}
			if strings.HasPrefix(said, "copied ") {
				all = append(all, direction+said)
			}
		}
		return all
	}
	// The log's order, of what the account has sent and received.
	eventually(t, "the log has all of it", loginTime, func() error {
		for _, account := range []string{j, r} {
			if n := len(w.ledger.talk(account, "copied ")); n != turns+3 {
				return fmt.Errorf("%s: %d", account, n)
			}
		}
		return nil
	})
	inOrder := func(account string, of func(said string) string) (want []string) {
		for _, said := range w.ledger.talk(account, "copied ") {
			if said = of(said); said != "" {
				want = append(want, said)
			}
		}
		return want
	}
	itself := func(said string) string {
		body, _ := strings.CutPrefix(said, "received ")
		if body == said {
			return ""
		}
		return body
	}
	copied := func(said string) string {
		switch {
		case strings.HasSuffix(said, " not"):
			return ""
		case strings.HasPrefix(said, "received copied to all"):
			return itself(said)
		}
		return said
	}
	only := func(said string) string {
		if strings.HasPrefix(said, "received copied to all") {
			return itself(said)
		}
		return ""
	}
	// Copies come once and in the log's order, before and after their worker
	// dies. A message itself comes from the inbox then, when it comes, and
	// once more if nobody has told yet that it came.
	settle := func(all []string) (settled []string) {
		isCopy := func(said string) bool {
			return strings.HasPrefix(said, "received ") || strings.HasPrefix(said, "sent ")
		}
		for _, said := range all {
			if isCopy(said) {
				settled = append(settled, said)
			}
		}
		messages := slices.DeleteFunc(slices.Clone(all), isCopy)
		slices.Sort(messages)
		return append(settled, slices.Compact(messages)...)
	}
	for _, c := range []struct {
		s       *session
		account string
		of      func(string) string
	}{
		{balcony, j, itself}, {chamber, j, copied}, {attic, j, only}, {orchard, r, itself}, {street, r, copied}, {tower, r, only},
	} {
		want := inOrder(c.account, c.of)
		eventually(t, c.s.full+" has all", loginTime, func() error {
			if got := heard(c.s); len(got) < len(want) {
				return fmt.Errorf("%d of %d", len(got), len(want))
			}
			return nil
		})
		if err := c.s.ping(); err != nil {
			t.Fatal(err)
		}
		got, want := settle(heard(c.s)), settle(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s heard\n%q, want\n%q", c.s.full, got, want)
		}
	}
	for _, s := range []*session{balcony, chamber, attic, orchard, street, tower} {
		if err := s.close(); err != nil {
			t.Errorf("%s leaves: %v", s.full, err)
		}
	}
}
