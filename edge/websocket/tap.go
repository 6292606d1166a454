package websocket

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

var errDeadline = os.ErrDeadlineExceeded

const (
	// maxControl bounds what may wait of control frames, in bytes: answers to
	// the pings of a peer that does not read.
	maxControl = 16 << 10
	// controlTime is the longest time that one may take to be written.
	controlTime = 10 * time.Second
	// keptBuffer is the largest buffer that is kept for others.
	keptBuffer = 64 << 10
)

var errControl = errors.New("websocket: the peer pings and does not read")

// tap is what the WebSocket library takes for the connection. It gathers
// what one Write of Conn makes into one write to the socket, lets control
// frames wait behind that instead of stopping who reads, and knows where in
// the stream of frames the reader is.
type tap struct {
	net.Conn
	early  []byte        // what was read before the handshake had ended
	reader *bufio.Reader // the library's, over this

	// Of the goroutine that reads.
	taken  int64 // bytes given to reader
	marked int64 // bytes taken from it when the last frame had ended
	ended  bool  // the connection has no more

	mu      sync.Mutex
	buf     []byte // frames that wait
	control int    // bytes of those that were not held
	held    bool   // release will write
	writing bool
	idle    *sync.Cond
	err     error // of a write; nothing more is written
}

func newTap(conn net.Conn, early []byte, reader *bufio.Reader) *tap {
	t := &tap{Conn: conn, early: early, reader: reader}
	t.idle = sync.NewCond(&t.mu)
	return t
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Read implements net.Conn.
func (t *tap) Read(p []byte) (n int, err error) {
	if len(t.early) > 0 {
		n = copy(p, t.early)
		t.early = t.early[n:]
	} else {
		n, err = t.Conn.Read(p)
	}
	t.taken += int64(n)
	t.ended = n == 0 && err == io.EOF
	return n, err
}

// mark notes that what was taken so far is whole frames.
func (t *tap) mark() { t.marked = t.taken - int64(t.reader.Buffered()) }

// atMark tells whether nothing was taken since.
func (t *tap) atMark() bool { return t.marked == t.taken-int64(t.reader.Buffered()) }

// Write takes whole frames or, while they are held, parts of one.
func (t *tap) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return 0, t.err
	}
	if !t.held {
		if t.control += len(b); t.control > maxControl {
			return 0, errControl
		}
	}
	if t.buf == nil {
		t.buf = (*buffers.Get().(*[]byte))[:0]
	}
	t.buf = append(t.buf, b...)
	if t.held || t.writing {
		return len(b), nil
	}
	_ = t.Conn.SetWriteDeadline(time.Now().Add(controlTime))
	return len(b), t.flush()
}

// hold gathers what is written from now on.
func (t *tap) hold() {
	t.mu.Lock()
	t.held = true
	t.mu.Unlock()
}

// release writes what was gathered, and returns when it is written.
func (t *tap) release() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = false
	for t.writing { // a control frame
		t.idle.Wait()
	}
	return t.flush()
}

// flush writes all that waits. t.mu is held, but not during the write.
func (t *tap) flush() error {
	t.writing = true
	for len(t.buf) > 0 && t.err == nil {
		b := t.buf
		t.buf, t.control = nil, 0
		t.mu.Unlock()
		_, err := t.Conn.Write(b)
		if cap(b) <= keptBuffer {
			buffers.Put(&b)
		}
		t.mu.Lock()
		if t.err == nil {
			t.err = err
		}
	}
	t.writing = false
	t.idle.Signal()
	return t.err
}
