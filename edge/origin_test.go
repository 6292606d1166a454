package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
)

// A client that does not know whether its message arrived sends it again under
// the same origin id (XEP-0359): its recipient gets it once, also as a copy of
// another session's and out of the inbox, the sender's other sessions are told
// once, nobody hears an error, and no archive has it twice.
func TestOriginIDDropsCopies(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("romeo/orchard")
	p.dial("romeo/street")
	p.copy("romeo/street")
	p.create("nurse")
	p.dial("juliet/balcony")
	p.dial("juliet/chamber")
	p.copy("juliet/chamber")
	p.heard("romeo/orchard")
	say := func(from, to, body, id string) {
		t.Helper()
		p.send(from, fmt.Sprintf("<message to='%s' type='chat' id='m1'><body>%s</body><origin-id xmlns='urn:xmpp:sid:0' id='%s'/></message>", to, body, id))
		if got := p.heard(from); strings.Contains(strings.Join(got, ""), "type=error") {
			t.Errorf("the sender is told %q", got)
		}
	}
	for range 3 {
		say("juliet/balcony", "romeo@example.com", "once", "o1")
		say("juliet/balcony", "nurse@example.com", "once", "o1")
	}
	// Another of the client's sessions takes over what is not known to have arrived.
	p.dial("juliet/garden")
	say("juliet/garden", "romeo@example.com/orchard", "once", "o1")
	say("juliet/garden", "romeo@example.com", "twice", "o2")

	for who, most := range map[string]int{"romeo/orchard": 1, "romeo/street": 1, "juliet/chamber": 2} {
		heard := strings.Join(p.heard(who), "\n")
		if n := strings.Count(heard, "<body>once</body>"); n != most {
			t.Errorf("%s heard it %d times:\n%s", who, n, heard)
		}
		if n := strings.Count(heard, "<body>twice</body>"); n != 1 {
			t.Errorf("%s heard what was said under another id %d times:\n%s", who, n, heard)
		}
	}
	p.dial("nurse/hall")
	p.send("nurse/hall", "<presence/>")
	p.until("nurse/hall", "message type=chat id=m1 from=juliet@example.com/balcony")
	if got := p.heard("nurse/hall"); strings.Contains(strings.Join(got, ""), "<body>") {
		t.Errorf("out of the inbox came again %q", got)
	}

	accepted, sent, copies := 0, 0, 0
	for _, e := range p.house.Events() {
		switch k := e.GetKind().(type) {
		case *event.Event_MessageAccepted:
			accepted++
		case *event.Event_MessageSent:
			sent++
		case *event.Event_MessageWithheld:
			if k.MessageWithheld.GetReason() == event.MessageWithheld_REASON_COPY {
				copies++
			}
		}
	}
	if accepted != 8 || sent != 3 || copies != 5 {
		t.Errorf("%d accepted, %d sent, %d copies", accepted, sent, copies)
	}
}

// The id is the client's, and the server keeps it: its length is limited.
func TestOriginIDIsLimited(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("romeo/orchard")
	p.dial("juliet/balcony")
	p.heard("romeo/orchard")
	for length, refused := range map[int]bool{256: false, 257: true} {
		p.send("juliet/balcony", fmt.Sprintf("<message to='romeo@example.com' type='chat' id='m%d'><body>b</body><origin-id xmlns='urn:xmpp:sid:0' id='%s'/></message>", length, strings.Repeat("o", length)))
		got := strings.Join(p.heard("juliet/balcony"), "\n")
		if want := "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>the origin-id is longer than 256 bytes</text>"; refused != strings.Contains(got, want) {
			t.Errorf("%d bytes: %q", length, got)
		}
		if n := len(p.heard("romeo/orchard")); n == 1 == refused {
			t.Errorf("%d bytes: %d delivered", length, n)
		}
	}
}
