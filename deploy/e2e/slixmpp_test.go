package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// slixmpp is a program that uses slixmpp, and does as its account's phone
// tells it, while its contact, at the other edge, watches.
func slixmpp(t *testing.T, s *stack) {
	python := pip(t, "slixmpp")
	run := s.run(t)
	const jid, contact = "lorenzo@localhost", "jessica@localhost"
	at := func(edge, user, resource string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: resource}
	}
	if err := register(at("edge-1", "", ""), []string{"lorenzo", "jessica"}); err != nil {
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
	jessica, phone := join("edge-2", "jessica", "belmont"), join("edge-2", "lorenzo", "phone")
	host, port, _ := strings.Cut(run.part("edge-1").Listen["starttls"], ":")
	lorenzo := visit(t, "slixmpp", python, "client.py", host, port, filepath.Join(run.Certificates, run.Domain+".crt"), jid, password, contact)
	full := lorenzo.tells(t, "is ")
	if !strings.HasPrefix(full, jid+"/") {
		t.Fatal(full)
	}
	lorenzo.tells(t, "knows")
	order := func(command string) {
		t.Helper()
		phone.must(t, "<message to='"+full+"'><body>"+command+"</body></message>")
	}
	do := func(command string) {
		t.Helper()
		order(command)
		lorenzo.tells(t, "did "+command)
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
	jessica.expect(t, "lorenzo's request", presence("subscribe", jid))
	jessica.must(t, "<presence type='subscribed' to='"+jid+"'/>")
	lorenzo.tells(t, "approved by "+contact)
	lorenzo.tells(t, "sees "+contact+"/belmont available")
	jessica.must(t, "<presence type='subscribe' to='"+jid+"'/>")
	lorenzo.tells(t, "asked by "+contact)
	jessica.expect(t, "lorenzo", presence("", full))

	// The contact changes, goes and comes.
	jessica.must(t, "<presence><show>away</show><status>at the casket</status></presence>")
	lorenzo.tells(t, "sees "+contact+"/belmont away at the casket")
	jessica.must(t, "<presence type='unavailable'/>")
	lorenzo.tells(t, "sees "+contact+"/belmont unavailable")
	jessica.must(t, "<presence/>")
	lorenzo.tells(t, "sees "+contact+"/belmont available")

	// Chat both ways, and copies of what the phone says (XEP-0280).
	do("say how sweet the moonlight sleeps")
	jessica.expect(t, "lorenzo's line", message(full, "how sweet the moonlight sleeps"))
	jessica.must(t, "<message type='chat' to='"+jid+"'><body>in such a night</body></message>")
	lorenzo.tells(t, "reads in such a night")
	phone.must(t, "<message type='chat' to='"+contact+"'><body>from afar</body></message>")
	lorenzo.tells(t, "also sent from afar")

	// A nickname over PEP comes back to its own client (XEP-0163, XEP-0172).
	order("nick Enzo")
	lorenzo.tells(t, "nick of "+jid+" Enzo")

	// Whoever is blocked sees nobody and is not heard (XEP-0191).
	do("block")
	jessica.expect(t, "lorenzo go", presence("unavailable", full))
	jessica.must(t, "<message type='chat' to='"+jid+"' id='unheard'><body>unheard</body></message>")
	jessica.expect(t, "a refusal", func(st *stanza.Stanza) bool { return st.Type == "error" && st.ID == "unheard" })
	do("say anything")
	lorenzo.tells(t, "refused not-acceptable")
	order("unblock")
	jessica.expect(t, "lorenzo again", presence("", full))
	lorenzo.tells(t, "sees "+contact+"/belmont available")

	// A connection that breaks is resumed, with all that came meanwhile (XEP-0198).
	order("break")
	lorenzo.tells(t, "broke")
	jessica.must(t, "<message type='chat' to='"+full+"'><body>across the gap</body></message>")
	lorenzo.tells(t, "resumed")
	lorenzo.tells(t, "reads across the gap")
	order("leave")
	lorenzo.leaves(t)
	jessica.expect(t, "lorenzo leave", presence("unavailable", full))
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
	requirements := filepath.Join("clients", folder, "requirements.txt")
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
