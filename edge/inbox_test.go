package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

// XEP-0160, section 3: what an account that takes none has waiting is limited,
// and who sends more hears so; RFC 6121, section 8.5.2.2.1, names the error.
// Of what needs not wait there may be as much as one likes.
func TestFullInbox(t *testing.T) {
	p := newPlay(t, edge.Options{Limits: edge.Limits{Waiting: 2}})
	p.create("romeo")
	p.dial("juliet/balcony")
	say := func(n int, refused bool) {
		t.Helper()
		p.send("juliet/balcony", fmt.Sprintf("<message to='romeo@example.com' type='chat' id='m%d'><body>%[1]d</body></message>", n))
		got := strings.Join(p.heard("juliet/balcony"), "\n")
		if want := fmt.Sprintf("message type=error id=m%d from=romeo@example.com to=juliet@example.com/balcony <error type='cancel'><service-unavailable", n); refused != strings.Contains(got, want) {
			t.Errorf("message %d: %q", n, got)
		}
	}
	say(1, false)
	say(2, false)
	say(3, true)
	p.send("juliet/balcony", "<message to='romeo@example.com' type='chat' id='c'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
	if got := p.heard("juliet/balcony"); len(got) > 0 {
		t.Errorf("a chat state is told %q", got)
	}
	p.appears("romeo/orchard")
	for n := 1; n <= 2; n++ {
		if st := p.until("romeo/orchard", "message "); !strings.HasPrefix(string(st.Inner), fmt.Sprintf("<body>%d</body>", n)) {
			t.Errorf("%s in place of message %d", st.Inner, n)
		}
	}
	for n := 4; n < 10; n++ {
		say(n, false) // somebody is there
	}
	if got := p.heard("romeo/orchard"); len(got) != 6 || !strings.Contains(got[0], "<body>4</body>") {
		t.Errorf("heard %q", got)
	}
}
