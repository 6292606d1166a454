package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// xmppjs is a program that uses @xmpp/client: it logs in at one edge by its
// password, then at the other by the token that it was given, under the same
// resource (XEP-0388, XEP-0386, XEP-0484).
func xmppjs(t *testing.T, s *stack) {
	node := npm(t, "xmppjs")
	run := s.run(t)
	at := login{address: run.part("edge-1").Listen["starttls"], domain: run.Domain, tls: s.trust(t)}
	if err := register(at, []string{"robot"}); err != nil {
		t.Fatal(err)
	}
	trust := "NODE_EXTRA_CA_CERTS=" + filepath.Join(run.Certificates, run.Domain+".crt")
	robot := visit(t, "xmppjs", "env", trust, node, "reconnect.js", run.Domain, "robot", password, "d4565fa7-4d72-4749-b3d3-740edbf87770",
		"xmpps://"+run.part("edge-1").Listen["tls"], "xmpps://"+run.part("edge-2").Listen["tls"])
	if got := robot.tells(t, "authenticates by"); !strings.HasPrefix(got, "SCRAM-") {
		t.Fatal(got)
	}
	first := robot.tells(t, "is ")
	robot.tells(t, "is answered")
	if got := robot.tells(t, "authenticates by"); got != "HT-SHA-256-NONE" {
		t.Fatal(got)
	}
	if second := robot.tells(t, "is "); second != first || !strings.HasPrefix(first, "robot@"+run.Domain+"/robot/") {
		t.Fatal(first, second)
	}
	robot.tells(t, "is answered")
	robot.leaves(t)
}
