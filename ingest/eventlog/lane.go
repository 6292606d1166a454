package eventlog

import (
	"sync"
	"time"

	"github.com/rollcall/rollcall/schema/topic"
)

type laneKey struct {
	topic     string
	partition int32
}

// A lane is one partition's records on their way, guarded by the Appender's
// mu. The records of batch come before those of queue.
type lane struct {
	laneKey
	batch []entry // sent, or to be sent again as it is; readers may read it without the lock
	queue []entry // not sent yet
	spare []entry // empty, to be the next queue

	busy     bool  // with a sender, or parked
	flying   bool  // batch is in a request
	broken   bool  // records here may be of a chain that is broken
	leader   int32 // as of the last look
	attempts int   // failed ones in a row
	retryAt  time.Time
}

// An entry is one record in a lane. Only settled, done and keep change.
type entry struct {
	record  Record
	size    int
	keep    bool
	settled bool // done was called
	queued  time.Time
	done    func(topic.Position, error)
}

// take makes l's next batch, at most limit bytes, and gives its size. A batch
// that failed before is taken again, less what was given up meanwhile.
func (l *lane) take(limit int) int {
	if len(l.batch) > 0 {
		l.batch = unsettled(l.batch)
	}
	size := 0
	for i := range l.batch {
		size += l.batch[i].size
	}
	if len(l.batch) > 0 {
		return size
	}
	n := 0
	for n < len(l.queue) && (n == 0 || size+l.queue[n].size <= limit) {
		size += l.queue[n].size
		n++
	}
	if n == len(l.queue) {
		l.batch, l.queue, l.spare = l.queue, l.spare[:0], nil
		return size
	}
	l.batch = append([]entry(nil), l.queue[:n]...)
	kept := copy(l.queue, l.queue[n:])
	clear(l.queue[kept:])
	l.queue = l.queue[:kept]
	return size
}

// unsettled gives the entries that still want an answer, in a slice of their
// own if there are others: an earlier request may still be reading batch.
func unsettled(batch []entry) []entry {
	gone := 0
	for i := range batch {
		if batch[i].settled {
			gone++
		}
	}
	if gone == 0 {
		return batch
	}
	rest := make([]entry, 0, len(batch)-gone)
	for i := range batch {
		if !batch[i].settled {
			rest = append(rest, batch[i])
		}
	}
	return rest
}

// reuse keeps the memory of an answered batch for a later queue.
func (l *lane) reuse() {
	const most = 4096
	if cap(l.batch) <= most {
		clear(l.batch)
		l.spare = l.batch[:0]
	}
}

// settle answers e's caller, once. The caller holds mu.
func (a *Appender) settle(l *lane, e *entry, offset int64, err error) {
	if e.settled {
		return
	}
	e.settled = true
	if err != nil {
		l.breakChain(e.record.Chain)
	}
	a.bytes -= e.size
	a.records--
	if a.records == 0 && a.idle != nil {
		close(a.idle)
		a.idle = nil
	}
	a.metrics.settled(e.queued, err)
	a.done.add(completion{e.done, topic.Position{Topic: l.topic, Partition: l.partition, Offset: offset}, err})
}

// fail gives up all of l's records. The caller holds mu.
func (a *Appender) fail(l *lane, err error) {
	for i := range l.batch {
		a.settle(l, &l.batch[i], -1, err)
	}
	for i := range l.queue {
		a.settle(l, &l.queue[i], -1, err)
	}
	l.batch, l.queue = nil, nil
}

// expire gives up the records whose time is over and gives when the next
// one's will be, zero if there is none.
func (a *Appender) expire(now time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	var next time.Time
	a.armed = false
	// live tells whether e goes on; e is the oldest of its lane or younger.
	live := func(l *lane, e *entry) bool {
		if e.settled || e.keep {
			return !e.settled
		}
		end := e.queued.Add(a.options.Timeout)
		if !end.After(now) {
			a.settle(l, e, -1, ErrUnavailable)
			return false
		}
		if !a.armed || end.Before(next) {
			a.armed, next = true, end
		}
		return true
	}
	for _, l := range a.lanes {
		// What is in a request stays in its place until that is answered.
		for i := range l.batch {
			live(l, &l.batch[i])
		}
		rest := l.queue[:0]
		for i := range l.queue {
			if live(l, &l.queue[i]) {
				rest = append(rest, l.queue[i])
			}
		}
		clear(l.queue[len(rest):])
		l.queue = rest
	}
	return next
}

// A completion is an answer on its way to a caller.
type completion struct {
	done func(topic.Position, error)
	at   topic.Position
	err  error
}

// A settler calls callers back, in the order of add.
type settler struct {
	mu      sync.Mutex
	pending []completion
	over    bool          // run has ended
	wake    chan struct{} // holds one
}

func (s *settler) add(c completion) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		go c.done(c.at, c.err) // not here: the caller may hold what done takes
		return
	}
	s.pending = append(s.pending, c)
	first := len(s.pending) == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// run calls back until ended is closed and nothing is left.
func (s *settler) run(ended <-chan struct{}) {
	var batch []completion
	for {
		s.mu.Lock()
		batch, s.pending = s.pending, batch[:0]
		s.mu.Unlock()
		for _, c := range batch {
			c.done(c.at, c.err)
		}
		if len(batch) > 0 {
			clear(batch)
			continue
		}
		select {
		case <-s.wake:
		case <-ended:
			if s.end() {
				return
			}
		}
	}
}

// end makes later answers go their own way, unless some are pending.
func (s *settler) end() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = len(s.pending) == 0
	return s.over
}
