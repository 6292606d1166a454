package edge_test

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
)

const phone = "d4565fa7-4d72-4749-b3d3-740edbf87770"

// inlinePlay is a play whose edge speaks TLS at once.
func inlinePlay(t *testing.T) (*play, func(user string, in edgetest.Inline) (*edgetest.Client, *stanza.Element)) {
	t.Helper()
	certificate, err := stream.LoadOrMakeCertificate(t.TempDir(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlay(t, edge.Options{
		Stream: stream.Options{TLS: stream.ServerTLS(certificate)}, Listen: []edge.Listen{{Address: "127.0.0.1:0", Direct: true}},
	})
	return p, func(user string, in edgetest.Inline) (*edgetest.Client, *stanza.Element) {
		t.Helper()
		p.create(user)
		c, success, err := edgetest.DialInline(edgetest.ClientOptions{
			Address: p.edge.Addr(0).String(), TLS: &tls.Config{InsecureSkipVerify: true}, Direct: true, User: user,
		}, in)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Conn.Close() })
		return c, success
	}
}

// A client comes with its password, then with its token: the second time in
// one flight, presence and all, under the same resource, which ends its
// earlier session (XEP-0386, section 3.2).
func TestInlineReconnect(t *testing.T) {
	p, dial := inlinePlay(t)
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	first, success := dial("juliet", edgetest.Inline{Agent: phone, Renew: true, Bind: "<tag>phone</tag>"})
	token := success.Child(stanza.NSFAST, "token")
	if token == nil || !strings.HasPrefix(first.Full, "juliet@example.com/phone/") {
		t.Fatalf("%s %s", first.Full, success.Bytes())
	}
	p.clients["romeo/r"], _ = dial("romeo", edgetest.Inline{})
	p.send("romeo/r", "<presence/>")
	p.heard("romeo/r")
	p.clients["juliet/phone"], success = dial("juliet", edgetest.Inline{
		Agent: phone, Token: token.Attr("token"), Bind: "<tag>phone</tag>", Behind: "<presence><show>away</show></presence>",
	})
	if got := p.clients["juliet/phone"].Full; got != first.Full || success.Child(stanza.NSFAST, "token") != nil {
		t.Fatalf("%s, was %s", got, first.Full)
	}
	p.clients["juliet/first"] = first
	if got := p.ends("juliet/first"); got != "conflict" {
		t.Fatal(got)
	}
	p.expect("juliet/phone", "presence from="+first.Full, "presence from="+p.clients["romeo/r"].Full)
	p.expect("romeo/r", "presence from="+first.Full+" to=romeo@example.com <show>away</show>")
}

// What a request to bind asks for is on from the first stanza: stream
// management counts, and copies of messages come.
func TestInlineFeatures(t *testing.T) {
	p, dial := inlinePlay(t)
	p.create("juliet", "romeo")
	p.clients["romeo/r"], _ = dial("romeo", edgetest.Inline{})
	c, success := dial("juliet", edgetest.Inline{Agent: phone, Bind: "<enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='true'/>"})
	if e := success.Child(stanza.NSBind2, "bound").Child(stanza.NSSM, "enabled"); e == nil || e.Attr("id") == "" {
		t.Fatalf("%s", success.Bytes())
	}
	if events := p.house.Events(); !events[len(events)-1].GetResourceBound().GetCopies() {
		t.Error("the log does not tell, for who resumes it elsewhere, that the session gets copies")
	}
	p.clients["juliet/copies"] = c
	p.clients["juliet/other"], _ = dial("juliet", edgetest.Inline{})
	for _, who := range []string{"juliet/copies", "juliet/other"} {
		p.send(who, "<presence/>")
	}
	p.heard("juliet/copies")
	p.heard("juliet/other")
	p.send("romeo/r", "<message type='chat' id='m1' to='"+p.clients["juliet/other"].Full+"'><body>hi</body></message>")
	p.heard("romeo/r")
	got := p.heard("juliet/copies")
	if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "<received xmlns='urn:xmpp:carbons:2'>") }) {
		t.Fatalf("%q", got)
	}
	p.send("juliet/copies", "<r xmlns='urn:xmpp:sm:3'/>")
	// Its presence, and the pings of heard: all are counted.
	if st := p.until("juliet/copies", "a"); st.Attr("h") == "0" {
		t.Fatal("nothing was counted")
	}
}

// More sessions than one account may have here: the stream ends, for Bind 2
// has no refusal.
func TestInlineBindRefused(t *testing.T) {
	h, e := edgetest.Start(t, edge.Options{MaxResources: 1})
	h.Create("juliet")
	o := edgetest.ClientOptions{Address: e.Addr(0).String(), User: "juliet"}
	c, _, err := edgetest.DialInline(o, edgetest.Inline{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Conn.Close()
	if _, _, err = edgetest.DialInline(o, edgetest.Inline{}); err == nil || !strings.Contains(err.Error(), "resource-constraint") {
		t.Fatal(err)
	}
}
