package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A stream that breaks is resumed on the other edge (XEP-0198), while the edge
// that held it runs, has just been killed, or was given up: of what the client
// had sent and was not told to be handled nothing is lost and nothing is twice
// in the log, and a message that it did not acknowledge comes again.
func TestResumption(t *testing.T) {
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	befriended(t, s, "edge-1", "juliet", "romeo").cut()
	run := s.run(t)
	log := openLedger(t, run.KafkaBrokers)
	juliet, romeo := "juliet@"+run.Domain, "romeo@"+run.Domain
	other, err := connect(login{address: run.part("edge-2").Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: "romeo", resource: "pc"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.cut)
	if err := other.send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	other.expect(t, "itself", shown(other.full, ""))

	dial := func(t *testing.T, edge, resource string) *edgetest.Client {
		t.Helper()
		r := s.run(t)
		c, err := edgetest.Dial(edgetest.ClientOptions{
			Address: r.part(edge).Listen["starttls"], Domain: run.Domain, TLS: s.trust(t), User: "juliet", Password: password,
			Resource: resource, Unbound: resource == "",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Conn.Close() })
		return c
	}
	next := func(t *testing.T, c *edgetest.Client, local string) *stanza.Stanza {
		t.Helper()
		for {
			st, err := c.Next()
			if err != nil {
				t.Fatalf("no %s: %v", local, err)
			}
			if st.Local == local {
				return st
			}
		}
	}
	send := func(t *testing.T, c *edgetest.Client, xml string) {
		t.Helper()
		if err := c.Send(xml); err != nil {
			t.Fatal(err)
		}
	}
	for i, v := range []struct {
		name  string
		held  string // edge that holds the session
		apart func(t *testing.T, c *edgetest.Client)
	}{
		{"the edge runs", "edge-1", func(t *testing.T, c *edgetest.Client) { c.Conn.Close() }},
		{"the edge was just killed", "edge-1", func(t *testing.T, c *edgetest.Client) { s.signal(t, "edge-1", syscall.SIGKILL) }},
		{"the edge was given up", "edge-1", func(t *testing.T, c *edgetest.Client) {
			s.killParts(t, "edge-1")
			other.expect(t, "that she is gone", func(st *stanza.Stanza) bool {
				return st.Kind == stanza.Presence && st.Type == "unavailable" && st.From == c.Full
			})
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			s.awaitReady(t)
			c := dial(t, v.held, fmt.Sprintf("phone%d", i))
			full := c.Full
			send(t, c, "<enable xmlns='"+stanza.NSSM+"' resume='true'/>")
			id := next(t, c, "enabled").ID
			send(t, c, "<presence><status>here</status></presence>")
			heard := 0 // stanzas that she has handled
			for heard < 1 {
				if st, err := c.Next(); err != nil {
					t.Fatal(err)
				} else if st.Kind != stanza.Other {
					heard++
				}
			}
			other.expect(t, "that she is here", shown(full, "here"))
			// What comes to her and she acknowledges nothing of.
			word := fmt.Sprintf("to her %d", i)
			if err := other.send("<message type='chat' to='" + full + "'><body>" + word + "</body></message>"); err != nil {
				t.Fatal(err)
			}
			next(t, c, "message")
			// What she sends: some of it is certainly on its way when it breaks.
			sent := []string{"<presence><status>here</status></presence>"}
			for n := range 40 {
				to := romeo
				if n%8 == 0 {
					to = "nobody@" + run.Domain
				}
				sent = append(sent, fmt.Sprintf("<message type='chat' to='%s'><body>from her %d %d</body></message>", to, i, n))
			}
			send(t, c, strings.Join(sent[1:30], ""))
			v.apart(t, c)
			c.Conn.Close()

			back := dial(t, "edge-2", "")
			send(t, back, fmt.Sprintf("<resume xmlns='%s' h='%d' previd='%s'/>", stanza.NSSM, heard, id))
			st, err := back.Next()
			if err != nil || st.Local != "resumed" {
				t.Fatalf("not resumed: %v %v", st, err)
			}
			var handled int
			if _, err := fmt.Sscan(st.Attr("h"), &handled); err != nil || handled > 30 {
				t.Fatal(st.Attr("h"), err)
			}
			t.Logf("handled %d of 30", handled)
			send(t, back, strings.Join(sent[handled:], ""))
			for next(t, back, "message").Message().Body != word { // errors, and what she left in the inbox before
			}
			if _, err := back.Sync(); err != nil {
				t.Fatal(err)
			}
			var want []string
			for n := range 40 {
				if n%8 != 0 {
					want = append(want, fmt.Sprintf("sent from her %d %d", i, n))
				}
			}
			eventually(t, "the log has all of it, once", loginTime, func() error {
				got := log.talk(juliet, fmt.Sprintf("from her %d ", i))
				seen := make(map[string]int)
				for _, said := range got {
					seen[said]++
				}
				for _, said := range want {
					if seen[said] != 1 {
						return fmt.Errorf("%q is there %d times", said, seen[said])
					}
				}
				if len(got) != len(want) {
					return fmt.Errorf("%d, want %d", len(got), len(want))
				}
				return nil
			})
			if v.name == "the edge was given up" {
				other.expect(t, "that she is here again", shown(full, "here"))
			}
			if v.name == "the edge runs" {
				for _, seen := range other.sightings() {
					if seen.from == full && seen.shows == gone {
						t.Error("somebody noticed")
					}
				}
			}
			if err := back.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
