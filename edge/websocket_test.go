package edge_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

const (
	openFrame  = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'/>"
	closeFrame = "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
)

// raw is a client that speaks in WebSocket messages.
type raw struct {
	t    *testing.T
	conn *ws.Conn
	ctx  context.Context
}

func dialRaw(t *testing.T, p *play, o *ws.DialOptions) *raw {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	if o == nil {
		o = new(ws.DialOptions)
	}
	o.Subprotocols = []string{"xmpp"}
	conn, _, err := ws.Dial(ctx, "ws://"+p.edge.Addr(1).String()+"/xmpp-websocket", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &raw{t, conn, ctx}
}

func (c *raw) say(message string) {
	c.t.Helper()
	if err := c.conn.Write(c.ctx, ws.MessageText, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// hear gives the next message.
func (c *raw) hear() (string, error) {
	_, b, err := c.conn.Read(c.ctx)
	return string(b), err
}

// until gives the next message that begins so.
func (c *raw) until(prefix string) string {
	for {
		m, err := c.hear()
		if err != nil {
			return err.Error()
		}
		if strings.HasPrefix(m, prefix) {
			return m
		}
	}
}

// rest gives all messages to the end, and the status with which the server
// ended the WebSocket.
func (c *raw) rest() (all []string, status ws.StatusCode) {
	for {
		m, err := c.hear()
		if err != nil {
			return all, ws.CloseStatus(err)
		}
		all = append(all, m)
	}
}

func (c *raw) login(user string) {
	c.t.Helper()
	c.say(openFrame)
	c.until("<stream:features")
	c.scram(user)
	c.say(openFrame)
	c.until("<stream:features")
	c.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>raw</resource></bind></iq>")
	if m := c.until("<iq"); !strings.Contains(m, "type='result'") {
		c.t.Fatalf("not bound: %s", m)
	}
}

func (c *raw) scram(user string) {
	c.t.Helper()
	talk, err := edgetest.Conversation(user)
	if err != nil {
		c.t.Fatal(err)
	}
	said, err := talk.Step("")
	element, end := "auth mechanism='SCRAM-SHA-256'", "auth"
	for {
		if err != nil {
			c.t.Fatal(err)
		}
		c.say("<" + element + " xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(said)) + "</" + end + ">")
		m, err2 := c.hear()
		if err2 != nil || strings.HasPrefix(m, "<success") {
			if err2 != nil {
				c.t.Fatal(err2)
			}
			return
		}
		_, text, _ := strings.Cut(m, ">")
		text, _, _ = strings.Cut(text, "<")
		challenge, err3 := base64.StdEncoding.DecodeString(text)
		if err3 != nil {
			c.t.Fatalf("%s: %v", m, err3)
		}
		said, err = talk.Step(string(challenge))
		element, end = "response", "response"
	}
}

func TestWebSocketFrames(t *testing.T) {
	p := web(t, edge.Options{})
	c := dialRaw(t, p, nil)
	c.say(openFrame)
	m, err := c.hear()
	if err != nil || !strings.HasPrefix(m, "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.com' id='") || !strings.HasSuffix(m, " version='1.0' xml:lang='en'/>") {
		t.Fatalf("%s %v", m, err)
	}
	m, err = c.hear()
	if err != nil || !strings.HasPrefix(m, "<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><mechanisms ") || strings.Contains(m, "starttls") {
		t.Fatalf("%s %v", m, err)
	}
	c.say(closeFrame)
	all, status := c.rest()
	if len(all) != 1 || all[0] != closeFrame || status != ws.StatusNormalClosure {
		t.Errorf("closed with %q %v", all, status)
	}
}

// What RFC 7395 forbids ends the stream with an error, <close/> and the
// WebSocket's own closing handshake.
func TestWebSocketRefuses(t *testing.T) {
	p := web(t, edge.Options{})
	p.create("juliet")
	for _, c := range []struct {
		name      string
		loggedIn  bool
		messages  []string
		condition string
	}{
		{"3.3.2 open in another namespace", false, []string{"<open xmlns='urn:example' to='example.com' version='1.0'/>"}, "invalid-namespace"},
		{"3.3.2 open without a namespace", false, []string{"<open to='example.com' version='1.0'/>"}, "invalid-namespace"},
		{"3.4 another element first", false, []string{"<presence xmlns='jabber:client'/>"}, "bad-format"},
		{"3.4 a stream tag as over TCP", false, []string{"<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"}, "bad-format"},
		{"3.4 close first", false, []string{closeFrame}, "bad-format"},
		{"3.7 open again", false, []string{openFrame, openFrame}, "unsupported-stanza-type"},
		{"to another host", false, []string{strings.Replace(openFrame, "example.com", "example.org", 1)}, "host-unknown"},
		{"3.3.3 text before the element", true, []string{" <presence xmlns='jabber:client'/>"}, "bad-format"},
		{"3.3.3 white space alone", true, []string{" "}, "bad-format"},
		{"3.3.3 nothing", true, []string{""}, "bad-format"},
		{"3.3.3 two elements", true, []string{"<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>"}, "bad-format"},
		{"3.3.3 text after the element", true, []string{"<presence xmlns='jabber:client'/>x"}, "bad-format"},
		{"3.3.3 half an element", true, []string{"<presence xmlns='jabber:client'>", "</presence>"}, "not-well-formed"},
		{"3.3.3 half a tag", true, []string{"<presence xmlns='jabber"}, "not-well-formed"},
		{"an end tag", true, []string{"</stream:stream>"}, "not-well-formed"},
		{"a comment", true, []string{"<presence xmlns='jabber:client'><!-- --></presence>"}, "restricted-xml"},
		{"a stanza too large", true, []string{"<presence xmlns='jabber:client'><status>" + strings.Repeat("x", 300<<10) + "</status></presence>"}, "policy-violation"},
		{"too much before authentication", false, []string{openFrame, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + strings.Repeat("x", 20<<10) + "</auth>"}, "policy-violation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := dialRaw(t, p, nil)
			if c.loggedIn {
				client.login("juliet")
			}
			for _, m := range c.messages {
				if client.conn.Write(client.ctx, ws.MessageText, []byte(m)) != nil {
					break // it may have been refused by its beginning
				}
			}
			all, status := client.rest()
			if len(all) < 2 || status != ws.StatusNormalClosure {
				t.Fatalf("ended with %q %v", all, status)
			}
			if !c.loggedIn && !strings.HasPrefix(all[0], "<open ") {
				t.Errorf("no <open/> before the error: %q", all)
			}
			bad := all[len(all)-2]
			if !strings.HasPrefix(bad, "<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><"+c.condition+" ") || all[len(all)-1] != closeFrame {
				t.Errorf("ended with %q", all)
			}
		})
	}
	t.Run("3.2 a binary message", func(t *testing.T) {
		client := dialRaw(t, p, nil)
		client.login("juliet")
		if err := client.conn.Write(client.ctx, ws.MessageBinary, []byte("<presence xmlns='jabber:client'/>")); err != nil {
			t.Fatal(err)
		}
		if all, status := client.rest(); len(all) != 2 || !strings.Contains(all[0], "<bad-format ") || status != ws.StatusUnsupportedData {
			t.Errorf("ended with %q %v", all, status)
		}
	})
}

func TestWebSocketFragments(t *testing.T) {
	p := web(t, edge.Options{})
	p.create("juliet")
	c := dialRaw(t, p, nil)
	c.login("juliet")
	w, err := c.conn.Writer(c.ctx, ws.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []byte("<?xml version='1.0'?><iq xmlns='jabber:client' type='get' id='f' to='example.com'><ping xmlns='urn:xmpp:ping'><![CDATA[<]]]]>]]&gt;</ping></iq>\n") {
		if _, err := w.Write([]byte{b}); err != nil { // a frame each
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if m := c.until("<iq"); !strings.Contains(m, "type='result' id='f'") {
		t.Errorf("answered %s", m)
	}
}

// The handshake needs the subprotocol, and an origin that may.
func TestWebSocketHandshake(t *testing.T) {
	p := web(t, edge.Options{Web: edge.WebOptions{Origins: []string{"https://*.example.com"}}})
	url := "ws://" + p.edge.Addr(1).String() + edge.WebSocketPath
	ctx := t.Context()
	for origin, may := range map[string]bool{
		"": true, "https://chat.example.com": true, "http://chat.example.com": false, "https://evil.example.org": false, "null": false,
	} {
		o := &ws.DialOptions{Subprotocols: []string{"xmpp"}, HTTPHeader: http.Header{}}
		if origin != "" {
			o.HTTPHeader.Set("Origin", origin)
		}
		c, r, err := ws.Dial(ctx, url, o)
		if (err == nil) != may {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			c.CloseNow()
		} else if r == nil || r.StatusCode != http.StatusForbidden {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	c, r, err := ws.Dial(ctx, url, &ws.DialOptions{Subprotocols: []string{"soap"}})
	if err == nil {
		c.CloseNow()
	}
	if r == nil || r.StatusCode != http.StatusBadRequest {
		t.Errorf("without the subprotocol: %v", err)
	}
	for path, status := range map[string]int{edge.WebSocketPath: http.StatusUpgradeRequired, "/": http.StatusNotFound} {
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + p.edge.Addr(1).String() + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != status {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}
