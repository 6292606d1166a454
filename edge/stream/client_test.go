package stream

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/xdg-go/scram"
	"go.uber.org/goleak"
)

var certificate tls.Certificate

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "stream")
	if err == nil {
		certificate, err = LoadOrMakeCertificate(dir, "example.org")
	}
	if err != nil {
		panic(err)
	}
	os.RemoveAll(dir)
	goleak.VerifyTestMain(m)
}

// accounts is a Registrar and a Credentials in memory.
type accounts struct {
	mu   sync.Mutex
	keys map[string]Keys
	err  error // what both answer, if not nil
}

func (a *accounts) Register(_ context.Context, username, password string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	if _, ok := a.keys[username]; ok {
		return ErrConflict
	}
	k, err := DeriveKeys(password)
	a.keys[username] = k
	return err
}

func (a *accounts) Lookup(_ context.Context, account jid.Bare) (Keys, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return Keys{}, a.err
	}
	k, ok := a.keys[account.Local()]
	if !ok {
		return Keys{}, ErrNoAccount
	}
	return k, nil
}

var julietKeys = sync.OnceValue(func() Keys {
	k, err := DeriveKeys("capulet")
	if err != nil {
		panic(err)
	}
	return k
})

func options() (Options, *accounts) {
	a := &accounts{keys: map[string]Keys{"juliet": julietKeys()}}
	return Options{
		Domain: "example.org", TLS: ServerTLS(certificate), Credentials: a, Registrar: a, Secret: []byte("0123456789abcdef"),
	}, a
}

type result struct {
	s   *Stream
	err error
}

// client is one connection to a server that runs Negotiate once.
type client struct {
	t      *testing.T
	conn   net.Conn
	state  *tls.ConnectionState
	d      stanza.Reader
	server *turns // the other end
	result chan result
}

// dial connects without sending anything.
func dial(t *testing.T, ctx context.Context, o Options) *client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := &client{t: t, result: make(chan result, 1)}
	if c.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.server = &turns{Conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s, err := Negotiate(ctx, c.server, o)
		c.result <- result{s, err}
	}()
	t.Cleanup(func() { c.conn.Close(); <-done; conn.Close() })
	c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	c.d = stanza.NewDecoder(c.conn, stanza.Limits{})
	return c
}

const clientHeader = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.t.Fatal(err)
	}
}

// open sends a header and gives the features that answer it.
func (c *client) open() *stanza.Element {
	c.t.Helper()
	c.send(clientHeader)
	c.d.Restart()
	h, err := c.d.Open()
	if err != nil || h.From != "example.org" || len(h.ID) < 20 || h.Version != "1.0" {
		c.t.Fatalf("%+v %v", h, err)
	}
	return c.next("features")
}

func (c *client) next(local string) *stanza.Element {
	c.t.Helper()
	st, err := c.d.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := st.Element()
	if err != nil || e.Local != local {
		c.t.Fatalf("got %s, want %s", e.Bytes(), local)
	}
	return e
}

func (c *client) ask(s, local string) *stanza.Element {
	c.t.Helper()
	c.send(s)
	return c.next(local)
}

func (c *client) handshake(max uint16) {
	c.t.Helper()
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, MaxVersion: max, NextProtos: []string{"xmpp-client"}})
	if err := t.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	state := t.ConnectionState()
	c.conn, c.state, c.d = t, &state, stanza.NewDecoder(t, stanza.Limits{})
}

// startTLS opens the stream, goes under TLS and gives the features there.
func (c *client) startTLS(max uint16) *stanza.Element {
	c.t.Helper()
	f := c.open()
	if f.Child(stanza.NSTLS, "starttls") == nil || f.Child(stanza.NSTLS, "starttls").Child(stanza.NSTLS, "required") == nil || len(f.Children) != 1 {
		c.t.Fatalf("features in the clear: %s", f.Bytes())
	}
	c.ask("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "proceed")
	c.handshake(max)
	return c.open()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func auth(mechanism, data string) string {
	if data != "" {
		data = b64(data)
	}
	return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='" + mechanism + "'>" + data + "</auth>"
}

func response(data string) string {
	return "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b64(data) + "</response>"
}

// scram logs in and gives the name of the last element: success or failure.
func (c *client) scram(mechanism, user, password string, cb scram.ChannelBinding) (*stanza.Element, error) {
	c.t.Helper()
	sha := scram.SHA256
	if strings.HasPrefix(mechanism, "SCRAM-SHA-1") {
		sha = scram.SHA1
	}
	cl, err := sha.NewClient(user, password, "")
	if err != nil {
		c.t.Fatal(err)
	}
	talk := cl.NewConversation()
	if cb.IsSupported() {
		talk = cl.NewConversationWithChannelBinding(cb)
	}
	first, err := talk.Step("")
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(auth(mechanism, first))
	for {
		st, err := c.d.Next()
		if err != nil {
			return nil, err
		}
		e, err := st.Element()
		if err != nil {
			return nil, err
		}
		if e.Local == "failure" {
			return e, nil
		}
		data, err := base64.StdEncoding.DecodeString(e.Text)
		if err != nil {
			return nil, err
		}
		answer, err := talk.Step(string(data))
		if err != nil {
			return nil, err
		}
		if e.Local == "success" {
			if !talk.Valid() {
				return nil, errors.New("the server did not prove that it knows the key")
			}
			return e, nil
		}
		c.send(response(answer))
	}
}

// login goes to the point where a resource can be bound.
func (c *client) login() *stanza.Element {
	c.t.Helper()
	c.startTLS(0)
	if e := c.ask(auth("PLAIN", "\x00juliet\x00capulet"), "success"); e.Text != "" {
		c.t.Fatalf("%s", e.Bytes())
	}
	return c.open()
}

// streamError reads up to the closing stream tag and gives the condition.
func (c *client) streamError() (string, error) {
	condition := ""
	for {
		st, err := c.d.Next()
		if errors.Is(err, stanza.ErrStreamClosed) {
			return condition, nil
		}
		if err != nil {
			return condition, fmt.Errorf("no closing stream tag after %q: %w", condition, err)
		}
		if st.Is(stanza.NSStreams, "error") {
			for child := range stanza.Children(st.Inner) {
				if condition == "" {
					condition = child.Local()
				}
			}
		}
	}
}

func (c *client) wantStreamError(want stanza.StreamCondition) {
	c.t.Helper()
	got, err := c.streamError()
	if err != nil || got != string(want) {
		c.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	c.conn.Close()
	if r := <-c.result; r.err == nil {
		c.t.Fatal("Negotiate succeeded")
	}
}
