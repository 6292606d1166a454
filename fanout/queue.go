package fanout

import (
	"strings"
	"sync"
)

// An item is one thing that waits to be sent to an edge. Its bytes are shared
// between edges and never changed.
type item struct {
	register string // full JID whose presence it is; empty for all else
	pins     string // how the registers begin that must not come after this: what they say was said before it
	bytes    []byte // an entry of Frames.frames, or a ToEdge if whole
	whole    bool
	free     bool // counts against no bound: it repairs what a closed stream has dropped, or waited in an inbox
	kind     kind
	at       int64 // when it was said, microseconds; 0: not measured
}

// empty tells that a newer presence has replaced the item, or that it was taken.
func (i *item) empty() bool { return i.bytes == nil }

// queue is what waits for one edge, a lane for each partition. Presence is
// one register per full JID: a newer one takes the place of an older that
// waits, at the end of the lane, so that nothing queued before it, such as a
// revocation, is overtaken. All else is bounded; past the bound the queue
// overflows, and the stream is to be closed.
type queue struct {
	maxBytes      int
	conflateAbove int
	metrics       *metrics

	mu         sync.Mutex
	lanes      map[int32]*lane
	ready      []*lane  // with items, in turn
	direct     [][]byte // ToEdge of no partition's order: iqs
	queued     int      // bytes of what is bounded
	depth      int      // items that wait
	overflowed bool
	overflow   chan struct{} // closed when it overflowed
	wake       chan struct{} // something waits
}

// lane is what waits of one partition, under one claim.
type lane struct {
	partition int32
	claim     uint64
	items     []item
	head      int
	live      int
	registers map[string]int // place in items; nil while few wait
	ready     bool
}

func newQueue(maxBytes, conflateAbove int, m *metrics) *queue {
	return &queue{
		maxBytes: maxBytes, conflateAbove: conflateAbove, metrics: m,
		lanes: make(map[int32]*lane), wake: make(chan struct{}, 1), overflow: make(chan struct{}),
	}
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// open starts the partition's lane anew under a claim.
func (q *queue) open(partition int32, claim uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(partition)
	q.lanes[partition] = &lane{partition: partition, claim: claim}
}

// close forgets what waits of a partition under a claim.
func (q *queue) close(partition int32, claim uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lanes[partition]; l != nil && l.claim == claim {
		q.drop(partition)
	}
}

func (q *queue) drop(partition int32) {
	l := q.lanes[partition]
	if l == nil {
		return
	}
	for i := l.head; i < len(l.items); i++ {
		q.gone(&l.items[i])
	}
	delete(q.lanes, partition)
	if l.ready {
		for i, r := range q.ready {
			if r == l {
				q.ready = append(q.ready[:i], q.ready[i+1:]...)
				break
			}
		}
	}
}

// bounded tells that an item counts against maxBytes. Answers do not: their
// number is the edge's own.
func (i *item) bounded() bool { return i.register == "" && i.kind != kindAnswer && !i.free }

func (q *queue) gone(i *item) {
	if i.empty() {
		return
	}
	q.depth--
	if i.bounded() {
		q.queued -= len(i.bytes)
	}
}

// push queues items of a partition in their order. The slice is the caller's
// again.
func (q *queue) push(partition int32, claim uint64, items []item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[partition]
	if l == nil || l.claim != claim || q.overflowed {
		return
	}
	for i := range items {
		q.add(l, &items[i])
	}
	if !l.ready && l.live > 0 {
		l.ready = true
		q.ready = append(q.ready, l)
	}
	q.bound()
	q.signal()
}

func (q *queue) add(l *lane, i *item) {
	if i.register != "" {
		if l.registers == nil && l.live >= q.conflateAbove {
			l.index(q)
		}
		if l.registers != nil {
			if at, ok := l.registers[i.register]; ok {
				q.replaced(l, at)
			}
			l.registers[i.register] = len(l.items)
		}
	}
	if i.pins != "" {
		l.pin(i.pins)
	}
	l.items = append(l.items, *i)
	l.live++
	q.depth++
	if i.bounded() {
		q.queued += len(i.bytes)
	}
	if len(l.items) > 256 && len(l.items) > 4*l.live {
		l.compact()
	}
}

func (q *queue) replaced(l *lane, at int) {
	l.items[at] = item{}
	l.live--
	q.depth--
	q.metrics.conflated.Inc()
}

// pin keeps what waits of some registers where it is: nothing newer takes its
// place.
func (l *lane) pin(prefix string) {
	for name, at := range l.registers {
		if strings.HasPrefix(name, prefix) {
			l.items[at].register, l.items[at].free = "", true // still counts against no bound
			delete(l.registers, name)
		}
	}
}

// index begins to conflate: of what waits already, too.
func (l *lane) index(q *queue) {
	l.registers = make(map[string]int)
	for at := l.head; at < len(l.items); at++ {
		if prefix := l.items[at].pins; prefix != "" {
			l.pin(prefix)
		}
		name := l.items[at].register
		if name == "" {
			continue
		}
		if older, ok := l.registers[name]; ok {
			q.replaced(l, older)
		}
		l.registers[name] = at
	}
}

// compact takes out the places of what was replaced or taken.
func (l *lane) compact() {
	kept := l.items[:0]
	for at := l.head; at < len(l.items); at++ {
		if i := l.items[at]; !i.empty() {
			if l.registers != nil && i.register != "" {
				l.registers[i.register] = len(kept)
			}
			kept = append(kept, i)
		}
	}
	clear(l.items[len(kept):])
	l.items, l.head = kept, 0
}

// bound overflows the queue that has passed its bound. q.mu is held.
func (q *queue) bound() {
	if q.queued > q.maxBytes && !q.overflowed {
		q.overflowed = true
		close(q.overflow)
	}
}

// say queues a ToEdge that is in no partition's order.
func (q *queue) say(message []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.overflowed {
		return
	}
	q.direct = append(q.direct, message)
	q.queued += len(message)
	q.depth++
	q.bound()
	q.signal()
}

// A parcel is what goes in one message: a ToEdge as it is, or entries of
// Frames of one partition.
type parcel struct {
	whole     []byte
	partition int32
	claim     uint64
	entries   []item
	size      int // bytes of entries
	kind      kind
}

// take gives the next message, of at most about maxBytes unless one item is
// larger; it is not ok when nothing waits. The parcel's entries are reused.
func (q *queue) take(p *parcel, maxBytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.entries, p.whole, p.size = p.entries[:0], nil, 0
	if len(q.direct) > 0 {
		p.whole, p.kind = q.direct[0], kindIq
		q.direct[0] = nil
		if q.direct = q.direct[1:]; len(q.direct) == 0 {
			q.direct = nil
		}
		q.queued -= len(p.whole)
		q.depth--
		return true
	}
	if len(q.ready) == 0 {
		return false
	}
	l := q.ready[0]
	p.partition, p.claim = l.partition, l.claim
	for l.live > 0 {
		i := &l.items[l.head]
		if i.empty() {
			l.head++
			continue
		}
		if len(p.entries) > 0 && (i.whole || p.size+len(i.bytes) > maxBytes) {
			break
		}
		if i.register != "" && l.registers != nil {
			delete(l.registers, i.register)
		}
		q.gone(i)
		l.live--
		l.head++
		if i.whole {
			p.whole, p.kind = i.bytes, i.kind
			*i = item{}
			break
		}
		p.entries = append(p.entries, *i)
		p.size += len(i.bytes)
		*i = item{}
	}
	q.ready = append(q.ready[:0], q.ready[1:]...)
	if l.live > 0 {
		q.ready = append(q.ready, l)
		return true
	}
	l.ready, l.head, l.items, l.registers = false, 0, l.items[:0], nil
	if cap(l.items) > 4096 {
		l.items = nil
	}
	return true
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.depth
}
