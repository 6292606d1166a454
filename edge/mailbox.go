package edge

import "sync"

// maxMail is how many stanzas of the client may wait for the session.
const maxMail = 64

// mailbox runs the inputs of one session, one at a time and in the order they
// were posted, on the goroutine of whoever posts while nobody runs it. So an
// idle session needs no goroutine, and the session's state needs no lock.
type mailbox struct {
	mu      sync.Mutex
	queue   []func()
	running bool
	full    bool       // the session takes no more of its client for now
	room    *sync.Cond // made by the first who waits
}

// post queues f, which must not block, and runs what is queued unless that is
// done by another goroutine already. The caller holds no lock.
func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.enqueue(f)
}

// postWait is post for the client's own stanzas: it waits until the session
// has room for one more.
func (m *mailbox) postWait(f func()) {
	m.mu.Lock()
	for m.full || len(m.queue) >= maxMail {
		if m.room == nil {
			m.room = sync.NewCond(&m.mu)
		}
		m.room.Wait()
	}
	m.enqueue(f)
}

// enqueue is called with the lock held and gives it back.
func (m *mailbox) enqueue(f func()) {
	if m.running {
		m.queue = append(m.queue, f)
		m.mu.Unlock()
		return
	}
	m.running = true
	m.mu.Unlock()
	f()
	m.mu.Lock()
	for len(m.queue) > 0 {
		queue := m.queue
		m.queue = nil
		if m.room != nil {
			m.room.Broadcast()
		}
		m.mu.Unlock()
		for _, f := range queue {
			f()
		}
		m.mu.Lock()
	}
	m.running = false
	m.mu.Unlock()
}

// hold says whether the client's stanzas wait outside.
func (m *mailbox) hold(full bool) {
	m.mu.Lock()
	m.full = full
	if !full && m.room != nil {
		m.room.Broadcast()
	}
	m.mu.Unlock()
}
