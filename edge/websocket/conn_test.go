package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rollcall/rollcall/edge/stanza"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'/>"

// counted counts what is written to a socket.
type counted struct {
	net.Conn
	writes *atomic.Int64
}

func (c counted) Write(b []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(b)
}

type countedListener struct {
	net.Listener
	writes atomic.Int64
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return counted{c, &l.writes}, nil
}

// pair is a connection's two ends: ours, and a peer that speaks in frames.
type pair struct {
	t      testing.TB
	ours   *Conn
	peer   net.Conn
	reader *bufio.Reader
	writes *atomic.Int64
}

// newPair makes a connection; early is sent along with the handshake.
func newPair(t testing.TB, early []byte) *pair {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &countedListener{Listener: tcp}
	accepted := make(chan *Conn, 1)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := Accept(w, r, Options{})
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	})}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.SetDeadline(time.Now().Add(20 * time.Second))
	hello := "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: foo, xmpp\r\n\r\n"
	if _, err := peer.Write(append([]byte(hello), early...)); err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, peer: peer, reader: bufio.NewReader(peer), writes: &l.writes}
	answer, err := http.ReadResponse(p.reader, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	p.ours = <-accepted
	_ = p.ours.SetDeadline(time.Now().Add(20 * time.Second))
	l.writes.Store(0)
	t.Cleanup(func() {
		peer.Close()
		p.ours.Close()
		server.Close()
		served.Wait()
	})
	return p
}

const (
	opContinue, opText, opBinary, opClose, opPing, opPong = 0, 1, 2, 8, 9, 10
	fin                                                   = 0x80
)

// frame makes a client's frame; the masking key is zero.
func frame(op byte, payload string) []byte {
	b := []byte{op, 0x80 | byte(min(len(payload), 126))}
	if len(payload) >= 126 {
		b[1] = 0x80 | 127
		b = binary.BigEndian.AppendUint64(b, uint64(len(payload)))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func (p *pair) send(op byte, payload string) {
	p.t.Helper()
	if _, err := p.peer.Write(frame(op, payload)); err != nil {
		p.t.Fatal(err)
	}
}

// frame reads one of our frames.
func (p *pair) frame() (op byte, payload string) {
	p.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(p.reader, head); err != nil {
		p.t.Fatal(err)
	}
	n := int(head[1])
	if more := map[int]int{126: 2, 127: 8}[n]; more > 0 {
		size := make([]byte, 8)
		if _, err := io.ReadFull(p.reader, size[8-more:]); err != nil {
			p.t.Fatal(err)
		}
		n = int(binary.BigEndian.Uint64(size))
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(p.reader, b); err != nil {
		p.t.Fatal(err)
	}
	return head[0], string(b)
}

// read reads until the stream ends so, or fails.
func (p *pair) read(end string) (string, error) {
	var all strings.Builder
	b := make([]byte, 100)
	for !strings.HasSuffix(all.String(), end) {
		n, err := p.ours.Read(b)
		all.Write(b[:n])
		if err != nil {
			return all.String(), err
		}
	}
	return all.String(), nil
}

func TestOneWriteIsOneWrite(t *testing.T) {
	p := newPair(t, nil)
	const said = "<presence/><message><body>a</body></message> <iq id='1'/></stream:stream>"
	if n, err := p.ours.Write([]byte(said)); n != len(said) || err != nil {
		t.Fatal(n, err)
	}
	for _, want := range []struct {
		op   byte
		text string
	}{
		{fin | opText, "<presence xmlns='jabber:client'/>"}, {fin | opText, "<message xmlns='jabber:client'><body>a</body></message>"}, {fin | opPing, ""},
		{fin | opText, "<iq xmlns='jabber:client' id='1'/>"}, {fin | opText, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"},
	} {
		if op, text := p.frame(); op != want.op || text != want.text {
			t.Errorf("%x %q, want %x %q", op, text, want.op, want.text)
		}
	}
	if n := p.writes.Load(); n != 1 {
		t.Errorf("%d writes", n)
	}
	if n, err := p.ours.Write([]byte("<presence>")); n != 0 || err == nil {
		t.Errorf("half an element: %d %v", n, err)
	}
}

// What is sent along with the handshake is not lost.
func TestEarlyFrames(t *testing.T) {
	p := newPair(t, append(frame(fin|opText, open), frame(opText, "<a")...))
	p.send(opContinue, "><b")
	p.send(fin|opPing, "x")
	p.send(fin|opContinue, "/></a>")
	if got, err := p.read("<a><b/></a>"); err != nil {
		t.Errorf("%q %v", got, err)
	}
	if op, text := p.frame(); op != fin|opPong || text != "x" {
		t.Errorf("%x %q instead of a pong", op, text)
	}
}

// A deadline that passes between two messages is no end, also after control
// frames; one that passes within a message is.
func TestDeadlines(t *testing.T) {
	p := newPair(t, frame(fin|opText, open))
	if _, err := p.read(">"); err != nil {
		t.Fatal(err)
	}
	late := func() {
		t.Helper()
		_ = p.ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := p.ours.Read(make([]byte, 10)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d %v", n, err)
		}
		_ = p.ours.SetReadDeadline(time.Now().Add(20 * time.Second))
	}
	late()
	p.send(fin|opPing, "1")
	late()
	if _, text := p.frame(); text != "1" {
		t.Errorf("pong %q", text)
	}
	p.send(fin|opPong, "")
	late()
	p.send(fin|opText, "<a/>")
	if got, err := p.read("<a/>"); got != "<a/>" || err != nil {
		t.Errorf("after deadlines: %q %v", got, err)
	}
	p.send(opText, "<a>")
	if got, err := p.read("<a>"); got != "<a>" || err != nil {
		t.Errorf("half a message: %q %v", got, err)
	}
	late()
	p.send(fin|opContinue, "</a>")
	if got, err := p.read("</a>"); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the rest of it: %q %v", got, err)
	}
}

// Half of a frame's header counts as within a message.
func TestDeadlineWithinAHeader(t *testing.T) {
	p := newPair(t, []byte{fin | opText})
	for range 2 {
		_ = p.ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := p.ours.Read(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
	if _, err := p.peer.Write(frame(fin|opText, open)[1:]); err != nil {
		t.Fatal(err)
	}
	_ = p.ours.SetReadDeadline(time.Now().Add(20 * time.Second))
	if got, err := p.read(">"); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the rest of it: %q %v", got, err)
	}
}

// muchMore is more than the kernel takes for who does not read.
const muchMore = 32 << 20

// A peer that does not read what is written to it is still read: answers to
// its pings wait, within a bound.
func TestPingsOfASlowPeer(t *testing.T) {
	p := newPair(t, frame(fin|opText, open))
	written := make(chan error, 1)
	go func() {
		_, err := p.ours.Write([]byte("<message><body>" + strings.Repeat("x", muchMore) + "</body></message>"))
		written <- err
	}()
	p.ours.tap.awaitWriting()
	for range 100 {
		p.send(fin|opPing, "p")
	}
	p.send(fin|opText, "<a/>")
	if got, err := p.read("<a/>"); err != nil {
		t.Fatalf("%q %v", got, err)
	}
	if op, text := p.frame(); op != fin|opText || len(text) < muchMore {
		t.Errorf("%x, %d bytes", op, len(text))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	for range 100 {
		if op, text := p.frame(); op != fin|opPong || text != "p" {
			t.Fatalf("%x %q", op, text)
		}
	}
}

func TestTooManyPingsOfASlowPeer(t *testing.T) {
	p := newPair(t, frame(fin|opText, open))
	written := make(chan error, 1)
	go func() {
		_, err := p.ours.Write([]byte("<message><body>" + strings.Repeat("x", muchMore) + "</body></message>"))
		written <- err
	}()
	p.ours.tap.awaitWriting()
	go func() {
		for range 2 * maxControl / 127 {
			if _, err := p.peer.Write(frame(fin|opPing, strings.Repeat("p", 125))); err != nil {
				return
			}
		}
	}()
	if _, err := p.read("<never/>"); !errors.Is(err, errControl) {
		t.Errorf("read: %v", err)
	}
	p.ours.Close()
	if err := <-written; err == nil {
		t.Error("written to the end")
	}
}

// awaitWriting returns once a write is under way.
func (t *tap) awaitWriting() {
	for {
		t.mu.Lock()
		writing := t.writing
		t.mu.Unlock()
		if writing {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// closed reads up to our close frame and gives its status; 0: the socket
// ended without one.
func (p *pair) closed() int {
	p.t.Helper()
	for {
		if _, err := p.reader.Peek(1); err != nil {
			return 0
		}
		op, payload := p.frame()
		if op == fin|opClose {
			return int(binary.BigEndian.Uint16([]byte(payload)))
		}
	}
}

func TestClose(t *testing.T) {
	const end = stanza.StreamEnd
	normal := string([]byte{1000 >> 8, 1000 & 255})
	t.Run("a stream that was closed, by a peer that agrees", func(t *testing.T) {
		p := newPair(t, append(frame(fin|opText, open), frame(fin|opText, "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")...))
		if got, err := p.read(end); err != nil {
			t.Fatalf("%q %v", got, err)
		}
		if _, err := p.ours.Write([]byte(end)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ours.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after both ends: %v", err)
		}
		done := make(chan error)
		go func() { done <- p.ours.Close() }()
		if status := p.closed(); status != 1000 {
			t.Errorf("status %d", status)
		}
		p.send(fin|opClose, normal)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Run("a stream that was closed, by a peer that says nothing", func(t *testing.T) {
		p := newPair(t, frame(fin|opText, open))
		if _, err := p.ours.Write([]byte(end)); err != nil {
			t.Fatal(err)
		}
		if err := p.ours.Close(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if status := p.closed(); status != 1000 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("a stream that was not closed", func(t *testing.T) {
		p := newPair(t, frame(fin|opText, open))
		if err := p.ours.Close(); err != nil {
			t.Error(err)
		}
		if status := p.closed(); status != 0 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("the peer's WebSocket ends", func(t *testing.T) {
		p := newPair(t, append(frame(fin|opText, open), frame(fin|opClose, normal)...))
		if _, err := p.read("</never>"); err != io.EOF {
			t.Errorf("%v", err)
		}
		if status := p.closed(); status != 1000 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("the peer's connection ends", func(t *testing.T) {
		p := newPair(t, append(frame(fin|opText, open), frame(opText, "<a")...))
		p.peer.(*net.TCPConn).CloseWrite()
		if got, err := p.read("</never>"); err != io.EOF {
			t.Errorf("%q %v", got, err)
		}
	})
	t.Run("a frame that is none", func(t *testing.T) {
		p := newPair(t, frame(fin|0x70|opText, open)) // reserved bits
		if _, err := p.read("</never>"); err == nil {
			t.Error("taken")
		}
		if status := p.closed(); status != 1002 {
			t.Errorf("status %d", status)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	one := "<presence from='romeo@example.com/garden' to='juliet@example.com/balcony'><show>away</show><status>be right back</status></presence>"
	for _, n := range []string{"1", "10", "100"} {
		stanzas := map[string]int{"1": 1, "10": 10, "100": 100}[n]
		b.Run("stanzas="+n, func(b *testing.B) {
			p := newPair(b, nil)
			_ = p.peer.SetDeadline(time.Time{})
			_ = p.ours.SetDeadline(time.Time{})
			go io.Copy(io.Discard, p.peer)
			said := []byte(strings.Repeat(one, stanzas))
			b.SetBytes(int64(len(said)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.ours.Write(said); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
