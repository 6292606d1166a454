package edge_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// archivePlay is a play in which juliet and romeo have said these, in turn,
// each from the beginning of a line.
func archivePlay(t *testing.T, o edge.Options, said ...string) *play {
	t.Helper()
	p := newPlay(t, o)
	p.online("juliet/balcony")
	p.online("romeo/orchard")
	for i, body := range said {
		from, to := "juliet/balcony", "romeo@example.com"
		if i%2 == 1 {
			from, to = "romeo/orchard", "juliet@example.com/balcony"
		}
		p.send(from, fmt.Sprintf("<message type='chat' id='m%d' to='%s'><body>%s</body></message>", i, to, body))
		p.heard(from)
	}
	p.heard("juliet/balcony")
	p.heard("romeo/orchard")
	return p
}

// found is what a query of an archive was answered with.
type found struct {
	bodies []string // of its results, in their order
	ids    []string // and their ids
	fin    string   // the last answer: its type and what is inside
	raw    []string
}

var bodyOf = regexp.MustCompile("<body>(.*?)</body>")

// archive queries the client's own archive.
func (p *play) archive(who, query string) (f found) {
	p.t.Helper()
	p.aside = nil
	f.fin = p.ask(who, "set", "", "<query xmlns='urn:xmpp:mam:2' queryid='q'>"+query+"</query>")
	for _, text := range p.aside {
		if !strings.Contains(text, "<result xmlns='urn:xmpp:mam:2'") {
			continue
		}
		body := ""
		if m := bodyOf.FindStringSubmatch(text); m != nil {
			body = m[1]
		}
		id := regexp.MustCompile("<result [^>]* id='([^']*)'").FindStringSubmatch(text)
		f.bodies, f.ids, f.raw = append(f.bodies, body), append(f.ids, id[1]), append(f.raw, text)
	}
	return f
}

// archived queries it, and compares the bodies that are in the results, and
// whether the page is the last one.
func (p *play) archived(who, query string, complete bool, want ...string) found {
	p.t.Helper()
	f := p.archive(who, query)
	fin := "result <fin xmlns='urn:xmpp:mam:2'><set"
	if complete {
		fin = "result <fin xmlns='urn:xmpp:mam:2' complete='true'><set"
	}
	if fmt.Sprint(f.bodies) != fmt.Sprint(want) || !strings.HasPrefix(f.fin, fin) {
		p.t.Errorf("%s\ngot  %q %s\nwant %q %s", query, f.bodies, f.fin, want, fin)
	}
	return f
}

// filter gives a query's form, of names and values.
func filter(fields ...string) string {
	x := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field>"
	for i := 0; i+1 < len(fields); i += 2 {
		x += "<field var='" + fields[i] + "'><value>" + fields[i+1] + "</value></field>"
	}
	return x + "</x>"
}

func rsm(inner string) string {
	return "<set xmlns='http://jabber.org/protocol/rsm'>" + inner + "</set>"
}

// Each side has its own copy, as it was sent and received.
func TestArchiveResults(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "wherefore", "call me but love")
	f := p.archived("juliet/balcony", "", true, "wherefore", "call me but love")
	sent := "message from=juliet@example.com to=juliet@example.com/balcony <result xmlns='urn:xmpp:mam:2' queryid='q' id='" + f.ids[0] +
		"'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='"
	if !strings.HasPrefix(f.raw[0], sent) || !strings.HasSuffix(f.raw[0], "'/><message xmlns='jabber:client' type='chat' id='m0' "+
		"from='juliet@example.com/balcony' to='romeo@example.com'><body>wherefore</body></message></forwarded></result>") {
		t.Errorf("got %s, want %s…", f.raw[0], sent)
	}
	if !strings.HasSuffix(f.raw[1], " from='romeo@example.com/orchard' to='juliet@example.com/balcony'><body>call me but love</body></message></forwarded></result>") {
		t.Errorf("got %s", f.raw[1])
	}
	if want := "result <fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><first index='0'>" + f.ids[0] +
		"</first><last>" + f.ids[1] + "</last><count>2</count></set></fin>"; f.fin != want {
		t.Errorf("got  %s\nwant %s", f.fin, want)
	}
	other := p.archived("romeo/orchard", "", true, "wherefore", "call me but love")
	if !strings.HasSuffix(other.raw[0], " from='juliet@example.com/balcony' to='romeo@example.com'><body>wherefore</body></message></forwarded></result>") {
		t.Errorf("got %s", other.raw[0])
	}
	// Of what one sends to oneself there is one copy.
	p.send("juliet/balcony", "<message type='chat' to='juliet@example.com'><body>a note</body></message>")
	p.heard("juliet/balcony")
	p.archived("juliet/balcony", filter("with", "juliet@example.com"), true, "a note")
	// What is not kept is not there.
	p.send("romeo/orchard", "<message type='chat' to='juliet@example.com'><body>no</body><no-store xmlns='urn:xmpp:hints'/></message>"+
		"<message type='chat' to='juliet@example.com'><body>no</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>"+
		"<message type='headline' to='juliet@example.com'><body>no</body></message>")
	p.heard("romeo/orchard")
	p.archived("juliet/balcony", "", true, "wherefore", "call me but love", "a note")
}

func TestArchiveFilters(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "one", "two", "three", "four")
	p.online("nurse/room")
	p.send("nurse/room", "<message to='juliet@example.com'><body>madam</body></message>")
	p.heard("nurse/room")
	f := p.archived("juliet/balcony", "", true, "one", "two", "three", "four", "madam")
	stamp := func(i int) string { return regexp.MustCompile("stamp='([^']*)'").FindStringSubmatch(f.raw[i])[1] }
	for _, c := range []struct {
		name  string
		query string
		want  string
	}{
		{"5.1.1 with a bare JID", filter("with", "romeo@example.com"), "one two three four"},
		{"5.1.1 with a full JID", filter("with", "romeo@example.com/orchard"), "two four"},
		{"5.1.1 with one's own full JID", filter("with", "juliet@example.com/balcony"), "one two three four"},
		{"5.1.1 with one's own bare JID", filter("with", "juliet@example.com"), ""},
		{"5.1.1 with who never wrote", filter("with", "tybalt@example.com"), ""},
		{"5.1.2 from a start", filter("start", stamp(0)), "one two three four madam"},
		{"5.1.2 to an end", filter("end", stamp(4)), "one two three four madam"},
		{"5.1.2 before all", filter("end", "2001-01-01T00:00:00Z"), ""},
		{"5.1.2 after all", filter("start", "2101-01-01T00:00:00.123+02:00"), ""},
		{"5.1.3 after an id", filter("after-id", f.ids[1]), "three four madam"},
		{"5.1.3 before an id", filter("before-id", f.ids[1]), "one"},
		{"5.1.3 between ids", filter("after-id", f.ids[0], "before-id", f.ids[3]), "two three"},
		{"5.1.3 between ids that are the wrong way around", filter("after-id", f.ids[3], "before-id", f.ids[0]), ""},
		{"5.1.3 ids", strings.Replace(filter("ids", f.ids[4]), "</value></field></x>", "</value><value>"+f.ids[1]+"</value></field></x>", 1), "two madam"},
		{"5.1.4 without rooms", filter("include-groupchat", "false"), "one two three four madam"},
		{"5.1.4 with rooms", filter("include-groupchat", "true"), "one two three four madam"},
		{"5.1.5 fields that were left empty", filter("with", "", "start", "", "end", "", "before-id", "", "ids", "", "{urn:xmpp:fulltext:0}fulltext", ""), "one two three four madam"},
		{"all together", filter("with", "romeo@example.com", "after-id", f.ids[0], "start", stamp(0), "end", stamp(4), "fulltext", "T"), "two three"},
		{"XEP-0431 a word", filter("{urn:xmpp:fulltext:0}fulltext", "FOUR"), "four"},
		{"XEP-0431 under an older name", filter("withtext", "adam"), "madam"},
		{"XEP-0431 nobody said it", filter("fulltext", "farewell"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			p.archived("juliet/balcony", c.query, true, strings.Fields(c.want)...)
		})
	}
	p.t = t
}

func TestArchivePages(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "a", "b", "c", "d", "e")
	ids := p.archived("juliet/balcony", "", true, "a", "b", "c", "d", "e").ids
	set := func(first, index, last, count string) string {
		return "<set xmlns='http://jabber.org/protocol/rsm'><first index='" + index + "'>" + first + "</first><last>" + last + "</last><count>" + count + "</count></set>"
	}
	for _, c := range []struct {
		name     string
		query    string
		complete bool
		want     string
		set      string
	}{
		{"2.1 the first", rsm("<max>2</max>"), false, "a b", set(ids[0], "0", ids[1], "5")},
		{"2.2 the next", rsm("<max>2</max><after>" + ids[1] + "</after>"), false, "c d", set(ids[2], "2", ids[3], "5")},
		{"2.2 the last one forwards", rsm("<max>2</max><after>" + ids[3] + "</after>"), true, "e", set(ids[4], "4", ids[4], "5")},
		{"2.2 behind the last", rsm("<max>2</max><after>" + ids[4] + "</after>"), true, "", "<set xmlns='http://jabber.org/protocol/rsm'><count>5</count></set>"},
		{"2.3 backwards", rsm("<max>2</max><before>" + ids[3] + "</before>"), false, "b c", set(ids[1], "1", ids[2], "5")},
		{"2.3 the last one backwards", rsm("<max>2</max><before>" + ids[1] + "</before>"), true, "a", set(ids[0], "0", ids[0], "5")},
		{"2.5 the end", rsm("<max>2</max><before/>"), false, "d e", set(ids[3], "3", ids[4], "5")},
		{"2.5 more than there is", rsm("<max>9</max><before/>"), true, "a b c d e", set(ids[0], "0", ids[4], "5")},
		{"2.6 at an index", rsm("<max>2</max><index>1</index>"), false, "b c", set(ids[1], "1", ids[2], "5")},
		{"2.6 at an index behind all", rsm("<max>2</max><index>7</index>"), true, "", "<set xmlns='http://jabber.org/protocol/rsm'><count>5</count></set>"},
		{"2.7 the count", rsm("<max>0</max>"), false, "", "<set xmlns='http://jabber.org/protocol/rsm'><count>5</count></set>"},
		{"of what matches", filter("with", "romeo@example.com/orchard") + rsm("<max>1</max><before/>"), false, "d", set(ids[3], "1", ids[3], "2")},
		{"between two ids", filter("after-id", ids[0]) + rsm("<max>2</max><after>"+ids[1]+"</after>"), false, "c d", set(ids[2], "1", ids[3], "4")},
		{"a page of what was found", filter("fulltext", "e") + rsm("<max>1</max><before/>"), true, "e", set(ids[4], "0", ids[4], "1")},
		{"5.3.4 flipped", rsm("<max>2</max><after>"+ids[1]+"</after>") + "<flip-page/>", false, "d c", set(ids[2], "2", ids[3], "5")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			f := p.archived("juliet/balcony", c.query, c.complete, strings.Fields(c.want)...)
			if !strings.Contains(f.fin, ">"+c.set+"</fin>") {
				t.Errorf("got  %s\nwant %s", f.fin, c.set)
			}
		})
	}
	p.t = t
	p.archived("romeo/orchard", rsm("<max>1000000</max>"), true, "a", "b", "c", "d", "e")
}

// The server bounds a page, in messages and in bytes.
func TestArchivePageBounds(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("juliet/balcony")
	for i := range 260 {
		p.send("juliet/balcony", fmt.Sprintf("<message to='juliet@example.com'><body>%d</body></message>", i))
	}
	p.heard("juliet/balcony")
	for _, c := range []struct {
		page string
		want int
	}{{"", 50}, {"<max>60</max>", 60}, {"<max>100000</max><before/>", 250}} {
		if f := p.archive("juliet/balcony", rsm(c.page)); len(f.bodies) != c.want || strings.Contains(f.fin, "complete") || !strings.Contains(f.fin, "<count>260</count>") {
			t.Errorf("%s gives %d messages, want %d: %s", c.page, len(f.bodies), c.want, f.fin)
		}
	}
	p = newPlay(t, edge.Options{SoftOutbound: 20_000, HardOutbound: 60_000})
	p.dial("juliet/balcony")
	p.create("romeo")
	for i := range 5 {
		p.send("juliet/balcony", fmt.Sprintf("<message to='romeo@example.com'><body>%d%s</body></message>", i, strings.Repeat("x", 9_000)))
	}
	p.send("juliet/balcony", "<message to='romeo@example.com'><body>"+strings.Repeat("x", 30_000)+"</body></message>")
	p.heard("juliet/balcony")
	// 20 kB are two of them; what is larger comes alone.
	f := p.archive("juliet/balcony", rsm("<before/>"))
	if len(f.bodies) != 1 || len(f.bodies[0]) != 30_000 || strings.Contains(f.fin, "complete") {
		t.Errorf("%d messages: %s", len(f.bodies), f.fin)
	}
	got := ""
	for _, want := range []int{2, 2, 1, 1} {
		f = p.archive("juliet/balcony", rsm(got))
		if len(f.bodies) != want {
			t.Errorf("behind %q are %d messages, want %d", got, len(f.bodies), want)
		}
		got = "<after>" + f.ids[len(f.ids)-1] + "</after>"
	}
	if !strings.Contains(f.fin, "complete='true'") {
		t.Error(f.fin)
	}
}

func TestArchiveRefuses(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "a", "b")
	ids := p.archived("juliet/balcony", "", true, "a", "b").ids
	bad, notFound, unknown := failure("modify", "bad-request"), failure("cancel", "item-not-found"), failure("cancel", "feature-not-implemented")
	many := strings.Repeat("<value>1</value>", 251)
	x := func(kind, fields string) string {
		return "<x xmlns='jabber:x:data' type='" + kind + "'>" + fields + "</x>"
	}
	const formType = "<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>"
	for _, c := range []struct{ name, query, want string }{
		{"5.1 a form without FORM_TYPE", x("submit", "<field var='with'><value>romeo@example.com</value></field>"), bad},
		{"5.1 a form of another type", x("submit", "<field var='FORM_TYPE'><value>urn:xmpp:mam:1</value></field>"), bad},
		{"5.1 a form that is not submitted", x("form", formType), bad},
		{"5.1 a form that says nothing of its kind", "<x xmlns='jabber:x:data'>" + formType + "</x>", bad},
		{"5.1 a cancelled form", x("cancel", formType), bad},
		{"5.1 two forms", filter() + filter(), bad},
		{"XEP-0004 a field without a name", x("submit", formType+"<field><value>a</value></field>"), bad},
		{"XEP-0004 a field given twice", filter("with", "a@b", "with", "c@d"), bad},
		{"XEP-0004 one field under two names", filter("fulltext", "a", "withtext", "b"), bad},
		{"XEP-0004 two values where one is meant", x("submit", formType+"<field var='start'><value>2010-07-10T23:08:25Z</value><value>2010-07-10T23:08:26Z</value></field>"), bad},
		{"5.1.1 with no JID", filter("with", "@example.com"), failure("modify", "jid-malformed")},
		{"5.1.2 a start that is no time", filter("start", "yesterday"), bad},
		{"5.1.2 an end without a zone", filter("end", "2010-07-10T23:08:25"), bad},
		{"5.1.2 a day that is not", filter("end", "2010-02-30T23:08:25Z"), bad},
		{"5.1.3 an unknown after-id", filter("after-id", "9999"), notFound},
		{"5.1.3 an unknown before-id", filter("before-id", "28482-98726-73623"), notFound},
		{"5.1.3 an unknown one of ids", strings.Replace(filter("ids", ids[0]), "</value></field></x>", "</value><value>9999</value></field></x>", 1), notFound},
		{"5.1.3 the id of another's message", filter("ids", "0"), notFound},
		{"5.1.3 too many ids", x("submit", formType+"<field var='ids'>"+many+"</field>"), failure("modify", "policy-violation")},
		{"5.1.4 rooms or not", filter("include-groupchat", "perhaps"), bad},
		{"5.1.5 an unknown field", filter("{http://example.com/}stanza-content", "a"), unknown},
		{"5.1.5 an unknown field without a value", x("submit", formType+"<field var='who'/>"), unknown},
		{"XEP-0431 more than anybody searches for", filter("fulltext", strings.Repeat("x", 1025)), bad},
		{"5.3.2 an unknown after", rsm("<after>9999</after>"), notFound},
		{"5.3.2 an unknown before", rsm("<before>-1</before>"), notFound},
		{"5.3.2 an id that is written otherwise", rsm("<before>0" + ids[0] + "</before>"), notFound},
		{"5.3.2 before and after", rsm("<after>" + ids[0] + "</after><before>" + ids[1] + "</before>"), bad},
		{"XEP-0059 after nothing", rsm("<after/>"), bad},
		{"XEP-0059 an index before an id", rsm("<index>1</index><before>" + ids[1] + "</before>"), bad},
		{"XEP-0059 an index after an id", rsm("<index>1</index><after>" + ids[0] + "</after>"), bad},
		{"XEP-0059 fewer than none", rsm("<max>-1</max>"), bad},
		{"XEP-0059 no number", rsm("<max>ten</max>"), bad},
		{"XEP-0059 an index that is none", rsm("<index>-2</index>"), bad},
		{"XEP-0059 more than a number holds", rsm("<max>99999999999999999999</max>"), bad},
		{"XEP-0059 two pages", rsm("<max>1</max>") + rsm("<max>2</max>"), bad},
		{"XEP-0059 max twice", rsm("<max>1</max><max>2</max>"), bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.t = t
			if f := p.archive("juliet/balcony", c.query); !strings.HasPrefix(f.fin, c.want) || len(f.bodies) > 0 {
				t.Errorf("got %s %q\nwant %s", f.fin, f.bodies, c.want)
			}
		})
	}
	p.t = t
	const query, metadata = "<query xmlns='urn:xmpp:mam:2'/>", "<metadata xmlns='urn:xmpp:mam:2'/>"
	p.asks("juliet/balcony", "set", "", "<query xmlns='urn:xmpp:mam:2' queryid='"+strings.Repeat("x", 257)+"'/>", bad)
	p.asks("juliet/balcony", "set", "", "<query xmlns='urn:xmpp:mam:2' node='a'/>", unknown)
	p.asks("juliet/balcony", "set", "", metadata, failure("cancel", "service-unavailable"))
	// Section 9.1: another's archive, whether it is there or not.
	for _, to := range []string{"romeo@example.com", "nobody@example.com"} {
		p.asks("juliet/balcony", "set", to, query, failure("auth", "forbidden"))
		p.asks("juliet/balcony", "get", to, query, failure("auth", "forbidden"))
		p.asks("juliet/balcony", "get", to, metadata, failure("auth", "forbidden"))
	}
	p.asks("juliet/balcony", "set", "example.com", query, failure("cancel", "service-unavailable"))
	// After all that the archive still answers.
	p.archived("juliet/balcony", "", true, "a", "b")
}

func TestArchiveForm(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	p.asks("juliet/balcony", "get", "juliet@example.com", "<query xmlns='urn:xmpp:mam:2'/>", "result <query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>"+
		"<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field type='jid-single' var='with'/>"+
		"<field type='text-single' var='start'/><field type='text-single' var='end'/><field type='text-single' var='before-id'/>"+
		"<field type='text-single' var='after-id'/><field type='list-multi' var='ids'><validate xmlns='http://jabber.org/protocol/xdata-validate' "+
		"datatype='xs:string'><open/></validate></field><field type='boolean' var='include-groupchat'/>"+
		"<field type='text-single' var='{urn:xmpp:fulltext:0}fulltext'/></x></query>")
}

func TestArchiveMetadata(t *testing.T) {
	p := archivePlay(t, edge.Options{}, "a", "b", "c")
	p.dial("nurse/room")
	p.asks("nurse/room", "get", "", "<metadata xmlns='urn:xmpp:mam:2'/>", "result <metadata xmlns='urn:xmpp:mam:2'/>")
	ids := p.archived("juliet/balcony", "", true, "a", "b", "c").ids
	got := p.ask("juliet/balcony", "get", "", "<metadata xmlns='urn:xmpp:mam:2'/>")
	if !regexp.MustCompile("^result <metadata xmlns='urn:xmpp:mam:2'><start id='" + ids[0] + "' timestamp='[-0-9]+T[:.0-9]+Z'/><end id='" + ids[2] +
		"' timestamp='[-0-9]+T[:.0-9]+Z'/></metadata>$").MatchString(got) {
		t.Error(got)
	}
}

func TestArchiveIsAdvertised(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	info := p.ask("juliet/balcony", "get", "juliet@example.com", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	without := newPlay(t, edge.Options{Archive: edgetest.NoArchive})
	without.dial("juliet/balcony")
	none := without.ask("juliet/balcony", "get", "juliet@example.com", "<query xmlns='http://jabber.org/protocol/disco#info'/>")
	for _, f := range []string{"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:mam:2#groupchat-field", "urn:xmpp:fulltext:0", "http://jabber.org/protocol/rsm"} {
		if f = "<feature var='" + f + "'/>"; !strings.Contains(info, f) || strings.Contains(none, f) {
			t.Errorf("%s\nwith an archive    %s\nwithout an archive %s", f, info, none)
		}
	}
	for _, payload := range []string{"<query xmlns='urn:xmpp:mam:2'/>", "<metadata xmlns='urn:xmpp:mam:2'/>"} {
		without.asks("juliet/balcony", "get", "", payload, failure("cancel", "service-unavailable"))
	}
}

// An archive that does not answer holds up nothing but its queries, and is
// asked by so many at a time.
func TestArchiveAway(t *testing.T) {
	p := archivePlay(t, edge.Options{MaxArchiving: 3, Limits: edge.Limits{Archive: 4}}, "a")
	p.online("romeo/garden")
	p.house.OnArchive(func(context.Context) error { return errors.New("no ClickHouse") })
	if f := p.archive("juliet/balcony", ""); !strings.HasPrefix(f.fin, failure("wait", "resource-constraint")) {
		t.Errorf("got %s", f.fin)
	}
	asked, go_on := make(chan struct{}, 100), make(chan struct{})
	p.house.OnArchive(func(context.Context) error {
		asked <- struct{}{}
		<-go_on
		return nil
	})
	const query = "<query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>"
	for i := range 5 {
		p.send("romeo/orchard", fmt.Sprintf("<iq type='set' id='q%d'>", i)+query)
	}
	<-asked
	// The fifth is one too many; the first four wait, and all else goes on.
	st := p.until("romeo/orchard", "iq type=error id=q4")
	if !strings.Contains(string(st.Inner), "type='wait'><resource-constraint") {
		t.Errorf("got %s", st.Inner)
	}
	p.send("juliet/balcony", "<message to='romeo@example.com/orchard'><body>meanwhile</body></message>")
	p.until("romeo/orchard", "message from=juliet@example.com/balcony")
	p.send("romeo/orchard", "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.until("romeo/orchard", "iq type=result id=ping")
	if n := len(asked); n != 0 {
		t.Errorf("%d queries of one session are read at once", n+1)
	}
	close(go_on)
	for i := range 4 {
		p.until("romeo/orchard", "message from=romeo@example.com to=romeo@example.com/orchard <result")
		p.until("romeo/orchard", fmt.Sprintf("iq type=result id=q%d", i))
	}
}

// What a client asks for and does not read is bounded: its next page is read
// when it has taken the one before.
func TestArchiveWaitsForTheClient(t *testing.T) {
	p := newPlay(t, edge.Options{SoftOutbound: 100_000, HardOutbound: 300_000, MaxStanza: 100_000})
	p.online("juliet/balcony")
	p.create("romeo")
	for i := range 10 {
		p.send("juliet/balcony", fmt.Sprintf("<message to='romeo@example.com'><body>%d%s</body></message>", i, strings.Repeat("x", 50_000)))
		p.heard("juliet/balcony")
	}
	c := p.clients["juliet/balcony"]
	const queries = 60 // about 5 MB of answers
	for i := range queries {
		if err := c.Send(fmt.Sprintf("<iq type='set' id='q%d'><query xmlns='urn:xmpp:mam:2'/></iq>", i)); err != nil {
			t.Fatal(err)
		}
	}
	bodies := 0
	for i := range queries {
		for {
			st, err := c.Next()
			if err != nil {
				t.Fatalf("after %d answers: %v", i, err)
			}
			if st.Kind == stanza.IQ {
				if st.Type != "result" || st.ID != fmt.Sprintf("q%d", i) {
					t.Fatalf("got %s", edgetest.Text(st))
				}
				break
			}
			bodies++
		}
	}
	if bodies < queries {
		t.Errorf("%d messages in %d pages", bodies, queries)
	}
}
