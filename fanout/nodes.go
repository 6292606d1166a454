package fanout

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// news tells the edges that follow an account what happened to its nodes. Who
// of their sessions hears it they decide (XEP-0163, section 4).
func (p *partition) news(offset int64, name string, e *event.Event) {
	edges := p.routes[name]
	if len(edges) == 0 {
		return
	}
	n := wire.NewsOf(name, offset, e)
	if n == nil {
		return
	}
	i := item{kind: kindNews, at: p.measured(e.GetAt()), bytes: frame(&wire.Frame{What: &wire.Frame_NodeNews{NodeNews: n}})}
	for _, to := range edges {
		p.send(to, i)
	}
}
