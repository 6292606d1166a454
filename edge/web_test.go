package edge_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	ws "github.com/coder/websocket"
	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/edge/websocket"
)

// web is an edge with a port for each of TCP, HTTP and HTTPS, in this order.
func web(t testing.TB, o edge.Options) *play {
	t.Helper()
	certificate, err := stream.LoadOrMakeCertificate(t.TempDir(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	o.Stream.TLS = stream.ServerTLS(certificate)
	o.Listen = []edge.Listen{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", Web: true}, {Address: "127.0.0.1:0", Web: true, Direct: true}}
	return newPlay(t, o)
}

// browse logs in over a WebSocket.
func (p *play) browse(who string, secure bool) *edgetest.Client {
	p.t.Helper()
	name, resource, _ := strings.Cut(who, "/")
	p.create(name)
	o := edgetest.ClientOptions{Address: p.edge.Addr(1).String(), User: name, Resource: resource, Web: true}
	if secure {
		o.Address, o.TLS = p.edge.Addr(2).String(), &tls.Config{InsecureSkipVerify: true}
	}
	c, err := edgetest.Dial(o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.clients[who] = c
	p.t.Cleanup(func() { c.Conn.Close() })
	return c
}

func TestWebSocketAndTCPTalk(t *testing.T) {
	for _, secure := range []bool{false, true} {
		p := web(t, edge.Options{})
		p.create("juliet", "romeo")
		p.house.Befriend("juliet", "romeo")
		p.browse("juliet/browser", secure)
		p.send("juliet/browser", "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>")
		if st := p.until("juliet/browser", "iq type=result id=roster"); !strings.Contains(string(st.Inner), "romeo@example.com") {
			t.Errorf("roster %s", st.Inner)
		}
		p.send("juliet/browser", "<presence/>")
		p.heard("juliet/browser")
		p.online("romeo/garden")
		p.expect("juliet/browser", "presence from=romeo@example.com/garden")
		p.send("romeo/garden", "<message type='chat' id='m1' to='juliet@example.com'><body>a &lt; b &amp; ü</body></message>")
		p.heard("romeo/garden") // it is in the log
		p.expect("juliet/browser", "message type=chat id=m1 from=romeo@example.com/garden to=juliet@example.com <body>a &lt; b &amp; ü</body>")
		p.send("juliet/browser", "<message type='chat' id='m2' to='romeo@example.com/garden'><body>x</body></message>")
		p.heard("juliet/browser")
		p.expect("romeo/garden", "message type=chat id=m2 from=juliet@example.com/browser to=romeo@example.com/garden <body>x</body>")
		if err := p.clients["juliet/browser"].Close(); err != nil {
			t.Errorf("closing handshake: %v", err)
		}
		p.expect("romeo/garden", "presence type=unavailable from=juliet@example.com/browser")
		p.wantClosed("closed")
	}
}

// wantClosed looks for why the only session that ended did so.
func (p *play) wantClosed(reason string) {
	p.t.Helper()
	edgetest.WaitFor(p.t, "a session's end", func() bool {
		for _, e := range p.house.Events() {
			if c := e.GetResourceClosed(); c != nil {
				if c.GetReason() != reason {
					p.t.Fatalf("ended: %q, want %q", c.GetReason(), reason)
				}
				return true
			}
		}
		return false
	})
}

func TestWebSocketBrokenIsAsTCPBroken(t *testing.T) {
	p := web(t, edge.Options{})
	p.create("juliet", "romeo")
	p.house.Befriend("juliet", "romeo")
	p.online("romeo/garden")
	c := p.browse("juliet/browser", true)
	p.send("juliet/browser", "<presence/>")
	p.heard("juliet/browser")
	p.expect("romeo/garden", "presence from=juliet@example.com/browser")
	c.Conn.Close() // without <close/> this is no more than the end of the socket
	p.until("romeo/garden", "presence type=unavailable from=juliet@example.com/browser")
	p.wantClosed("connection lost")
}

func TestWebSocketEdgeStops(t *testing.T) {
	p := web(t, edge.Options{})
	p.browse("juliet/browser", true)
	go p.edge.Stop()
	if got := p.ends("juliet/browser"); got != "system-shutdown" {
		t.Errorf("ended with %q", got)
	}
}

func TestWebSocketIdleIsPinged(t *testing.T) {
	p := web(t, edge.Options{IdlePing: 20 * time.Millisecond})
	p.create("juliet")
	pings := make(chan struct{}, 16)
	c := dialRaw(t, p, &ws.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		select {
		case pings <- struct{}{}:
		default:
		}
		return true
	}})
	c.login("juliet")
	answered := make(chan string)
	go func() { answered <- c.until("<iq") }()
	for range 3 { // the answers, pongs, are no traffic of the client's
		<-pings
	}
	c.say("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
	if got := <-answered; !strings.HasPrefix(got, "<iq xmlns='jabber:client' type='result' id='p'") {
		t.Errorf("after pings: %s", got)
	}
}

func TestHostMeta(t *testing.T) {
	get := func(t *testing.T, p *play, path string) string {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		r, err := client.Get("https://" + p.edge.Addr(2).String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK || r.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %s %v", path, r.Status, r.Header)
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	p := web(t, edge.Options{})
	url := "wss://" + p.edge.Addr(2).String() + "/ws"
	for _, c := range []struct {
		name, url string
		play      *play
	}{
		{"the host that was asked", url, p},
		{"the URL that was given", "wss://chat.example.com/ws?a=1&b", web(t, edge.Options{Web: edge.WebOptions{URL: "wss://chat.example.com/ws?a=1&b"}})},
	} {
		t.Run(c.name, func(t *testing.T) {
			xrd := "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>" +
				"<Link rel='urn:xmpp:alt-connections:websocket' href='" + strings.ReplaceAll(c.url, "&", "&amp;") + "'/></XRD>"
			if got := get(t, c.play, "/.well-known/host-meta"); got != xrd {
				t.Errorf("host-meta\n%s\nwant\n%s", got, xrd)
			}
			jrd := `{"links":[{"rel":"urn:xmpp:alt-connections:websocket","href":"` + strings.ReplaceAll(c.url, "&", `\u0026`) + `"}]}`
			if got := get(t, c.play, "/.well-known/host-meta.json"); got != jrd {
				t.Errorf("host-meta.json\n%s\nwant\n%s", got, jrd)
			}
		})
	}
}

// SCRAM with channel binding works through HTTPS: both sides see one TLS.
func TestWebSocketBindsTheChannel(t *testing.T) {
	p := web(t, edge.Options{})
	p.create("juliet")
	conn, err := websocket.Dial(t.Context(), "wss://"+p.edge.Addr(2).String()+edge.WebSocketPath, websocket.DialOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	d := stanza.NewDecoder(conn, stanza.Limits{})
	exchange := func(xml string) *stanza.Stanza {
		t.Helper()
		if _, err := conn.Write([]byte(xml)); err != nil {
			t.Fatal(err)
		}
		st, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if _, err := conn.Write(stanza.AppendStreamHeader(nil, stanza.StreamHeader{To: "example.com", Version: "1.0"})); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(); err != nil {
		t.Fatal(err)
	}
	features, err := d.Next()
	if err != nil || !strings.Contains(string(features.Inner), "<channel-binding type='tls-exporter'/>") || strings.Contains(string(features.Inner), "starttls") {
		t.Fatalf("%s %v", features.Inner, err)
	}
	client, err := scram.SHA256.NewClient("juliet", edgetest.Password, "")
	if err != nil {
		t.Fatal(err)
	}
	binding, err := scram.NewTLSExporterBinding(conn.TLS())
	if err != nil {
		t.Fatal(err)
	}
	talk := client.WithMinIterations(1).NewConversationWithChannelBinding(binding)
	said, err := talk.Step("")
	if err != nil {
		t.Fatal(err)
	}
	st := exchange("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256-PLUS'>" + base64.StdEncoding.EncodeToString([]byte(said)) + "</auth>")
	challenge, err := base64.StdEncoding.DecodeString(st.Text())
	if err != nil || st.Local != "challenge" {
		t.Fatal(edgetest.Text(st), err)
	}
	if said, err = talk.Step(string(challenge)); err != nil {
		t.Fatal(err)
	}
	if st := exchange("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + base64.StdEncoding.EncodeToString([]byte(said)) + "</response>"); st.Local != "success" {
		t.Error(edgetest.Text(st))
	}
}

// Who has come in by HTTP and is not bound counts at the door.
func TestWebSocketWaitsAtTheDoor(t *testing.T) {
	p := web(t, edge.Options{MaxUnbound: 1})
	p.create("juliet")
	url := "ws://" + p.edge.Addr(1).String() + edge.WebSocketPath
	unbound, err := websocket.Dial(t.Context(), url, websocket.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := websocket.Dial(t.Context(), url, websocket.DialOptions{}); err == nil {
		c.Close()
		t.Error("two came in at once")
	}
	unbound.Close()
	p.browse("juliet/one", false)
	// A bound one counts no more, nor does who only asked where to go.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for range 2 {
		r, err := client.Get("http://" + p.edge.Addr(1).String() + "/.well-known/host-meta")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
	}
	p.browse("juliet/two", false)
}

func TestWebOptions(t *testing.T) {
	secret := stream.Options{Secret: make([]byte, 16)}
	for _, c := range []struct {
		name, want string
		o          edge.Options
	}{
		{"HTTPS without a certificate", "no certificate", edge.Options{Stream: secret, Listen: []edge.Listen{{Address: "127.0.0.1:0", Web: true, Direct: true}}}},
		{"HTTP where nobody may log in", "nobody could log in", edge.Options{Stream: secret, Listen: []edge.Listen{{Address: "127.0.0.1:0", Web: true}}}},
		{"a URL of another kind", "wss://HOST", edge.Options{Web: edge.WebOptions{URL: "https://example.com/ws"}}},
		{"a URL without a host", "wss://HOST", edge.Options{Web: edge.WebOptions{URL: "wss:///ws"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := edgetest.NewHouse("example.com", 1)
			defer h.Close()
			if c.o.Stream.Secret != nil {
				c.o.Stream.Credentials = oneAccount{}
			}
			if _, err := h.Open(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
