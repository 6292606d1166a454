package websocket

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	ws "github.com/coder/websocket"
)

// DialOptions say how a client connects. Zero values are good.
type DialOptions struct {
	TLS *tls.Config                                                          // of wss
	Net func(ctx context.Context, network, address string) (net.Conn, error) // what all goes over
}

// Dial opens a client's side, for tests and tools: one that sends canonical
// XML. A deadline that passes ends the connection.
func Dial(ctx context.Context, url string, o DialOptions) (*Conn, error) {
	if o.Net == nil {
		o.Net = new(net.Dialer).DialContext
	}
	c := new(Conn)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			c.raw, err = o.Net(ctx, network, address)
			return c.raw, err
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := o.Net(ctx, network, address)
			if err != nil {
				return nil, err
			}
			config := o.TLS.Clone()
			if config.ServerName == "" {
				config.ServerName, _, _ = net.SplitHostPort(address)
			}
			conn := tls.Client(raw, config)
			if err := conn.HandshakeContext(ctx); err != nil {
				raw.Close()
				return nil, err
			}
			state := conn.ConnectionState()
			c.raw, c.tls = conn, &state
			return conn, nil
		},
	}
	defer transport.CloseIdleConnections()
	var err error
	c.ws, _, err = ws.Dial(ctx, url, &ws.DialOptions{HTTPClient: &http.Client{Transport: transport}, Subprotocols: []string{Subprotocol}})
	if err != nil {
		return nil, err
	}
	c.ws.SetReadLimit(-1)
	return c, nil
}
