//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A session is a logged-in client whose socket the reactor reads. index and
// rest belong to the reactor's goroutine after add.
type session struct {
	index int // of its user
	file  *os.File
	fd    int
	rest  []byte
	gone  chan struct{} // closed when the stream has ended
}

// write sends bytes. A client that sends this little never finds its socket
// full, unless the server has stopped reading.
func (s *session) write(b []byte) error {
	for len(b) > 0 {
		n, err := syscall.Write(s.fd, b)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			time.Sleep(time.Millisecond)
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("write for user %d: %w", s.index, err)
		default:
			b = b[n:]
		}
	}
	return nil
}

// A reactor reads many sockets on one goroutine: an epoll wait and one read
// for each socket that has something. With a goroutine for each socket the
// clients would cost more of the machine than is measured.
type reactor struct {
	epoll   int
	handle  func(s *session, k kind, tag []byte, now time.Time) // on the reactor's goroutine
	closing atomic.Bool                                         // streams may end now
	lost    atomic.Int64                                        // streams that ended before

	mu       sync.Mutex
	sessions map[int]*session // by descriptor
	stopped  chan struct{}
}

func newReactor(handle func(*session, kind, []byte, time.Time)) (*reactor, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	r := &reactor{epoll: epoll, handle: handle, sessions: make(map[int]*session), stopped: make(chan struct{})}
	go r.run()
	return r, nil
}

// add takes over the connection of a talk that has logged in.
func (r *reactor) add(index int, t *talk) (*session, error) {
	defer t.conn.Close()
	tcp, ok := t.conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("only plain connections go into the reactor")
	}
	file, err := tcp.File() // a duplicate, which Go's own poller does not watch
	if err != nil {
		return nil, err
	}
	s := &session{index: index, file: file, fd: int(file.Fd()), rest: t.got, gone: make(chan struct{})}
	if err := syscall.SetNonblock(s.fd, true); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.sessions[s.fd] = s
	r.mu.Unlock()
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(s.fd)}
	if err := syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, s.fd, &event); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return s, nil
}

// run ends when the epoll descriptor is closed.
func (r *reactor) run() {
	defer close(r.stopped)
	events := make([]syscall.EpollEvent, 512)
	buf := make([]byte, 256<<10)
	for {
		n, err := syscall.EpollWait(r.epoll, events, 250)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return
		}
		for _, e := range events[:max(n, 0)] {
			r.mu.Lock()
			s := r.sessions[int(e.Fd)]
			r.mu.Unlock()
			if s != nil {
				r.read(s, buf)
			}
		}
	}
}

func (r *reactor) read(s *session, buf []byte) {
	n, err := syscall.Read(s.fd, buf)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return
	case err != nil || n == 0:
		r.remove(s)
		return
	}
	now := time.Now()
	s.rest = scan(s.rest, buf[:n], func(k kind, tag []byte) { r.handle(s, k, tag, now) })
}

func (r *reactor) remove(s *session) {
	if !r.closing.Load() {
		r.lost.Add(1)
	}
	r.mu.Lock()
	delete(r.sessions, s.fd)
	r.mu.Unlock()
	s.file.Close()
	close(s.gone)
}

// close ends every stream, waits for the server to do so too, and stops.
func (r *reactor) close() error {
	r.closing.Store(true)
	r.mu.Lock()
	all := make([]*session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
	}
	r.mu.Unlock()
	for _, s := range all {
		_ = s.write([]byte("</stream:stream>")) // one that is gone is what is wanted
	}
	late := time.After(30 * time.Second)
	for _, s := range all {
		select {
		case <-s.gone:
		case <-late:
			return fmt.Errorf("the server did not close the stream of user %d within 30 s", s.index)
		}
	}
	err := syscall.Close(r.epoll)
	<-r.stopped
	return err
}
