package stream

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// marks is Tokens in memory, over accounts.
type marks struct {
	*accounts
	mu    sync.Mutex
	marks map[string]Mark
	sets  int
	err   error // what SetMark answers, if not nil
}

func (m *marks) LookupClient(ctx context.Context, account jid.Bare, client uuid.UUID) (Keys, Mark, error) {
	k, err := m.Lookup(ctx, account)
	m.mu.Lock()
	defer m.mu.Unlock()
	return k, m.marks[account.String()+client.String()], err
}

func (m *marks) SetMark(_ context.Context, account jid.Bare, client uuid.UUID, mark Mark) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.sets++
	m.marks[account.String()+client.String()] = mark
	return nil
}

// options2 are those of an edge that offers all there is.
func options2() (Options, *marks) {
	o, a := options()
	m := &marks{accounts: a, marks: make(map[string]Mark)}
	o.Tokens, o.Carbons, o.CSI, o.SM = m, true, true, true
	return o, m
}

// installation is the id of a client of XEP-0388's examples.
const installation = "d4565fa7-4d72-4749-b3d3-740edbf87770"

const agent = "<user-agent id='" + installation + "'><software>AwesomeXMPP</software><device>Kiva&apos;s Phone</device></user-agent>"

// ask2 is an <authenticate/>; data is its initial response if not empty.
func ask2(mechanism, data, more string) string {
	if data != "" {
		data = "<initial-response>" + b64(data) + "</initial-response>"
	}
	return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='" + mechanism + "'>" + data + more + "</authenticate>"
}

func response2(data string) string {
	return "<response xmlns='urn:xmpp:sasl:2'>" + b64(data) + "</response>"
}

const (
	plain      = "\x00juliet\x00capulet"
	bind2      = "<bind xmlns='urn:xmpp:bind:0'/>"
	classicSet = "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>balcony</resource></bind></iq>"
)

// scram2 runs SCRAM by SASL2 and gives its last element. The caller answers
// for the server meanwhile where the client asks to bind or to resume.
func (c *client) scram2(mechanism, user, password string, cb scram.ChannelBinding, more string) (*stanza.Element, error) {
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
	c.send(ask2(mechanism, first, more))
	for {
		st, err := c.d.Next()
		if err != nil {
			return nil, err
		}
		e, err := st.Element()
		if err != nil || e.Space != stanza.NSSASL2 || e.Local == "failure" {
			return e, err
		}
		text := e.Text
		if e.Local == "success" {
			text = e.ChildText(stanza.NSSASL2, "additional-data")
		}
		data, err := base64.StdEncoding.DecodeString(text)
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
		c.send(response2(answer))
	}
}

// condition gives the condition of a <failure/>.
func condition(e *stanza.Element) string {
	if e.Space != stanza.NSSASL2 || e.Local != "failure" || len(e.Children) == 0 || e.Children[0].Space != stanza.NSSASL {
		return string(e.Bytes())
	}
	return e.Children[0].Local
}

// asked waits until the server must answer a request.
func (c *client) asked() *Stream {
	c.t.Helper()
	r := <-c.result
	if r.err != nil {
		c.t.Fatal(r.err)
	}
	return r.s
}

// bound has the server bind what the client asked for, and gives the success.
func (c *client) bound(inner string) *stanza.Element {
	c.t.Helper()
	s := c.asked()
	full, err := s.Account().WithResource(s.Resource())
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := s.Conn().Write(s.AppendBound(nil, full.String(), []byte(inner))); err != nil {
		c.t.Fatal(err)
	}
	e := c.next("success")
	if got := e.ChildText(stanza.NSSASL2, "authorization-identifier"); got != full.String() || e.Child(stanza.NSBind2, "bound") == nil {
		c.t.Fatalf("%s", e.Bytes())
	}
	return e
}

// turns notes when a server's connection changes from reading to writing.
type turns struct {
	net.Conn
	mu     sync.Mutex
	writes bool // the last thing it did
	count  int  // how often writing began
}

func (t *turns) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	if n > 0 {
		t.writes = false
	}
	return n, err
}

func (t *turns) Write(b []byte) (int, error) {
	t.mu.Lock()
	if !t.writes {
		t.count++
	}
	t.writes = true
	t.mu.Unlock()
	return t.Conn.Write(b)
}

// start begins to count anew.
func (t *turns) start() {
	t.mu.Lock()
	t.writes, t.count = false, 0
	t.mu.Unlock()
}

// flights gives how often the server answered.
func (t *turns) flights() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// secure goes under TLS on a port for it and gives the features.
func secure(t *testing.T, o Options) (*client, *stanza.Element) {
	t.Helper()
	o.Direct = true
	c := dial(t, t.Context(), o)
	c.handshake(0)
	return c, c.open()
}
