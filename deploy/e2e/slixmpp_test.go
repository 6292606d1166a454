package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// slixmpp is a program that uses slixmpp.
func slixmpp(t *testing.T, s *stack) {
	python, run := pip(t, "slixmpp"), s.run(t)
	host, port, _ := strings.Cut(run.part("edge-1").Listen["starttls"], ":")
	guided(t, s, "lorenzo", "jessica", "nick", func(jid, contact string) *visitor {
		return visit(t, "slixmpp", python, "client.py", host, port, filepath.Join(run.Certificates, run.Domain+".crt"), jid, password, contact)
	}, s.looksBack)
}

// looksBack has the client use receipts (XEP-0184), the archive, two messages a
// page, both ways (XEP-0313), and what it keeps (XEP-0441).
func (s *stack) looksBack(t *testing.T, do func(string), he *visitor, she *session, jid, contact string) {
	do("say with a receipt")
	asked := she.expect(t, "a line that wants a receipt", func(st *stanza.Stanza) bool {
		_, wanted := stanza.Find(st.Inner, "urn:xmpp:receipts", "request")
		return wanted && st.Message().Body == "with a receipt"
	})
	she.must(t, "<message to='"+asked.From+"'><received xmlns='urn:xmpp:receipts' id='"+asked.ID+"'/></message>")
	he.tells(t, "receipt from "+she.full)
	// What he sends is in his history once the projector has folded it, so an
	// answer may come before: not the last.
	eventually(t, "his line is in his archive", 30*time.Second, func() error {
		n, err := s.clickhouse(t, "SELECT count() FROM archive WHERE owner = '"+jid+"' AND body = 'with a receipt'")
		if err == nil && n != "1\n" {
			err = fmt.Errorf("it is there %s times", strings.TrimSpace(n))
		}
		return err
	})
	she.must(t, "<message type='chat' id='r1' to='"+jid+"'><body>back</body><request xmlns='urn:xmpp:receipts'/></message>")
	he.tells(t, "reads back")
	she.expect(t, "his receipt", func(st *stanza.Stanza) bool {
		received, ok := stanza.Find(st.Inner, "urn:xmpp:receipts", "received")
		return ok && received.Attr("id") == "r1"
	})
	said := []string{
		jid + " how sweet the moonlight sleeps", contact + " in such a night", jid + " from afar", jid + " with a receipt", contact + " back",
	}
	kept := func(way string, want []string) {
		t.Helper()
		before := len(he.said)
		do(way)
		var got []string
		for _, line := range he.said[before:] {
			if line, ok := strings.CutPrefix(line, "kept "); ok {
				got = append(got, line)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: %q, want %q", way, got, want)
		}
	}
	kept("archive", said)
	do("keep never")
	she.must(t, "<message type='chat' to='"+jid+"'><body>between us</body></message>")
	he.tells(t, "reads between us")
	do("keep always")
	// Backwards slixmpp 1.17 ends with the first page, for that ends where the
	// archive does.
	kept("archive backwards", said[len(said)-1:])
	kept("archive", said)
}

// xmppjsDaily is a program that uses @xmpp/client every day.
func xmppjsDaily(t *testing.T, s *stack) {
	node, run := npm(t, "xmppjs"), s.run(t)
	trust := "NODE_EXTRA_CA_CERTS=" + filepath.Join(run.Certificates, run.Domain+".crt")
	guided(t, s, "antonio", "portia", "avatar", func(jid, contact string) *visitor {
		return visit(t, "xmppjs", "env", trust, node, "client.js", run.Domain, strings.TrimSuffix(jid, "@"+run.Domain), password, contact,
			"xmpps://"+run.part("edge-1").Listen["tls"])
	}, func(*testing.T, func(string), *visitor, *session, string, string) {})
}

// guided has a client do as its account's phone tells it, while its contact, at
// the other edge, watches. By publish it publishes something over PEP, and also
// is what this client does besides.
func guided(t *testing.T, s *stack, name, other, publish string, start func(jid, contact string) *visitor,
	also func(t *testing.T, do func(string), he *visitor, she *session, jid, contact string)) {
	run := s.run(t)
	jid, contact := name+"@"+run.Domain, other+"@"+run.Domain
	at := func(edge, user, resource string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: resource}
	}
	if err := register(at("edge-1", "", ""), []string{name, other}); err != nil {
		t.Fatal(err)
	}
	join := func(edge, user, resource string) *session {
		c, err := connect(at(edge, user, resource), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		c.must(t, "<presence><priority>-1</priority></presence>")
		return c
	}
	she, phone := join("edge-2", other, "belmont"), join("edge-2", name, "phone")
	he := start(jid, contact)
	full := he.tells(t, "is ")
	if !strings.HasPrefix(full, jid+"/") {
		t.Fatal(full)
	}
	he.tells(t, "knows")
	order := func(command string) {
		t.Helper()
		phone.must(t, "<message to='"+full+"'><body>"+command+"</body></message>")
	}
	do := func(command string) {
		t.Helper()
		order(command)
		he.tells(t, "did "+command)
	}
	presence := func(kind, from string) func(*stanza.Stanza) bool {
		return func(st *stanza.Stanza) bool { return st.Kind == stanza.Presence && st.Type == kind && st.From == from }
	}
	message := func(from, body string) func(*stanza.Stanza) bool {
		return func(st *stanza.Stanza) bool {
			return st.Kind == stanza.Message && st.Type == "chat" && st.From == from && st.Message().Body == body
		}
	}

	// Each asks the other, and is let in.
	do("subscribe")
	she.expect(t, "his request", presence("subscribe", jid))
	she.must(t, "<presence type='subscribed' to='"+jid+"'/>")
	he.tells(t, "approved by "+contact)
	he.tells(t, "sees "+contact+"/belmont available")
	she.must(t, "<presence type='subscribe' to='"+jid+"'/>")
	he.tells(t, "asked by "+contact)
	she.expect(t, "him", presence("", full))

	// The contact changes, goes and comes.
	she.must(t, "<presence><show>away</show><status>at the casket</status></presence>")
	he.tells(t, "sees "+contact+"/belmont away at the casket")
	she.must(t, "<presence type='unavailable'/>")
	he.tells(t, "sees "+contact+"/belmont unavailable")
	she.must(t, "<presence/>")
	he.tells(t, "sees "+contact+"/belmont available")

	// Chat both ways, and copies of what the phone says (XEP-0280).
	do("say how sweet the moonlight sleeps")
	she.expect(t, "his line", message(full, "how sweet the moonlight sleeps"))
	she.must(t, "<message type='chat' to='"+jid+"'><body>in such a night</body></message>")
	he.tells(t, "reads in such a night")
	phone.must(t, "<message type='chat' to='"+contact+"'><body>from afar</body></message>")
	he.tells(t, "also sent from afar")

	// What is published over PEP comes back to who wants it (XEP-0163, XEP-0172).
	if publish == "nick" {
		order("nick Enzo")
		he.tells(t, "nick of "+jid+" Enzo")
	} else {
		do(publish)
	}

	also(t, do, he, she, jid, contact)

	// Whoever is blocked sees nobody and is not heard (XEP-0191).
	do("block")
	she.expect(t, "him go", presence("unavailable", full))
	she.must(t, "<message type='chat' to='"+jid+"' id='unheard'><body>unheard</body></message>")
	she.expect(t, "a refusal", func(st *stanza.Stanza) bool { return st.Type == "error" && st.ID == "unheard" })
	do("say anything")
	he.tells(t, "refused not-acceptable")
	order("unblock")
	she.expect(t, "him again", presence("", full))
	he.tells(t, "sees "+contact+"/belmont available")

	// A connection that breaks is resumed, with all that came meanwhile (XEP-0198).
	order("break")
	he.tells(t, "breaks")
	she.must(t, "<message type='chat' to='"+full+"'><body>across the gap</body></message>")
	for first := he.tells(t, "re"); ; { // "resumed" and "reads …", whichever the client tells first
		next := map[string]string{"sumed": "reads across the gap", "ads across the gap": "resumed"}[first]
		if next != "" {
			he.tells(t, next)
			break
		}
		first = he.tells(t, "re")
	}
	order("leave")
	he.leaves(t)
	she.expect(t, "him leave", presence("unavailable", full))
}

// must sends, or the test fails.
func (c *session) must(t *testing.T, xml string) {
	t.Helper()
	if err := c.send(xml); err != nil {
		t.Fatal(err)
	}
}

// pip gives Python, with the packages of a client's requirements in an
// environment of their own, beside the engines.
func pip(t *testing.T, folder string) (python string) {
	t.Helper()
	return pipAs(t, folder, filepath.Join("clients", folder, "requirements.txt"))
}

// pipAs is pip in an environment of that name, with the packages of any file.
func pipAs(t *testing.T, folder, requirements string) (python string) {
	t.Helper()
	wanted, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs(filepath.Join(filepath.Dir(local.DefaultEngines()), folder))
	if err != nil {
		t.Fatal(err)
	}
	python, there := filepath.Join(dir, "bin", "python3"), filepath.Join(dir, "requirements.txt")
	if installed, err := os.ReadFile(there); err == nil && string(installed) == string(wanted) {
		return python
	}
	system := program(t, "Python 3.11 to 3.14 with venv (apt install python3-venv)", "python3")
	began := time.Now()
	if said, err := exec.CommandContext(t.Context(), system, "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		t.Fatalf("no environment for Python packages: install python3-venv (apt install python3-venv): %v\n%s", err, said)
	}
	install := exec.CommandContext(t.Context(), python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
		"--require-hashes", "--only-binary", ":all:", "-r", requirements)
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("pip install -r %s: %v\n%s", requirements, err, said)
	}
	if err := os.WriteFile(there, wanted, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is installed, %.1f s", folder, time.Since(began).Seconds())
	return python
}
