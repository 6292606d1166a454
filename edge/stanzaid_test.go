package edge_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// The id that a client sees is the archive's: the offset of the record in the
// history of the account that it is told in, for a received message, a copy of
// one, and a copy of a sent one; the same when the message comes again.
func TestStanzaIDIsTheArchivesID(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("romeo/orchard")
	p.dial("romeo/street")
	p.copy("romeo/street")
	p.dial("juliet/balcony")
	p.dial("juliet/chamber")
	p.copy("juliet/chamber")
	p.heard("romeo/orchard")
	p.send("juliet/balcony", "<message to='romeo@example.com/orchard' type='chat' id='m1'><body>1</body></message>")
	p.heard("juliet/balcony")

	given := regexp.MustCompile(`<stanza-id xmlns='urn:xmpp:sid:0' by='([^']*)' id='([0-9]+)'/>`)
	idIn := func(who, by string) string {
		t.Helper()
		heard := p.heard(who)
		if len(heard) != 1 {
			t.Fatalf("%s heard %q", who, heard)
		}
		ids := given.FindAllStringSubmatch(heard[0], -1)
		if len(ids) != 1 || ids[0][1] != by {
			t.Fatalf("%s heard %q", who, heard)
		}
		return ids[0][2]
	}
	received := idIn("romeo/orchard", "romeo@example.com")
	if copied := idIn("romeo/street", "romeo@example.com"); copied != received {
		t.Errorf("the copy has id %s, the message %s", copied, received)
	}
	sent := idIn("juliet/chamber", "juliet@example.com")
	for who, id := range map[string]string{"romeo": received, "juliet": sent} {
		account := jid.MustBare(who + "@example.com")
		history := p.house.History(topic.Partition(account, 4))
		offset, err := strconv.Atoi(id)
		if err != nil || offset >= len(history) || !strings.Contains(history[offset].String(), "<body>1</body>") {
			t.Errorf("%s: no message at offset %s", who, id)
		}
	}
}
