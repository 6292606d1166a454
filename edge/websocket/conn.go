// Package websocket makes of a client's WebSocket a net.Conn on which XMPP is
// spoken as over TCP (RFC 7395). What is read from it is a stream with its
// opening and closing tags, what is written to it goes out as one message for
// each element. What all else relies on holds here too: a deadline that
// passes between two messages leaves the connection usable, one Write is one
// write to the socket, and a single space, with which an idle client is
// looked after, becomes a ping.
package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	ws "github.com/coder/websocket"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Subprotocol is the name by which both sides agree on RFC 7395.
const Subprotocol = "xmpp"

// closeTime is the longest time that the peer may take for the WebSocket
// closing handshake.
const closeTime = time.Second

// Conn is a WebSocket as a stream. One goroutine at a time may read, one may
// write, and any may set deadlines and close.
type Conn struct {
	ws   *ws.Conn
	raw  net.Conn // below it
	tap  *tap     // nil on a client's side
	tls  *tls.ConnectionState
	bits bits

	readFrom io.Reader // of the message; nil between two
	unframe  stanza.Unframer
	buf      [512]byte
	ready    []byte // what is read and translated
	readErr  error  // comes after ready, and then always

	frame    []byte // the frame that is being written
	closing  sync.Once
	closeErr error
}

// bits are what both directions, and who closes, have to know.
type bits struct {
	restart    atomic.Bool  // the peer may open the stream anew
	saidClose  atomic.Bool  // we wrote <close/>
	writeFails atomic.Bool  // nothing more can be said
	status     atomic.Int32 // of the WebSocket's end; 0: normal
}

var _ net.Conn = (*Conn)(nil)

// TLS gives the state of the TLS below, nil where there is none.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Read gives the stream. A fault in the framing is a *stanza.StreamError; a
// peer that ends its WebSocket without <close/> is like one that ends its TCP
// connection without the closing tag.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if len(c.ready) > 0 {
			n := copy(p, c.ready)
			c.ready = c.ready[n:]
			return n, nil
		}
		if c.readErr != nil {
			return 0, c.readErr
		}
		if c.readFrom == nil {
			if err := c.begin(); err != nil {
				return 0, err
			}
		}
		n, err := c.readFrom.Read(c.buf[:])
		if n > 0 {
			c.ready, c.readErr = c.unframe.Feed(c.buf[:n])
		}
		switch {
		case c.readErr != nil || err == nil:
		case errors.Is(err, io.EOF) && (c.tap == nil || !c.tap.ended): // and not within it
			c.readFrom = nil
			var last []byte
			if last, c.readErr = c.unframe.End(); len(last) > 0 {
				c.ready = last
			}
		default:
			c.readErr = readError(err)
		}
	}
}

// begin waits for a message.
func (c *Conn) begin() error {
	if c.unframe.Closed() && c.bits.saidClose.Load() {
		return io.EOF
	}
	if c.tap != nil {
		c.tap.mark()
	}
	typ, r, err := c.ws.Reader(context.Background())
	if err != nil {
		err = readError(err)
		if c.tap == nil || !errors.Is(err, errDeadline) || !c.tap.atMark() {
			c.readErr = err
		}
		return err
	}
	if typ != ws.MessageText {
		c.bits.status.Store(int32(ws.StatusUnsupportedData))
		c.readErr = &stanza.StreamError{Condition: stanza.BadFormat, Text: "a binary message"}
		return c.readErr
	}
	if c.bits.restart.Swap(false) || c.tap == nil {
		c.unframe.Restart = true
	}
	c.unframe.Begin()
	c.readFrom = r
	return nil
}

// readError makes of what the library says what a net.Conn says.
func readError(err error) error {
	if ws.CloseStatus(err) != -1 || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	if errors.Is(err, errDeadline) {
		return errDeadline
	}
	return err
}

const success = "<success xmlns='" + stanza.NSSASL + "'"

// Write sends whole elements of a stream.
func (c *Conn) Write(b []byte) (int, error) {
	if c.tap != nil {
		c.tap.hold()
	}
	err := c.write(b)
	if c.tap != nil {
		if e := c.tap.release(); err == nil {
			err = e
		}
	}
	if err != nil {
		c.bits.writeFails.Store(true)
		return 0, err
	}
	return len(b), nil
}

func (c *Conn) write(b []byte) error {
	for len(b) > 0 {
		var kind stanza.FrameKind
		var err error
		c.frame, kind, b, err = stanza.AppendFrame(c.frame[:0], b)
		if err != nil {
			return err
		}
		switch kind {
		case stanza.FrameNone:
			if c.tap != nil {
				_, _ = c.tap.Write([]byte{0x89, 0}) // a ping without a payload
			}
			continue
		case stanza.FrameClose:
			c.bits.saidClose.Store(true)
		case stanza.FrameElement:
			if len(c.frame) >= len(success) && string(c.frame[:len(success)]) == success {
				c.bits.restart.Store(true)
			}
		}
		if err := c.ws.Write(context.Background(), ws.MessageText, c.frame); err != nil {
			return err
		}
	}
	if cap(c.frame) > 16<<10 {
		c.frame = nil
	}
	return nil
}

// Close ends the connection. If the stream was closed the WebSocket is too,
// which waits up to a second for the peer to agree.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		if !c.bits.saidClose.Load() || c.bits.writeFails.Load() {
			c.closeErr = c.ws.CloseNow()
			return
		}
		status := ws.StatusNormalClosure
		if s := c.bits.status.Load(); s != 0 {
			status = ws.StatusCode(s)
		}
		_ = c.raw.SetDeadline(time.Now().Add(closeTime))
		c.closeErr = c.ws.Close(status, "")
	})
	return c.closeErr
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.raw.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.raw.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.raw.SetWriteDeadline(t) }
