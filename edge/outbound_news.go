package edge

import (
	"slices"
	"strings"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/wire"
)

// newsKey names what news replace: those of one item, or of all items of the
// node. No full JID has its separator.
func newsKey(n *wire.NodeNews) string {
	key := n.GetAccount() + "\x00" + n.GetNode() + "\x00"
	if n.GetSeveral() {
		key += n.GetItem()
	}
	return key
}

// newsSize is the number of bytes that news cost while they wait; 0 for presence.
func (l *latePresence) newsSize() int {
	if !strings.Contains(l.full, "\x00") {
		return 0
	}
	return len(l.presence.Head) + len(l.presence.Tail)
}

// hear queues news of a node for the receiver to. While the client is inactive
// they wait, and what they make old goes (XEP-0352); but no more than
// the soft bound waits.
func (o *outbound) hear(b *batch, n *wire.NodeNews, p *stanza.Prepared, to string) {
	key := newsKey(n)
	if o.holdNews(key, p, to, n.GetPurged() || n.GetDeleted()) {
		return
	}
	o.write(b, func(dst []byte) []byte { return p.AppendTo(dst, to) }, nil)
}

// holdNews keeps news among what is late; it tells whether they are to wait.
// What follows news that wait must not overtake them.
func (o *outbound) holdNews(key string, p *stanza.Prepared, to string, all bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || !o.quiet && o.news == 0 {
		return false
	}
	o.late = slices.DeleteFunc(o.late, func(l latePresence) bool {
		old := l.full == key || all && strings.HasPrefix(l.full, key)
		if old {
			o.news -= l.newsSize()
			o.limits.metrics.conflated.Inc()
		}
		return old
	})
	o.late = append(o.late, latePresence{key, p, to})
	o.news += o.late[len(o.late)-1].newsSize()
	if o.latest == nil {
		o.latest = make(map[string]int)
	}
	clear(o.latest)
	for i := range o.late {
		o.latest[o.late[i].full] = i
	}
	if o.waits() > o.limits.soft && !o.away || !o.quiet {
		o.drainLate(true)
		o.start()
	}
	if o.waits() > o.limits.hard {
		o.fail(true)
	}
	return true
}
