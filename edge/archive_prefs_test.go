package edge_test

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

func prefs(byDefault, always, never string) string {
	return "<prefs xmlns='urn:xmpp:mam:2' default='" + byDefault + "'>" + always + never + "</prefs>"
}

func TestArchivePreferences(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "before")
	const get, none = "<prefs xmlns='urn:xmpp:mam:2'/>", "<always/><never/>"
	p.asks("juliet/balcony", "get", "", get, "result "+prefs("always", "<always/>", "<never/>"))
	// JIDs are told in their canonical form, and each once.
	p.asks("juliet/balcony", "set", "juliet@example.com", prefs("roster", "<always><jid>Nurse@Example.com</jid></always>", "<never><jid>romeo@example.com/Orchard</jid><jid>romeo@example.com/Orchard</jid></never>"),
		"result "+prefs("roster", "<always><jid>nurse@example.com</jid></always>", "<never><jid>romeo@example.com/Orchard</jid></never>"))
	p.asks("juliet/balcony", "get", "", get, "result "+prefs("roster", "<always><jid>nurse@example.com</jid></always>", "<never><jid>romeo@example.com/Orchard</jid></never>"))
	p.asks("juliet/balcony", "set", "", prefs("never", "", ""), "result "+prefs("never", "<always/>", "<never/>"))
	// What is not kept is delivered all the same, and is in the other's archive.
	p.send("juliet/balcony", "<message to='romeo@example.com'><body>secret</body></message>")
	p.expect("romeo/orchard", "message from=juliet@example.com/balcony")
	p.send("romeo/orchard", "<message to='juliet@example.com'><body>whisper</body></message>")
	p.expect("juliet/balcony", "message from=romeo@example.com/orchard")
	p.heard("romeo/orchard")
	p.archived("juliet/balcony", "", true, "before")
	p.archived("romeo/orchard", "", true, "before", "secret", "whisper")
	p.asks("juliet/balcony", "set", "", prefs("always", "<always/>", "<never/>"), "result "+prefs("always", "<always/>", "<never/>"))
	p.send("romeo/orchard", "<message to='juliet@example.com'><body>after</body></message>")
	p.heard("romeo/orchard")
	p.archived("juliet/balcony", "", true, "before", "after")

	bad := failure("modify", "bad-request")
	jids := strings.Repeat("<jid>a@example.com</jid>", 1001)
	for _, c := range []struct{ name, payload, want string }{
		{"2.1.1 no default", "<prefs xmlns='urn:xmpp:mam:2'>" + none + "</prefs>", bad},
		{"2.1.1 another default", prefs("sometimes", "", ""), bad},
		{"2.1.2 a list twice", prefs("always", "<always/>", "<always/>"), bad},
		{"2.1.2 another list", prefs("always", "<often/>", ""), bad},
		{"2.1.2 a list of something else", prefs("always", "<always><item jid='a@example.com'/></always>", ""), bad},
		{"2.1.3 no JID", prefs("always", "", "<never><jid>@example.com</jid></never>"), failure("modify", "jid-malformed")},
		{"2.1.3 nothing", prefs("always", "", "<never><jid/></never>"), failure("modify", "jid-malformed")},
		{"more than anybody needs", prefs("always", "<always>"+jids+"</always>", ""), failure("modify", "policy-violation")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.asks("juliet/balcony", "set", "", c.payload, c.want)
		})
	}
	p.t = t
	for _, to := range []string{"romeo@example.com", "nobody@example.com"} {
		p.asks("juliet/balcony", "get", to, get, failure("auth", "forbidden"))
		p.asks("juliet/balcony", "set", to, prefs("never", "", ""), failure("auth", "forbidden"))
	}
	// Nothing of that has changed anything.
	p.asks("juliet/balcony", "get", "", get, "result "+prefs("always", "<always/>", "<never/>"))
}
