package edge

import (
	"net"
	"sync"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
)

// outbound is what waits to be written to one client. While nothing waits it
// holds no buffer and no goroutine.
//
// Presence above the soft bound is conflated: of each full JID only the
// newest waits. Above the hard bound the outbound overflows: what was not
// handed to the socket is dropped, and the session ends.
//
// Under stream management (outbound_sm.go) stanzas are numbered when they come
// into buf, kept until the client acknowledges them, and kept alone while
// there is no connection. Those above the soft bound hold presence back too.
type outbound struct {
	conn   net.Conn
	limits *outboundLimits

	mu      sync.Mutex
	buf     []byte                // whole stanzas
	receipt []receipt             // of what is in buf
	late    []latePresence        // conflated, oldest first; and news of nodes that wait for an inactive client
	news    int                   // bytes of the news in it
	sm      *unacked              // nil without stream management
	away    bool                  // there is no connection: stanzas are kept in sm alone
	quiet   bool                  // the client is inactive: presence waits for what is worth waking it
	latest  map[string]int        // full JID -> place in late
	writing bool                  // a flusher runs
	dirty   bool                  // waits for a batch to end
	closing bool                  // nothing more is taken; the flusher closes conn at its end
	broken  bool                  // a write failed, or the bound was passed
	onBreak func(overflowed bool) // called once, on a goroutine that holds no lock
	written bool                  // all is written, the last bytes too
	unread  bool                  // nobody reads the connection any more
	roomFor []chan struct{}       // closed once the client has taken what waits, or takes nothing more
}

// outboundLimits are shared by all sessions of a server.
type outboundLimits struct {
	soft, hard int           // bytes
	timeout    time.Duration // of one write
	metrics    *metrics
	overflow   []byte // the stream's end for who is too slow
}

// receipt is told whether the bytes before it were written.
type receipt func(written bool)

// latePresence is encoded only when it is written.
type latePresence struct {
	full     string // full JID; of news what newsKey gives
	presence *stanza.Prepared
	to       string
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// keptBuffer is the largest buffer that goes back to the pool.
const keptBuffer = 64 << 10

func takeBuffer() []byte { return (*buffers.Get().(*[]byte))[:0] }

func giveBuffer(b []byte) {
	if cap(b) > 0 && cap(b) <= keptBuffer {
		buffers.Put(&b)
	}
}

// batch gathers the outbounds that were given something, so that each is
// flushed once, with all of it in one write. One goroutine uses it.
type batch struct {
	dirty []*outbound
	begun map[*local][]string // accounts whose news come to a local account from now on
	gaps  []NewsGap           // what may have been missed of accounts
}

// flush starts the writing. The caller holds no lock that a receipt needs.
func (b *batch) flush() {
	for i, o := range b.dirty {
		b.dirty[i] = nil
		o.mu.Lock()
		o.dirty = false
		o.start()
		o.mu.Unlock()
	}
	b.dirty = b.dirty[:0]
}

// add notes that o was given something. o.mu is held.
func (b *batch) add(o *outbound) {
	if !o.dirty && !o.writing {
		o.dirty = true
		b.dirty = append(b.dirty, o)
	}
}

// start makes sure that a flusher runs. o.mu is held.
func (o *outbound) start() {
	if !o.writing && !o.away && (len(o.buf) > 0 || len(o.late) > 0 || o.closing) {
		o.writing = true
		go o.run()
	}
}

// write queues the one stanza that encode appends, and has it flushed at the
// end of the batch; without a batch at once. It tells whether it was taken; r,
// if any, is called only then: under stream management once the client has
// acknowledged the stanza.
func (o *outbound) write(b *batch, encode func(dst []byte) []byte, r receipt) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return false
	}
	if o.buf == nil {
		o.buf = takeBuffer()
	}
	if o.quiet && !o.away {
		o.drainLate(true)
	}
	n := len(o.buf)
	o.buf = encode(o.buf)
	if o.sm != nil {
		o.keep(n, r)
	} else if r != nil {
		o.receipt = append(o.receipt, r)
	}
	if o.waits() > o.limits.hard {
		o.fail(true)
		return true
	}
	o.wake(b)
	return true
}

// raw queues what is no stanza; without a connection it is dropped.
func (o *outbound) raw(encode func(dst []byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing || o.away {
		return
	}
	if o.buf == nil {
		o.buf = takeBuffer()
	}
	o.buf = encode(o.buf)
	o.start()
}

// waits is how many bytes wait for the client. o.mu is held.
func (o *outbound) waits() int {
	n := len(o.buf)
	if o.sm != nil {
		n = max(n, o.sm.size())
	}
	return n + len(o.late)*lateCost + o.news
}

// crowded tells whether presence is to be conflated. o.mu is held.
func (o *outbound) crowded() bool {
	return len(o.buf) >= o.limits.soft || o.away || o.quiet || o.sm != nil && o.sm.size() >= o.limits.soft
}

// lateCost is what a conflated presence counts for, in bytes.
const lateCost = 128

// presence queues the presence p of the full JID for the receiver to, in the
// place of an older one of the same full JID that waits above the soft bound.
func (o *outbound) presence(b *batch, full string, p *stanza.Prepared, to string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return
	}
	if len(o.late) == 0 && !o.crowded() {
		if o.buf == nil {
			o.buf = takeBuffer()
		}
		n := len(o.buf)
		o.buf = p.AppendTo(o.buf, to)
		if o.sm != nil {
			o.keep(n, nil)
		}
		o.wake(b)
		return
	}
	if i, ok := o.latest[full]; ok {
		o.late[i].presence = p
		o.limits.metrics.conflated.Inc()
		return
	}
	if o.latest == nil {
		o.latest = make(map[string]int)
	}
	o.latest[full] = len(o.late)
	o.late = append(o.late, latePresence{full, p, to})
	if o.waits() > o.limits.hard {
		o.fail(true)
		return
	}
	if !o.quiet {
		o.wake(b)
	}
}

func (o *outbound) wake(b *batch) {
	if b != nil {
		b.add(o)
		return
	}
	o.start()
}

// close takes last as the final bytes, and ends the connection when all is
// written and the reader gone.
func (o *outbound) close(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closing {
		return
	}
	if o.away {
		o.fail(false)
		return
	}
	o.drainLate(true)
	if o.buf == nil {
		o.buf = takeBuffer()
	}
	o.buf = append(o.buf, last...)
	_ = o.conn.SetWriteDeadline(time.Now().Add(min(o.limits.timeout, partTime))) // of a write that is stuck, too
	o.closing = true
	o.makeRoom()
	o.forget(nil)
	o.start()
}

// room gives a channel that is closed once no more waits for the client than
// the soft bound, or nothing more is taken.
func (o *outbound) room() <-chan struct{} {
	c := make(chan struct{})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.roomFor = append(o.roomFor, c)
	o.makeRoom()
	return c
}

// makeRoom tells those who wait for room if there is some. o.mu is held.
func (o *outbound) makeRoom() {
	if !o.closing && o.waits() > o.limits.soft {
		return
	}
	for _, c := range o.roomFor {
		close(c)
	}
	o.roomFor = nil
}

// fail drops what waits. o.mu is held.
func (o *outbound) fail(overflowed bool) {
	if o.broken {
		return
	}
	o.broken, o.closing = true, true
	o.makeRoom()
	receipts := o.receipt
	giveBuffer(o.buf)
	o.buf, o.receipt, o.late, o.latest, o.news = nil, nil, nil, nil, 0
	if overflowed && o.away {
		o.limits.metrics.overflowed.Inc()
	} else if overflowed {
		o.buf = append(takeBuffer(), o.limits.overflow...)
		_ = o.conn.SetWriteDeadline(time.Now().Add(min(o.limits.timeout, partTime)))
		o.limits.metrics.overflowed.Inc()
	}
	o.start()
	onBreak := o.onBreak
	o.forget(func() {
		for _, r := range receipts {
			r(false)
		}
		onBreak(overflowed)
	})
}

// run writes until nothing is left.
func (o *outbound) run() {
	o.mu.Lock()
	for {
		o.drainLate(false)
		if len(o.buf) == 0 || o.away {
			break
		}
		if o.sm != nil && !o.closing && o.sm.asks(len(o.late) > 0) {
			o.buf = append(o.buf, askForAck...)
		}
		buf, receipts := o.buf, o.receipt
		o.buf, o.receipt = nil, nil
		timeout := o.limits.timeout
		if o.closing {
			timeout = min(timeout, partTime)
		}
		conn := o.conn
		_ = conn.SetWriteDeadline(time.Now().Add(timeout))
		o.mu.Unlock()
		n, err := conn.Write(buf)
		o.limits.metrics.written(n)
		for _, r := range receipts {
			r(err == nil)
		}
		giveBuffer(buf)
		o.mu.Lock()
		if err != nil && conn == o.conn && !o.lost() {
			o.fail(false)
			o.buf = nil
		}
		o.makeRoom()
	}
	o.writing = false
	if o.closing && !o.written {
		o.written = true
		o.part()
	}
	o.mu.Unlock()
}

// partTime is how long the peer may take to close its side (RFC 6120, section 4.4).
const partTime = 2 * time.Second

// part ends the connection when both sides are done with it. To close it
// before the peer has is to risk that it never reads the last bytes.
// o.mu is held.
func (o *outbound) part() {
	if o.unread || o.broken {
		go o.conn.Close()
		return
	}
	_ = o.conn.SetReadDeadline(time.Now().Add(partTime))
	if half, ok := o.conn.(interface{ CloseWrite() error }); ok {
		go func() { _ = half.CloseWrite() }()
	}
}

// readerGone is called by the reader when it has ended.
func (o *outbound) readerGone() {
	o.mu.Lock()
	o.unread = true
	if o.written {
		o.part()
	}
	o.mu.Unlock()
}

// drainLate encodes conflated presence as far as there is room for it; all of
// it if that is needed now.
func (o *outbound) drainLate(now bool) {
	n := 0
	for ; n < len(o.late) && (now || !o.crowded()); n++ {
		if o.buf == nil {
			o.buf = takeBuffer()
		}
		from := len(o.buf)
		o.buf = o.late[n].presence.AppendTo(o.buf, o.late[n].to)
		o.news -= o.late[n].newsSize()
		if o.sm != nil {
			o.keep(from, nil)
		}
	}
	if n == 0 {
		return
	}
	if o.late = o.late[n:]; len(o.late) == 0 {
		o.late, o.latest = nil, nil
		return
	}
	clear(o.latest)
	for i := range o.late {
		o.latest[o.late[i].full] = i
	}
}
