package edge

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/websocket"
)

// WebOptions say how clients come in by HTTP.
type WebOptions struct {
	// URL is where clients from elsewhere find the WebSocket; empty: the host
	// that they ask, under wss or ws as they ask.
	URL string
	// Origins may open one; see websocket.Options.
	Origins []string
}

func (o WebOptions) check() error {
	if o.URL == "" {
		return nil
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" {
		return errors.New("edge: the WebSocket's URL must be wss://HOST[:PORT]/PATH, or ws")
	}
	return nil
}

// WebSocketPath is where the WebSocket is; /xmpp-websocket is the same.
const WebSocketPath = "/ws"

// serveWeb serves WebSockets (RFC 7395) and tells where they are (XEP-0156),
// until ctx ends.
func (s *Server) serveWeb(ctx context.Context, ln net.Listener, direct bool) error {
	mux := http.NewServeMux()
	open := func(w http.ResponseWriter, r *http.Request) { s.openWebSocket(ctx, w, r) }
	mux.HandleFunc("GET "+WebSocketPath, open)
	mux.HandleFunc("GET /xmpp-websocket", open)
	mux.HandleFunc("GET /.well-known/host-meta", s.hostMeta)
	mux.HandleFunc("GET /.well-known/host-meta.json", s.hostMetaJSON)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, guestKey{}, c) },
	}
	web := net.Listener(&webListener{ln, s, ctx})
	if direct {
		config := s.opts.Stream.TLS.Clone()
		config.NextProtos = []string{"http/1.1"} // a WebSocket needs a connection of its own
		web = tls.NewListener(web, config)
	}
	var g errgroup.Group
	g.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = server.Shutdown(last)
		return server.Close()
	})
	g.Go(func() error {
		if err := server.Serve(web); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
			return err
		}
		return nil
	})
	return g.Wait()
}

// webListener lets connections in as accept does.
type webListener struct {
	net.Listener
	server *Server
	ctx    context.Context
}

// Accept implements net.Listener.
func (l *webListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.ctx.Err() == nil && l.server.admit(l.ctx) {
			keepAlive(conn)
			l.server.readers.Add(1)
			return &guest{Conn: conn, server: l.server}, nil
		}
		l.server.metrics.refused.Inc()
		conn.Close()
	}
}

// guest is a connection that speaks HTTP. Until it is taken over it gives
// back its place at the door when it is closed.
type guest struct {
	net.Conn
	server *Server
	left   atomic.Bool
}

type guestKey struct{}

// take makes the caller responsible for the guest's place.
func (g *guest) take() bool { return g.left.CompareAndSwap(false, true) }

// Close implements net.Conn.
func (g *guest) Close() error {
	if g.take() {
		<-g.server.unbound
		g.server.readers.Done()
	}
	return g.Conn.Close()
}

// openWebSocket leads a WebSocket to its session. ctx ends when the server
// lets nobody in any more.
func (s *Server) openWebSocket(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, websocket.Options{Origins: s.opts.Web.Origins})
	if err != nil {
		return
	}
	under, _ := r.Context().Value(guestKey{}).(net.Conn)
	if t, ok := under.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if g, ok := under.(*guest); !ok || !g.take() {
		conn.Close()
		return
	}
	defer s.readers.Done()
	o := s.opts.Stream
	if o.Secure = conn.TLS(); o.Secure == nil {
		o.TLS = nil // TLS cannot begin within a WebSocket (RFC 7395, section 3.9)
	}
	s.negotiate(ctx, conn, o)
}

// relWebSocket is the link relation of XEP-0156.
const relWebSocket = "urn:xmpp:alt-connections:websocket"

// webSocketURL gives where the WebSocket is for who asks.
func (s *Server) webSocketURL(r *http.Request) string {
	if s.opts.Web.URL != "" {
		return s.opts.Web.URL
	}
	u := url.URL{Scheme: "wss", Host: r.Host, Path: WebSocketPath}
	if r.TLS == nil {
		u.Scheme = "ws"
	}
	return u.String()
}

// everywhere lets pages of other hosts read an answer (XEP-0156, section 3).
func everywhere(w http.ResponseWriter, contentType string) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Content-Type", contentType)
}

func (s *Server) hostMeta(w http.ResponseWriter, r *http.Request) {
	everywhere(w, "application/xrd+xml")
	const space = "http://docs.oasis-open.org/ns/xri/xrd-1.0"
	xrd := stanza.New(space, "XRD").Add(stanza.New(space, "Link", "rel", relWebSocket, "href", s.webSocketURL(r)))
	_, _ = w.Write(xrd.AppendTo([]byte("<?xml version='1.0' encoding='utf-8'?>\n")))
}

func (s *Server) hostMetaJSON(w http.ResponseWriter, r *http.Request) {
	everywhere(w, "application/json")
	type link struct {
		Rel  string `json:"rel"`
		Href string `json:"href"`
	}
	_ = json.NewEncoder(w).Encode(struct {
		Links []link `json:"links"`
	}{[]link{{relWebSocket, s.webSocketURL(r)}}})
}

// keepAlive has the kernel look after a connection.
func keepAlive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
	}
}
