package e2e

import (
	"bufio"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// TestClients has clients that people use talk through one stack, each with a
// contact that we play ourselves. Their scripts are in deploy/e2e/clients; each
// line that one prints is something that it did or saw.
func TestClients(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	for name, play := range map[string]func(*testing.T, *stack){
		"converse.js in Chromium": converse,
		"@xmpp/client by a token": xmppjs,
		"go-sendxmpp":             goSendxmpp,
		"slixmpp":                 slixmpp,
		"@xmpp/client every day":  xmppjsDaily,
	} {
		t.Run(name, func(t *testing.T) { play(t, s) })
	}
	s.stop(t)
}

// out is where a test leaves what a person may want to look at.
const out = "../../out"

// A visitor is a client that runs in a process of its own.
type visitor struct {
	name  string
	input io.Writer
	lines chan string // closed when it has ended
	said  []string
	end   func() error
}

// visit starts a client's script in deploy/e2e/clients/folder.
func visit(t *testing.T, folder, command string, args ...string) *visitor {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Dir = filepath.Join("clients", folder)
	cmd.Env = withoutOurs()
	var complaint strings.Builder
	cmd.Stderr = &complaint
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &visitor{name: folder, input: input, lines: make(chan string, 100)}
	done := make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			v.lines <- lines.Text()
		}
		close(v.lines)
		done <- cmd.Wait()
	}()
	v.end = sync.OnceValue(func() error { return <-done })
	t.Cleanup(func() { // the context of the test has ended by then
		for line := range v.lines {
			v.said = append(v.said, line)
		}
		_ = v.end()
		if t.Failed() {
			t.Logf("%s did %q and said:\n%s", folder, v.said, complaint.String())
		}
	})
	return v
}

// tells waits for a line that begins so, and gives the rest of it.
func (v *visitor) tells(t *testing.T, beginning string) string {
	t.Helper()
	late := time.After(time.Minute)
	for {
		select {
		case line, ok := <-v.lines:
			if !ok {
				t.Fatalf("%s ended before %q: %v", v.name, beginning, v.end())
			}
			v.said = append(v.said, line)
			if rest, found := strings.CutPrefix(line, beginning); found {
				return strings.TrimSpace(rest)
			}
		case <-late:
			t.Fatalf("%s does not tell of %q within a minute", v.name, beginning)
		}
	}
}

// leaves waits until the script has ended well.
func (v *visitor) leaves(t *testing.T) {
	t.Helper()
	for line := range v.lines {
		v.said = append(v.said, line)
	}
	if err := v.end(); err != nil {
		t.Fatalf("%s: %v", v.name, err)
	}
}

// program finds the first of the programs that there is.
func program(t *testing.T, install string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no %s here: install %s", strings.Join(names, " or "), install)
	return ""
}

// npm gives Node.js, once the packages of a client's lock file are installed.
func npm(t *testing.T, folder string) (node string) {
	t.Helper()
	node = program(t, "Node.js 18 or newer with npm (apt install nodejs npm)", "node")
	npm := program(t, "npm (apt install npm)", "npm")
	dir := filepath.Join("clients", folder)
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	there := filepath.Join(dir, "node_modules")
	if installed, err := os.Stat(there); err == nil && installed.ModTime().After(lock.ModTime()) {
		return node
	}
	ci := exec.CommandContext(t.Context(), npm, "ci", "--no-audit", "--no-fund", "--loglevel=error")
	ci.Dir = dir
	if said, err := ci.CombinedOutput(); err != nil {
		t.Fatalf("npm ci in %s: %v\n%s", dir, err, said)
	}
	if err := os.Chtimes(there, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return node
}

// befriended registers two accounts, lets them see each other, and gives the
// second one's session, which is not available yet.
func befriended(t *testing.T, s *stack, edge, first, second string) *session {
	t.Helper()
	run, trust := s.run(t), s.trust(t)
	at := func(user string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: trust, user: user, resource: "ours"}
	}
	if err := register(at(""), []string{first, second}); err != nil {
		t.Fatal(err)
	}
	var both [2]*session
	for i, name := range []string{first, second} {
		c, err := connect(at(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		both[i] = c
	}
	for i, c := range both {
		other := []string{second, first}[i] + "@" + run.Domain
		if err := c.send("<presence type='subscribe' to='" + other + "'/>"); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range both {
		other := []string{second, first}[i] + "@" + run.Domain
		if err := c.send("<presence/>"); err != nil { // requests come to who is available
			t.Fatal(err)
		}
		c.expect(t, "the request of "+other, func(st *stanza.Stanza) bool { return st.Type == "subscribe" && st.From == other })
		if err := c.send("<presence type='subscribed' to='" + other + "'/><presence type='unavailable'/>"); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range both {
		other := []string{second, first}[i] + "@" + run.Domain
		eventually(t, c.full+" and "+other+" see each other", 20*time.Second, func() error {
			st, err := c.ask("get", "<query xmlns='jabber:iq:roster'/>")
			if err == nil && !strings.Contains(string(st.Inner), "subscription='both'") {
				err = fmt.Errorf("roster %s", st.Inner)
			}
			return err
		})
	}
	if err := both[0].close(); err != nil {
		t.Fatal(err)
	}
	return both[1]
}

// keyHash gives what Chromium takes as the name of a trusted public key.
func (s *stack) keyHash(t *testing.T) string {
	t.Helper()
	run := s.run(t)
	text, err := os.ReadFile(filepath.Join(run.Certificates, run.Domain+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// converse is a person with converse.js in a browser, over WebSocket and TLS.
func converse(t *testing.T, s *stack) {
	chromium := program(t, "Chromium (apt install chromium)", "chromium", "chromium-browser", "google-chrome")
	node := npm(t, "converse")
	run := s.run(t)
	romeo := befriended(t, s, "edge-2", "juliet", "romeo")
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	picture, err := filepath.Abs(filepath.Join(out, "converse.png"))
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(picture)
	juliet := visit(t, "converse", node, "converse.js", chromium, "wss://"+run.part("edge-1").Listen["https"]+"/ws", s.keyHash(t),
		"juliet@"+run.Domain, password, "romeo@"+run.Domain, picture)

	juliet.tells(t, "connected")
	say := func(xml string) {
		t.Helper()
		if err := romeo.send(xml); err != nil {
			t.Fatal(err)
		}
	}
	say("<presence/>")
	romeo.expect(t, "juliet's presence", func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.Type == "" && strings.HasPrefix(st.From, "juliet@")
	})
	juliet.tells(t, "sees the contact online")
	said := juliet.tells(t, "said:")
	var from string
	romeo.expect(t, "what juliet types", func(st *stanza.Stanza) bool {
		from = st.From
		return st.Kind == stanza.Message && st.Message().Body == said
	})
	const answer = "Call me but love & I'll be <new> baptised ♥"
	say("<message type='chat' id='m1' to='" + from + "'><body>" + string(stanza.AppendText(nil, answer)) + "</body></message>")
	if heard := juliet.tells(t, "heard:"); heard != answer {
		t.Errorf("juliet reads %q, want %q", heard, answer)
	}
	say("<presence><show>away</show></presence>")
	juliet.tells(t, "sees the contact away")
	juliet.tells(t, "left the page")
	const more = "what's in a name?"
	say("<message type='chat' id='m2' to='juliet@" + run.Domain + "'><body>" + more + "</body></message>")
	if _, err := io.WriteString(juliet.input, "come back\n"); err != nil {
		t.Fatal(err)
	}
	if heard := juliet.tells(t, "heard later:"); heard != more {
		t.Errorf("juliet reads %q, want %q", heard, more)
	}
	for _, seen := range romeo.sightings() { // her stream is resumed, and nobody sees that
		if strings.HasPrefix(seen.from, "juliet@") && (seen.from != from || seen.shows == gone) {
			t.Errorf("while juliet was on another page: %s is %s", seen.from, seen.shows)
		}
	}
	juliet.tells(t, "left")
	romeo.expect(t, "juliet leave", func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.Type == "unavailable" && st.From == from
	})
	juliet.leaves(t)
	if shown, err := os.Stat(picture); err != nil || shown.Size() == 0 {
		t.Errorf("no picture of the chat: %v", err)
	}
}
