package edge

import (
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// Last items are read as of where news begin to come by themselves, so that
// nothing is missed between them, and are begun with once for each time that
// the account is seen anew.
func TestLastItemsMeetNews(t *testing.T) {
	const juliet, romeo = "juliet@example.com", "romeo@example.com"
	f := &followed{links: new(noLinks), metrics: newMetrics(nil), accounts: make(map[string]*watched)}
	l := &local{account: jid.MustBare(romeo), bare: romeo}
	expect := func(when string, next int64, begun bool, b *batch) {
		t.Helper()
		if got, ok := f.lastAfter(juliet, l); got != next || ok != (next > 0) {
			t.Errorf("%s: last items as of %d, %v, want %d", when, got, ok, next)
		}
		if slices.Contains(b.begun[l], juliet) != begun {
			t.Errorf("%s: begun with %v", when, b.begun)
		}
	}
	admission := func(offset int64, admitted bool) *wire.Admission {
		return &wire.Admission{Account: juliet, Follower: romeo, Offset: offset, Admitted: admitted}
	}
	answer := func(next int64, a *wire.Admission) *batch {
		var b batch
		f.answer(&b, &wire.Answer{NextOffset: next, Accounts: []string{juliet}, Admissions: []*wire.Admission{a}})
		return &b
	}
	frame := func(a *wire.Admission) *batch {
		var b batch
		f.mu.Lock()
		defer f.mu.Unlock()
		f.admission(&b, a)
		f.opened(&b, a, a.GetOffset()+1)
		return &b
	}
	f.follow(juliet, l)
	expect("before an answer", 0, false, new(batch))
	expect("not admitted", 0, false, answer(50, admission(40, false)))
	f.news(new(batch), &wire.NodeNews{Account: juliet, Offset: 55, Node: "n"}) // nobody heard it
	expect("granted", 56, true, frame(admission(52, true)))
	expect("answered again", 56, false, answer(60, admission(59, true)))
	f.news(new(batch), &wire.NodeNews{Account: juliet, Offset: 70, Node: "n"})
	expect("after more news", 71, false, new(batch))
	expect("revoked", 0, false, frame(admission(80, false)))
	expect("admitted by an answer, the tail of which is ahead", 100, true, answer(100, admission(90, true)))
}

// What may have been missed between two streams to a worker is asked for once,
// of accounts whose news a session wants; of it only what is not overtaken is
// told.
func TestGapsInNews(t *testing.T) {
	const juliet, romeo = "juliet@example.com", "romeo@example.com"
	f := &followed{links: new(noLinks), metrics: newMetrics(nil), accounts: make(map[string]*watched)}
	l := &local{account: jid.MustBare(romeo), bare: romeo}
	c := &counted{writes: make(chan string, 10)}
	s := &session{local: l, resource: "r", full: romeo + "/r"}
	o, _ := newOutbound(c, 1<<16, 1<<20)
	s.out.conn, s.out.limits, s.out.onBreak = o.conn, o.limits, o.onBreak
	s.available.Store(true)
	l.list.Store(&[]*session{s})
	f.follow(juliet, l)
	answer := func(next int64) []NewsGap {
		var b batch
		f.answer(&b, &wire.Answer{NextOffset: next, Accounts: []string{juliet},
			Admissions: []*wire.Admission{{Account: juliet, Follower: romeo, Offset: next - 1, Admitted: true}}})
		return b.gaps
	}
	if gaps := append(answer(10), answer(20)...); len(gaps) > 0 {
		t.Errorf("nobody wants news: %v", gaps)
	}
	s.notified.Store(&notified{wanted: []string{"a", "b"}})
	if gaps := answer(30); !slices.Equal(gaps, []NewsGap{{juliet, 20}}) {
		t.Errorf("gaps %v", gaps)
	}
	tell := func(node string, offset int64) {
		var b batch
		f.news(&b, &wire.NodeNews{Account: juliet, Node: node, Offset: offset, Item: "i"})
		b.flush()
	}
	hears := func(node string) {
		t.Helper()
		if got := <-c.writes; !strings.Contains(got, "<items node='"+node+"'>") {
			t.Errorf("heard %s, want news of %s", got, node)
		}
	}
	tell("a", 35)
	hears("a")
	tell("a", 25) // missed, and overtaken
	tell("a", 35) // a copy
	tell("b", 25) // missed
	hears("b")
	if gaps := answer(40); !slices.Equal(gaps, []NewsGap{{juliet, 36}}) {
		t.Errorf("gaps %v", gaps)
	}
	if len(c.writes) > 0 {
		t.Errorf("heard %s too", <-c.writes)
	}
}
