package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A leaf is a page of an archive, as its owner's client got it.
type leaf struct {
	bodies   []string
	ids      []string
	complete bool
	count    string
}

var counted = regexp.MustCompile("<count>([0-9]+)</count>")

// archive queries the client's archive (XEP-0313). Its error is what the
// server answered.
func (s *session) archive(t testing.TB, id, query string) (p leaf, err error) {
	t.Helper()
	st, err := s.ask("set", "<query xmlns='"+stanza.NSMAM+"' queryid='"+id+"'>"+query+"</query>")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.unread = slices.DeleteFunc(s.unread, func(m *stanza.Stanza) bool {
		r, ok := stanza.Find(m.Inner, stanza.NSMAM, "result")
		if !ok || r.Attr("queryid") != id {
			return false
		}
		e, err := r.Element()
		if err != nil {
			t.Error(err)
			return true
		}
		said := e.Child(stanza.NSForward, "forwarded").Child(stanza.NSClient, "message")
		p.bodies, p.ids = append(p.bodies, said.ChildText(stanza.NSClient, "body")), append(p.ids, r.Attr("id"))
		return true
	})
	s.mu.Unlock()
	if st.Type == "error" {
		return p, fmt.Errorf("%s", st.Inner)
	}
	p.complete = strings.Contains(string(st.Inner), " complete='true'")
	if m := counted.FindStringSubmatch(string(st.Inner)); m != nil {
		p.count = m[1]
	}
	return p, nil
}

// What was said a moment ago is in the archives of both sides, is read page by
// page both ways and found by its words; while ClickHouse stands still the
// archive alone does not answer, says so, and answers again by itself.
func TestArchive(t *testing.T) {
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	befriended(t, s, "edge-1", "juliet", "romeo").cut()
	run := s.run(t)
	join := func(edge, user string) *session {
		t.Helper()
		c, err := connect(login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: "pc"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		if err := c.send("<presence/>"); err != nil {
			t.Fatal(err)
		}
		c.expect(t, "itself", shown(c.full, ""))
		return c
	}
	juliet, romeo := join("edge-1", "juliet"), join("edge-2", "romeo")
	says := func(body string) {
		t.Helper()
		if err := juliet.send("<message type='chat' to='romeo@" + run.Domain + "'><body>" + body + "</body></message>"); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(body string) {
		t.Helper()
		romeo.expect(t, body, func(st *stanza.Stanza) bool { return st.Kind == stanza.Message && st.Message().Body == body })
	}
	set := func(inner string) string { return "<set xmlns='" + stanza.NSRSM + "'>" + inner + "</set>" }
	read := func(c *session, query string, complete bool, count int, want ...string) leaf {
		t.Helper()
		p, err := c.archive(t, fmt.Sprint("q", time.Now().UnixNano()), query)
		if err != nil || !slices.Equal(p.bodies, want) || p.complete != complete || p.count != fmt.Sprint(count) {
			t.Fatalf("%s: got %q, complete %t of %s, %v; want %q, complete %t of %d", query, p.bodies, p.complete, p.count, err, want, complete, count)
		}
		return p
	}

	// Her own words, right after she sent them, from the last page back to the
	// first.
	var took time.Duration
	for n := range 7 {
		says(fmt.Sprint("word ", n))
		began := time.Now()
		if p, err := juliet.archive(t, fmt.Sprint("at once ", n), set("<max>1</max><before/>")); err != nil || !slices.Equal(p.bodies, []string{fmt.Sprint("word ", n)}) {
			t.Fatalf("after word %d: %+v %v", n, p, err)
		}
		took += time.Since(began)
	}
	t.Logf("a message and the page with it took %d ms on average", (took / 7).Milliseconds())
	p := read(juliet, set("<max>3</max><before/>"), false, 7, "word 4", "word 5", "word 6")
	p = read(juliet, set("<max>3</max><before>"+p.ids[0]+"</before>"), false, 7, "word 1", "word 2", "word 3")
	read(juliet, set("<max>3</max><before>"+p.ids[0]+"</before>"), true, 7, "word 0")
	// His, on the other edge, forwards.
	hears("word 6")
	p = read(romeo, set("<max>4</max>"), false, 7, "word 0", "word 1", "word 2", "word 3")
	read(romeo, set("<max>4</max><after>"+p.ids[3]+"</after>"), true, 7, "word 4", "word 5", "word 6")

	says("我们明天在图书馆见面吧")
	says("Bis morgen, schöne Grüße!")
	search := func(text string) string {
		return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>" + stanza.NSMAM + "</value></field>" +
			"<field var='{urn:xmpp:fulltext:0}fulltext'><value>" + text + "</value></field></x>"
	}
	read(juliet, search("图书馆"), true, 1, "我们明天在图书馆见面吧")
	read(romeo, search("GRÜSSE morgen"), true, 1, "Bis morgen, schöne Grüße!")
	read(romeo, search("word")+set("<max>2</max><before/>"), false, 7, "word 5", "word 6")

	// What she does not want to be kept is heard, and is in his archive alone.
	keep := func(byDefault string) {
		t.Helper()
		if st, err := juliet.ask("set", "<prefs xmlns='"+stanza.NSMAM+"' default='"+byDefault+"'/>"); err != nil || st.Type != "result" {
			t.Fatalf("%v %v", st, err)
		}
	}
	keep("never")
	says("between us")
	hears("between us")
	read(romeo, set("<max>1</max><before/>"), false, 10, "between us")
	read(juliet, set("<max>1</max><before/>"), false, 9, "Bis morgen, schöne Grüße!")
	keep("always")

	thaw := s.freeze(t, "clickhouse")
	defer thaw()
	refused := make(chan error, 1)
	go func() {
		_, err := juliet.archive(t, "frozen", "")
		refused <- err
	}()
	says("while it is frozen")
	hears("while it is frozen")
	if err := juliet.ping(); err != nil {
		t.Fatal(err)
	}
	wait := func(err error) bool {
		return err != nil && strings.HasPrefix(err.Error(), "<error type='wait'><resource-constraint")
	}
	if err := <-refused; !wait(err) {
		t.Fatalf("the archive answered while ClickHouse stood still: %v", err)
	}
	thaw()
	eventually(t, "the archive answers again", 30*time.Second, func() error {
		p, err := juliet.archive(t, "thawed", set("<max>1</max><before/>"))
		if err == nil && !slices.Equal(p.bodies, []string{"while it is frozen"}) || err != nil && !wait(err) {
			t.Fatalf("%+v %v", p, err)
		}
		return err
	})
	s.stop(t)
}
