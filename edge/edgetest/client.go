package edgetest

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/websocket"
)

// Client is a small XMPP client over a real socket. One goroutine uses it.
type Client struct {
	Conn net.Conn // under TLS if there is any
	Full string   // its full JID, once it is bound
	// Features is what is inside the newest stream features.
	Features []byte
	domain   string
	d        *stanza.Decoder
	pings    int
}

// ClientOptions say how a client comes in.
type ClientOptions struct {
	Address  string
	Domain   string      // example.com
	TLS      *tls.Config // not nil: STARTTLS, or TLS at once if Direct
	Direct   bool
	Web      bool // over WebSocket, under TLS if TLS is not nil
	User     string
	Password string                  // Password
	Resource string                  // empty: the server chooses
	Unbound  bool                    // stop before the resource is bound
	Receive  int                     // SO_RCVBUF; 0 leaves it
	Dialer   *net.Dialer             // nil: a plain one
	Timeout  time.Duration           // for everything it does; 20s
	Wrap     func(net.Conn) net.Conn // what TLS goes over, if not nil
}

// Dial connects, logs in and binds.
func Dial(o ClientOptions) (*Client, error) {
	c, err := o.connect()
	if err != nil {
		return nil, err
	}
	if err := c.login(o.withDefaults()); err != nil {
		c.Conn.Close()
		return nil, fmt.Errorf("log in %s: %w", o.User, err)
	}
	return c, nil
}

func (o ClientOptions) withDefaults() ClientOptions {
	if o.Domain == "" {
		o.Domain = "example.com"
	}
	if o.Password == "" {
		o.Password = Password
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Dialer == nil {
		o.Dialer = new(net.Dialer)
	}
	return o
}

// connect gives a client that has said nothing yet.
func (o ClientOptions) connect() (*Client, error) {
	o = o.withDefaults()
	conn, err := o.dial()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(o.Timeout))
	return &Client{Conn: conn, domain: o.Domain}, nil
}

func (o ClientOptions) dial() (net.Conn, error) {
	over := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := o.Dialer.DialContext(ctx, network, address)
		if err == nil && o.Receive > 0 {
			_ = conn.(*net.TCPConn).SetReadBuffer(o.Receive)
		}
		if err == nil && o.Wrap != nil {
			conn = o.Wrap(conn)
		}
		return conn, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Timeout)
	defer cancel()
	switch {
	case !o.Web:
		return over(ctx, "tcp", o.Address)
	case o.TLS != nil:
		return websocket.Dial(ctx, "wss://"+o.Address+edge.WebSocketPath, websocket.DialOptions{TLS: o.TLS, Net: over})
	}
	return websocket.Dial(ctx, "ws://"+o.Address+edge.WebSocketPath, websocket.DialOptions{Net: over})
}

func (c *Client) login(o ClientOptions) error {
	if o.Web {
		o.TLS = nil
	}
	if o.TLS != nil && o.Direct {
		c.Conn = tls.Client(c.Conn, o.TLS)
	}
	c.d = stanza.NewDecoder(c.Conn, stanza.Limits{Bytes: 4 << 20})
	if err := c.open(); err != nil {
		return err
	}
	if o.TLS != nil && !o.Direct {
		if err := c.Send("<starttls xmlns='" + stanza.NSTLS + "'/>"); err != nil {
			return err
		}
		if st, err := c.Next(); err != nil || st.Local != "proceed" {
			return fmt.Errorf("no TLS: %v %w", st, err)
		}
		c.Conn = tls.Client(c.Conn, o.TLS)
		c.d = stanza.NewDecoder(c.Conn, stanza.Limits{Bytes: 4 << 20})
		if err := c.open(); err != nil {
			return err
		}
	}
	if err := c.authenticate(o.User, o.Password); err != nil {
		return err
	}
	c.d.Restart()
	if err := c.open(); err != nil || o.Unbound {
		return err
	}
	return c.Bind(o.Resource)
}

// open opens a stream and reads the features.
func (c *Client) open() error {
	if err := c.Send("<stream:stream to='" + c.domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return err
	}
	if _, err := c.d.Open(); err != nil {
		return err
	}
	st, err := c.Next()
	if err == nil {
		c.Features = st.Inner
	}
	return err
}

// Conversation begins a SCRAM-SHA-256 exchange of a user with Password.
func Conversation(user string) (*scram.ClientConversation, error) {
	return conversation(user, Password)
}

func conversation(user, password string) (*scram.ClientConversation, error) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	return client.WithMinIterations(1).NewConversation(), nil
}

func (c *Client) authenticate(user, password string) error {
	conv, err := conversation(user, password)
	if err != nil {
		return err
	}
	said, err := conv.Step("")
	if err != nil {
		return err
	}
	element := "<auth xmlns='" + stanza.NSSASL + "' mechanism='SCRAM-SHA-256'>%s</auth>"
	for {
		if err := c.Send(fmt.Sprintf(element, base64.StdEncoding.EncodeToString([]byte(said)))); err != nil {
			return err
		}
		st, err := c.Next()
		if err != nil {
			return err
		}
		switch st.Local {
		case "success":
			return nil
		case "challenge":
			challenge, err := base64.StdEncoding.DecodeString(st.Text())
			if err != nil {
				return err
			}
			if said, err = conv.Step(string(challenge)); err != nil {
				return err
			}
			element = "<response xmlns='" + stanza.NSSASL + "'>%s</response>"
		default:
			return fmt.Errorf("not authenticated: %s %s", st.Local, st.Inner)
		}
	}
}

// Bind binds a resource.
func (c *Client) Bind(resource string) error {
	inner := ""
	if resource != "" {
		inner = "<resource>" + string(stanza.AppendText(nil, resource)) + "</resource>"
	}
	if err := c.Send("<iq type='set' id='bind'><bind xmlns='" + stanza.NSBind + "'>" + inner + "</bind></iq>"); err != nil {
		return err
	}
	st, err := c.Next()
	if err != nil {
		return err
	}
	if st.Type != "result" {
		return fmt.Errorf("not bound: %s", st.Inner)
	}
	bind, _ := stanza.Find(st.Inner, stanza.NSBind, "bind")
	e, err := bind.Element()
	if err != nil {
		return err
	}
	c.Full = e.ChildText(stanza.NSBind, "jid")
	return nil
}

// Send writes XML as it is.
func (c *Client) Send(xml string) error {
	_, err := c.Conn.Write([]byte(xml))
	return err
}

// Next reads one stanza.
func (c *Client) Next() (*stanza.Stanza, error) { return c.d.Next() }

// Sync pings the server and gives what came before the answer: all that the
// server had for this client, and an acknowledgement of all it sent. Stream
// management (XEP-0198) is left out.
func (c *Client) Sync() ([]*stanza.Stanza, error) {
	c.pings++
	id := fmt.Sprintf("sync-%d", c.pings)
	if err := c.Send("<iq type='get' id='" + id + "'><ping xmlns='" + stanza.NSPing + "'/></iq>"); err != nil {
		return nil, err
	}
	var all []*stanza.Stanza
	for {
		st, err := c.Next()
		if err != nil {
			return all, err
		}
		if st.Kind == stanza.IQ && st.ID == id {
			return all, nil
		}
		if st.Space != stanza.NSSM {
			all = append(all, st)
		}
	}
}

// Rest reads until the stream ends and gives everything; err is nil if it was
// closed with a closing tag.
func (c *Client) Rest() (all []*stanza.Stanza, err error) {
	for {
		st, err := c.Next()
		if errors.Is(err, stanza.ErrStreamClosed) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, st)
	}
}

// Close closes the stream, waits for the server to do so too, and closes the
// connection.
func (c *Client) Close() error {
	defer c.Conn.Close()
	if err := c.Send("</stream:stream>"); err != nil {
		return err
	}
	_, err := c.Rest()
	return err
}

// Text writes a stanza as one line, for tests.
func Text(st *stanza.Stanza) string {
	var b strings.Builder
	b.WriteString(st.Local)
	for _, a := range []struct{ name, value string }{{"type", st.Type}, {"id", st.ID}, {"from", st.From}, {"to", st.To}} {
		if a.value != "" {
			fmt.Fprintf(&b, " %s=%s", a.name, a.value)
		}
	}
	if len(st.Inner) > 0 {
		b.WriteByte(' ')
		b.Write(st.Inner)
	}
	return b.String()
}
