package edge_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
)

// rosterGet asks for the roster as of a version and gives the answer and the
// pushes after it.
func (p *play) rosterGet(who, ver string) (answer string, pushes []string) {
	p.t.Helper()
	p.send(who, "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='"+ver+"'/></iq>")
	answer = string(p.until(who, "iq type=result id=g").Inner)
	for _, h := range p.heard(who) {
		if strings.HasPrefix(h, "iq type=set") {
			pushes = append(pushes, h)
		}
	}
	return answer, pushes
}

// fill puts n items into the roster.
func (p *play) fill(who string, n int) {
	p.t.Helper()
	var some strings.Builder
	for i := range n {
		some.WriteString(rosterSet(fmt.Sprintf("f%d", i), fmt.Sprintf("<item jid='contact%d@example.com' name='Contact %d'><group>Friends</group></item>", i, i)))
		if i%100 == 99 || i == n-1 { // no more requests at a time than are taken
			p.send(who, some.String())
			p.heard(who)
			some.Reset()
		}
	}
}

func TestRFC6121_2_6_3_Diffs(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	p.fill("juliet/balcony", 30)
	answer, pushes := p.rosterGet("juliet/balcony", "")
	if strings.Count(answer, "<item ") != 30 || len(pushes) > 0 {
		t.Fatalf("%s %q", answer, pushes)
	}
	ver := version(answer)
	p.send("juliet/balcony", rosterSet("1", "<item jid='contact7@example.com' name='Seven'/>")+
		rosterSet("2", "<item jid='contact8@example.com' subscription='remove'/>")+
		rosterSet("3", "<item jid='contact9@example.com' name='Nine'/>")+
		rosterSet("4", "<item jid='contact7@example.com' name='Sept'/>"))
	live := p.heard("juliet/balcony")
	current := version(live[len(live)-2])

	// Each changed item once, as it is now, in the order of the changes; the
	// last push brings the client to the version that it has heard live.
	p.dial("juliet/chamber")
	answer, pushes = p.rosterGet("juliet/chamber", ver)
	if answer != "" || len(pushes) != 3 ||
		!strings.Contains(pushes[0], "<item jid='contact8@example.com' subscription='remove'/>") ||
		!strings.Contains(pushes[1], "<item jid='contact9@example.com' name='Nine'") ||
		!strings.Contains(pushes[2], "<item jid='contact7@example.com' name='Sept'") || version(pushes[2]) != current {
		t.Fatalf("%q %q, current %s", answer, pushes, current)
	}
	// It is an interested resource: what comes after is pushed too.
	p.send("juliet/balcony", rosterSet("5", "<item jid='contact9@example.com' name='Neuf'/>"))
	p.heard("juliet/balcony")
	if heard := p.heard("juliet/chamber"); len(heard) != 1 || version(heard[0]) == current {
		t.Errorf("%q", heard)
	}
	// From a push in the middle: only what came after it.
	if answer, again := p.rosterGet("juliet/chamber", version(pushes[1])); answer != "" || len(again) != 2 {
		t.Errorf("%q %q", answer, again)
	}
	// Of the newest version: nothing, and that is not an empty roster.
	answer, _ = p.rosterGet("juliet/chamber", "")
	if answer, again := p.rosterGet("juliet/chamber", version(answer)); answer != "" || len(again) > 0 {
		t.Errorf("%q %q", answer, again)
	}
}

func TestRFC6121_2_6_3_WholeRoster(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	answer, _ := p.rosterGet("juliet/balcony", "")
	empty := version(answer)
	if !strings.HasPrefix(answer, "<query ") || strings.Contains(answer, "<item") || empty == "" {
		t.Fatalf("2.1.4: of an empty roster: %q", answer)
	}
	p.fill("juliet/balcony", 10)
	answer, _ = p.rosterGet("juliet/balcony", "")
	before := version(answer)
	for name, ver := range map[string]string{"none": "", "not ours": "ver14", "from the future": "1" + before, "of all items": empty} {
		if answer, pushes := p.rosterGet("juliet/balcony", ver); strings.Count(answer, "<item ") != 10 || len(pushes) > 0 {
			t.Errorf("%s: %q %q", name, answer, pushes)
		}
	}
	// Nobody knows any more that an item was removed.
	p.send("juliet/balcony", rosterSet("r", "<item jid='contact3@example.com' subscription='remove'/>"))
	p.heard("juliet/balcony")
	if answer, pushes := p.rosterGet("juliet/balcony", before); answer != "" || len(pushes) != 1 {
		t.Errorf("%q %q", answer, pushes)
	}
	p.house.Purge("juliet")
	answer, pushes := p.rosterGet("juliet/balcony", before)
	if strings.Count(answer, "<item ") != 9 || len(pushes) > 0 {
		t.Errorf("%q %q", answer, pushes)
	}
	// Who has seen it lacks nothing, however long ago.
	if answer, pushes := p.rosterGet("juliet/balcony", version(answer)); answer != "" || len(pushes) > 0 {
		t.Errorf("%q %q", answer, pushes)
	}
}

// A reconnect with one of 2,000 items changed costs less than 1 KB of roster
// traffic, both directions together.
func TestRFC6121_2_6_3_Bytes(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	p.fill("juliet/balcony", 2000)
	answer, _ := p.rosterGet("juliet/balcony", "")
	if n := strings.Count(answer, "<item "); n != 2000 {
		t.Fatalf("%d items", n)
	}
	p.send("juliet/balcony", rosterSet("r", "<item jid='contact1000@example.com' name='Somebody else'><group>Friends</group></item>"))
	p.heard("juliet/balcony")
	conn := p.dial("juliet/chamber").Conn
	get := "<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='" + version(answer) + "'/></iq>"
	p.send("juliet/chamber", get+"<iq type='get' id='end'><ping xmlns='urn:xmpp:ping'/></iq>")
	var got []byte
	for buf := make([]byte, 4096); !bytes.Contains(got, []byte("id='end'")) || !bytes.Contains(got, []byte("id='push-1'")); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	if !bytes.Contains(got, []byte("name='Somebody else'")) {
		t.Errorf("%s", got)
	}
	if total := len(get) + len(got); total >= 1024 {
		t.Errorf("%d bytes", total)
	} else {
		t.Logf("%d bytes, the whole roster %d", total, len(answer))
	}
}

// Where the roster cannot be read the client is told so, and counts as one that
// did not ask for it.
func TestRFC6121_2_2_RosterAway(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/chamber")
	p.house.RefuseRosters(errors.New("away"))
	p.send("juliet/chamber", "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
	p.until("juliet/chamber", "iq type=error id=g to=juliet@example.com/chamber <error type='wait'><internal-server-error")
	p.send("juliet/chamber", rosterSet("a", "<item jid='a@example.com'/>"))
	p.expect("juliet/chamber", "iq type=result id=a")
	p.house.RefuseRosters(nil)
	if answer, _ := p.rosterGet("juliet/chamber", ""); !strings.Contains(answer, "a@example.com") {
		t.Errorf("%s", answer)
	}
	// An answer that it has had counts on.
	p.house.RefuseRosters(errors.New("away"))
	p.send("juliet/chamber", "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>")
	p.until("juliet/chamber", "iq type=error id=g")
	p.send("juliet/chamber", rosterSet("b", "<item jid='b@example.com'/>"))
	p.expect("juliet/chamber", "iq type=set id=push-1", "iq type=result id=b")
}
