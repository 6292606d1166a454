package edge_test

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
)

// What has its turn keeps the number of its stanza (XEP-0198), also if it
// leaves nothing else; and what was sent later is answered later.
func TestTurnsKeepTheirNumbers(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.create("romeo")
	p.dial("juliet/balcony")
	p.enable("juliet/balcony")
	p.send("juliet/balcony", "<iq type='set' id='one'>"+publish("n", "1", mood)+"</iq>"+ // 1
		"<message to='romeo@example.com'><body>x</body></message>"+ // 2
		"<iq type='set' id='none'>"+pubsub("<retract node='n'><item id='9'/></retract>")+"</iq>"+ // 3
		"<iq type='set' id='bad'>"+publish("n", "1", "")+"</iq>"+ // 4 leaves nothing
		"<iq type='set' id='card'><vCard xmlns='vcard-temp'/></iq>"+ // 5
		"<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.until("juliet/balcony", "iq type=result id=ping")
	if got := len(p.house.Events()); got < 7 {
		t.Errorf("the answer to a ping came with %d events in the log", got)
	}
	p.house.Quiet()
	got := make(map[string]string)
	for _, e := range p.house.Events() {
		if e.GetStanza() > 0 {
			got[event.KindOf(e).String()] += fmt.Sprint(e.GetStanza(), "<", e.GetStanzaBefore(), " ")
		}
	}
	want := map[string]string{"node_item_published": "1<0 ", "message_accepted": "2<1 ", "message_sent": "2<1 ", "stanza_handled": "3<2 ", "storage_set": "5<3 "}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
