package e2e

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// What somebody publishes on one edge is heard on the other by who wants it,
// is there after everything was stopped and started, and is what the log says.
func TestNodes(t *testing.T) {
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	befriended(t, s, "edge-1", "juliet", "romeo").cut()

	// A client that wants to hear of moods and bookmarks, whose capabilities
	// fit their hash (XEP-0115): asked counts how often it had to tell them.
	const features = "<identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/caps'/>" +
		"<feature var='http://jabber.org/protocol/disco#info'/><feature var='mood+notify'/>"
	const caps = "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:exodus' ver='DXWrw1ammPfBIBEphiUTYhwjBpM='/></presence>"
	var asked atomic.Int32
	join := func(edge, user string, announce bool) *session {
		t.Helper()
		run := s.run(t)
		l := login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: "pc"}
		c, err := connect(l, func(c *session, st *stanza.Stanza) {
			if st.Kind == stanza.IQ && st.Type == "get" {
				asked.Add(1)
				if err := c.send("<iq type='result' id='" + st.ID + "' to='" + st.From + "'><query xmlns='" + stanza.NSDiscoInfo + "'>" + features + "</query></iq>"); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		if announce {
			err = c.send(caps)
		} else {
			err = c.send("<presence/>")
		}
		if err != nil {
			t.Fatal(err)
		}
		c.expect(t, "itself", func(st *stanza.Stanza) bool { return st.Kind == stanza.Presence && st.From == c.full })
		return c
	}
	does := func(c *session, kind, payload, want string) {
		t.Helper()
		st, err := c.ask(kind, payload)
		if err != nil || st.Type != "result" || !strings.Contains(string(st.Inner), want) {
			t.Fatalf("%s: %v %v", payload, st, err)
		}
	}
	publish := func(node, id, payload, options string) string {
		return "<pubsub xmlns='" + stanza.NSPubSub + "'><publish node='" + node + "'><item id='" + id + "'>" + payload + "</item></publish>" + options + "</pubsub>"
	}
	const private = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" +
		"<field var='pubsub#access_model'><value>whitelist</value></field><field var='pubsub#max_items'><value>max</value></field></x></publish-options>"
	mood := func(n int) string { return fmt.Sprintf("<mood xmlns='urn:m'>%d</mood>", n) }
	news := func(n int) func(*stanza.Stanza) bool {
		return func(st *stanza.Stanza) bool {
			return st.Kind == stanza.Message && st.Type == "headline" && strings.HasPrefix(st.From, "juliet@") && strings.Contains(string(st.Inner), mood(n))
		}
	}
	romeo, juliet := join("edge-2", "romeo", true), join("edge-1", "juliet", true)
	for n := range 20 {
		does(juliet, "set", publish("mood", "current", mood(n), ""), "<item id='current'/>")
		does(juliet, "set", publish("bookmarks", fmt.Sprint("room-", n), "<conference xmlns='urn:b'/>", private), "")
		romeo.expect(t, "a mood", news(n))
		juliet.expect(t, "her own mood", news(n))
	}
	// The workers die meanwhile: of what was published in the gap, the last is
	// heard all the same.
	published := make(chan error, 1)
	stop := make(chan struct{})
	last := 20
	go func() {
		for {
			select {
			case <-stop:
				published <- nil
				return
			default:
			}
			last++
			if st, err := juliet.ask("set", publish("mood", "current", mood(last), "")); err != nil || st.Type != "result" {
				published <- fmt.Errorf("mood %d: %v %v", last, st, err)
				return
			}
		}
	}()
	s.killParts(t, "worker-1", "worker-2")
	close(stop)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	romeo.expect(t, "the last mood", news(last))
	const big = 100 << 10
	does(juliet, "set", "<vCard xmlns='vcard-temp'><PHOTO><BINVAL>"+strings.Repeat("A", big)+"</BINVAL></PHOTO></vCard>", "")
	does(juliet, "set", "<query xmlns='jabber:iq:private'><notes xmlns='urn:n'>dear</notes></query>", "")
	if err := juliet.send("<presence type='unavailable'><status>asleep</status></presence>"); err != nil {
		t.Fatal(err)
	}
	romeo.expect(t, "juliet gone", func(st *stanza.Stanza) bool { return st.Type == "unavailable" && strings.HasPrefix(st.From, "juliet@") })
	for _, c := range []*session{juliet, romeo} {
		if err := c.close(); err != nil {
			t.Errorf("%s leaves: %v", c.full, err)
		}
	}
	verify := func() {
		t.Helper()
		if said, err := s.rollcall(t, "replay", "verify"); err != nil {
			t.Errorf("verify: %v\n%s", err, said)
		}
	}
	verify()
	s.stop(t)
	s.start(t)

	before := asked.Load()
	romeo = join("edge-1", "romeo", true)
	romeo.expect(t, "the last mood", news(last))
	if asked.Load() != before {
		t.Error("capabilities that are known were asked for again")
	}
	juliet = join("edge-2", "juliet", false)
	look := func() {
		t.Helper()
		does(juliet, "get", "<pubsub xmlns='"+stanza.NSPubSub+"'><items node='bookmarks'/></pubsub>", "<item id='room-0'><conference xmlns='urn:b'/></item><item id='room-1'>")
		does(juliet, "get", "<vCard xmlns='vcard-temp'/>", strings.Repeat("A", big))
		does(juliet, "get", "<query xmlns='jabber:iq:private'><notes xmlns='urn:n'/></query>", "dear")
	}
	look()
	said, err := s.rollcall(t, "replay", "state", "juliet@localhost")
	for _, want := range []string{"node      bookmarks: access owner, 20 of 1000 items", "item    room-19, version", "kept      vcard, version"} {
		if err != nil || !strings.Contains(said, want) {
			t.Errorf("the state has no %q: %v\n%s", want, err, said)
		}
	}
	if said, err := s.rollcall(t, "replay", "rebuild", "--swap"); err != nil {
		t.Errorf("rebuild: %v\n%s", err, said)
	}
	look()
	does(juliet, "set", publish("mood", "current", mood(99), ""), "")
	romeo.expect(t, "a mood", news(99))
	verify()
	s.stop(t)
}
