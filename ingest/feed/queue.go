package feed

import (
	"context"
	"sync"

	"github.com/rollcall/rollcall/schema/watch"
)

// An item is a change, or, without an account, word that its place is reached.
type item struct{ watch.Change }

// A queue holds what a stream is to be told, within bounds.
type queue struct {
	maxItems, maxBytes int
	ready              chan struct{} // holds one: something is there
	room               chan struct{} // holds one: something was taken

	mu    sync.Mutex
	items []item
	bytes int
	err   error // what ends it; items before it are still taken
}

func newQueue(items, bytes int) *queue {
	return &queue{maxItems: items, maxBytes: bytes, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// size is what an item counts for, about what it takes on its way.
func (i *item) size() int {
	n := 128 + len(i.Account)
	if p := i.Presence; p != nil {
		n += len(p.Resource) + len(p.Status)
	}
	if m := i.Message; m != nil {
		n += len(m.Resource) + len(m.Peer)
	}
	return n
}

// put adds an item, and tells whether there was room; an empty queue has room
// for one item of any size.
func (q *queue) put(i item) bool {
	size := i.size()
	q.mu.Lock()
	fits := len(q.items) == 0 || len(q.items) < q.maxItems && q.bytes+size <= q.maxBytes
	if fits && q.err == nil {
		q.items = append(q.items, i)
		q.bytes += size
	}
	q.mu.Unlock()
	signal(q.ready)
	return fits
}

// fail ends the queue.
func (q *queue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	signal(q.ready)
	signal(q.room)
}

// take gives what is there, and, once nothing is, what has ended it.
func (q *queue) take() ([]item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = nil, 0
	signal(q.room)
	if len(items) > 0 {
		return items, nil
	}
	return nil, q.err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wait is put that waits for room, as long as ctx lasts and the queue is not
// ended.
func (q *queue) wait(ctx context.Context, i item) error {
	for !q.put(i) {
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}
