package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// goSendxmpp is a command-line client: it sends a line by STARTTLS and one by
// direct TLS, and listens, while it is online to its contact.
func goSendxmpp(t *testing.T, s *stack) {
	path := program(t, "go-sendxmpp (apt install go-sendxmpp)", "go-sendxmpp")
	said, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%s --version: %v", path, err)
	}
	version, _, _ := strings.Cut(string(said), "\n")
	t.Log(version) // that of the system's package
	run := s.run(t)
	mercutio := befriended(t, s, "edge-2", "benvolio", "mercutio")
	if err := mercutio.send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	const jid, contact = "benvolio@localhost", "mercutio@localhost"
	certificate := filepath.Join(run.Certificates, run.Domain+".crt")
	arguments := func(verb, port string, more ...string) []string {
		// The certificate names the domain and addresses of the edges.
		return append([]string{verb, run.part("edge-1").Listen[port], certificate, jid, password}, more...)
	}
	for port, flags := range map[string][]string{"starttls": nil, "tls": {"-t"}} {
		text := "a plague o' both <houses> & ♥ by " + port
		in := filepath.Join(t.TempDir(), "text")
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v := visit(t, "gosendxmpp", "./client", append(arguments("send", port, contact), append(flags, "-m", in)...)...)
		v.tells(t, "sent")
		v.leaves(t)
		mercutio.expect(t, "benvolio", func(st *stanza.Stanza) bool {
			return st.Kind == stanza.Message && strings.HasPrefix(st.From, jid+"/") && strings.TrimSpace(st.Message().Body) == text
		})
	}

	listener := visit(t, "gosendxmpp", "./client", arguments("listen", "starttls")...)
	mercutio.expect(t, "benvolio come online", func(st *stanza.Stanza) bool {
		return st.Kind == stanza.Presence && st.Type == "" && strings.HasPrefix(st.From, jid+"/")
	})
	if err := mercutio.send("<message type='chat' to='" + jid + "'><body>where the devil should this Romeo be?</body></message>"); err != nil {
		t.Fatal(err)
	}
	if heard := listener.tells(t, ""); !strings.Contains(heard, contact) || !strings.HasSuffix(heard, "where the devil should this Romeo be?") {
		t.Errorf("benvolio reads %q", heard)
	}
}
