package edge

import (
	"slices"
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
