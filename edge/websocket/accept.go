package websocket

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	ws "github.com/coder/websocket"
)

// Options say who may open a WebSocket.
type Options struct {
	// Origins are the origins whose pages may, as patterns of path.Match for
	// "host" or "scheme://host"; the request's own host always may. Empty:
	// all. That is sound, for nothing that a browser adds by itself, such as
	// a cookie, means anything here: a page must know a password.
	Origins []string
}

// Accept answers a WebSocket handshake. Where it fails, the client has been
// told why.
func Accept(w http.ResponseWriter, r *http.Request, o Options) (*Conn, error) {
	if r.Header.Get("Upgrade") != "" && !offered(r.Header) {
		http.Error(w, "the subprotocol must be "+Subprotocol, http.StatusBadRequest)
		return nil, errors.New("websocket: the client does not speak the subprotocol " + Subprotocol)
	}
	c := &Conn{tls: r.TLS}
	var err error
	c.ws, err = ws.Accept(&hijacker{ResponseWriter: w, conn: c}, r, &ws.AcceptOptions{
		Subprotocols:       []string{Subprotocol},
		InsecureSkipVerify: len(o.Origins) == 0,
		OriginPatterns:     o.Origins,
		OnPingReceived:     func(context.Context, []byte) bool { c.tap.mark(); return true },
		OnPongReceived:     func(context.Context, []byte) { c.tap.mark() },
	})
	if err != nil {
		return nil, err
	}
	c.ws.SetReadLimit(-1) // the limits of stanzas hold
	return c, nil
}

// offered tells whether the client speaks our subprotocol (RFC 7395, section 3.1).
func offered(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(name) == Subprotocol {
				return true
			}
		}
	}
	return false
}

// hijacker puts a tap between the library and the connection.
type hijacker struct {
	http.ResponseWriter
	conn *Conn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	// Idle connections are many, so their buffers are small: what is long is
	// read around the one, and gathered by the tap behind the other. A control
	// frame fits whole.
	reader := bufio.NewReaderSize(nil, 512)
	t := newTap(conn, append([]byte(nil), early...), reader)
	reader.Reset(t)
	h.conn.raw, h.conn.tap = conn, t
	return t, bufio.NewReadWriter(reader, bufio.NewWriterSize(t, 256)), nil
}
