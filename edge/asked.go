package edge

import (
	"sync"
	"time"

	"github.com/rollcall/rollcall/schema/wire"
)

// asked remembers the iqs that sessions here sent to others, until they are
// answered or it is too late.
type asked struct {
	mu   sync.Mutex
	open map[question]pending
}

// question names an iq as its answer does.
type question struct{ to, from, id string }

type pending struct {
	iq    *wire.Iq
	until time.Time
	by    *session
}

// closed is called for what was open. a.mu is held.
func (p pending) closed() {
	if p.by != nil {
		p.by.asking.Add(-1)
	}
}

func (a *asked) add(iq *wire.Iq, until time.Time, by *session) {
	if by != nil { // a component has no bound
		by.asking.Add(1)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil {
		a.open = make(map[question]pending)
	}
	kept := &wire.Iq{To: iq.GetTo(), From: iq.GetFrom(), Id: iq.GetId()}
	q := question{iq.GetTo(), iq.GetFrom(), iq.GetId()}
	a.open[q].closed() // one of the same id
	a.open[q] = pending{kept, until, by}
}

// take tells whether the question was open, and closes it.
func (a *asked) take(to, from, id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := question{to, from, id}
	p, ok := a.open[q]
	p.closed()
	delete(a.open, q)
	return ok
}

// late takes the questions whose time is over.
func (a *asked) late(now time.Time) []*wire.Iq {
	a.mu.Lock()
	defer a.mu.Unlock()
	var late []*wire.Iq
	for q, p := range a.open {
		if now.After(p.until) {
			delete(a.open, q)
			p.closed()
			late = append(late, p.iq)
		}
	}
	return late
}
