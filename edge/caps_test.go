package edge_test

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// Capabilities that fit their hash are asked for once, and known to every edge
// (XEP-0115, section 5).
func TestCapabilitiesAreLearnedOnce(t *testing.T) {
	p := newPlay(t, edge.Options{})
	other, err := p.house.Open(edge.Options{ID: "e2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	p.dial("juliet/balcony")
	p.asks("juliet/balcony", "set", "", publish("mood", "1", mood), "result ")
	// XEP-0115, section 5.2, with another feature.
	const info = "<identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/caps'/>" +
		"<feature var='http://jabber.org/protocol/disco#info'/><feature var='mood+notify'/>"
	const ver = "DXWrw1ammPfBIBEphiUTYhwjBpM="
	caps := "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:exodus' ver='" + ver + "'/></presence>"
	asked := 0
	for i, at := range []*edgetest.Edge{p.edge, p.edge, other} {
		p.edge = at
		who := fmt.Sprintf("romeo/%d", i)
		p.online(who)
		p.send(who, caps)
		for heard := false; !heard; {
			st := p.until(who, "")
			switch {
			case st.Kind == stanza.IQ && st.Type == "get":
				asked++
				p.send(who, "<iq type='result' id='"+st.ID+"' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:exodus#"+ver+"'>"+info+"</query></iq>")
			case st.Type == "headline":
				heard = true
			}
		}
		edgetest.WaitFor(t, "the capabilities are kept", func() bool {
			features, known, err := p.house.Features(t.Context(), "sha-1", ver)
			return known && err == nil && len(features) == 3
		})
	}
	// What does not fit the hash is not believed of others.
	for range 2 {
		p.asked++
		who := fmt.Sprintf("romeo/liar%d", p.asked)
		p.online(who)
		p.send(who, strings.Replace(caps, ver, "bGllcw==", 1))
		st := p.until(who, "iq type=get id=caps-")
		p.send(who, "<iq type='result' id='"+st.ID+"' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'>"+info+"</query></iq>")
		p.until(who, "message type=headline")
	}
	if asked != 1 {
		t.Errorf("three clients with the same capabilities were asked %d times", asked)
	}
}

// The server announces its own capabilities in its stream features; asked by
// them it answers what hashes to them (XEP-0115, section 6.3).
func TestServersOwnCapabilities(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	features := p.features("romeo")
	c, ok := stanza.Find(features, stanza.NSCaps, "c")
	if !ok || c.Attr("hash") != "sha-1" || c.Attr("ver") == "" || c.Attr("node") == "" {
		t.Fatalf("features %s", features)
	}
	node := c.Attr("node") + "#" + c.Attr("ver")
	info := p.ask("juliet/balcony", "get", "example.com", "<query xmlns='http://jabber.org/protocol/disco#info' node='"+node+"'/>")
	inner := strings.TrimPrefix(info, "result ")
	query, ok := stanza.Find([]byte(inner), stanza.NSDiscoInfo, "query")
	if !ok || query.Attr("node") != node {
		t.Fatalf("got %s", info)
	}
	e, err := query.Element()
	if err != nil {
		t.Fatal(err)
	}
	s := ""
	var all []string
	for _, f := range e.Children {
		if f.Local == "identity" {
			s += f.Attr("category") + "/" + f.Attr("type") + "//" + f.Attr("name") + "<"
		} else {
			all = append(all, f.Attr("var"))
		}
	}
	slices.Sort(all)
	sum := sha1.Sum([]byte(s + strings.Join(all, "<") + "<"))
	if ver := base64.StdEncoding.EncodeToString(sum[:]); ver != c.Attr("ver") {
		t.Errorf("ver %s is of other features: %s", c.Attr("ver"), ver)
	}
	p.asks("juliet/balcony", "get", "example.com", "<query xmlns='http://jabber.org/protocol/disco#info' node='"+c.Attr("node")+"#other'/>", failure("cancel", "item-not-found"))
}

// A client that announces ever more is not asked for ever, and what is too
// much is not kept for others.
func TestCapabilitiesAreBounded(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	caps := func(ver string) string {
		return "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='" + ver + "'/></presence>"
	}
	asked := 0
	count := func() {
		for _, h := range p.heard("juliet/balcony") {
			if strings.HasPrefix(h, "iq type=get id=caps-") {
				asked++
			}
		}
	}
	for i := range 20 {
		p.send("juliet/balcony", caps(fmt.Sprint(i)))
		count() // what is read of each is posted by a goroutine of its own
		edgetest.WaitFor(t, "it is asked or not", func() bool { count(); return asked == min(i+1, 16) })
	}
	count()
	if asked != 16 {
		t.Errorf("asked %d times", asked)
	}
	p.online("juliet/chamber")
	features := "<feature var='mood+notify'/><feature var='" + strings.Repeat("x", 17<<10) + "'/>"
	sum := sha1.Sum([]byte("mood+notify<" + strings.Repeat("x", 17<<10) + "<"))
	ver := base64.StdEncoding.EncodeToString(sum[:])
	p.send("juliet/chamber", caps(ver))
	st := p.until("juliet/chamber", "iq type=get id=caps-")
	p.send("juliet/chamber", "<iq type='result' id='"+st.ID+"' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'>"+features+"</query></iq>")
	p.heard("juliet/chamber")
	p.asks("juliet/chamber", "set", "", publish("mood", "1", mood), "result ")
	if got := newsIn(append(p.aside, p.heard("juliet/chamber")...)); len(got) != 1 {
		t.Errorf("it hears %q", got)
	}
	if _, known, _ := p.house.Features(t.Context(), "sha-1", ver); known {
		t.Error("17 KiB are kept")
	}
}
