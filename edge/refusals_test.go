package edge_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A login that fails is told in the log: who, how, from where and why.
func TestRefusedLoginIsLogged(t *testing.T) {
	var log logged
	h, e := edgetest.Start(t, edge.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h.Create("juliet")
	conn, err := net.Dial("tcp", e.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	secret := base64.StdEncoding.EncodeToString([]byte("\x00juliet\x00sesame"))
	fmt.Fprintf(conn, "<stream:stream to='example.com' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"+
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj1qdWxpZXQscj1hYmNkZWZnaA==</auth>"+
		"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>Yz1iaXdzLHI9eCxwPUFBQUE=</response>"+
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth></stream:stream>", secret)
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	from := "address=" + conn.LocalAddr().String()
	for _, want := range []string{
		`msg="login refused" account=juliet@example.com mechanism=SCRAM-SHA-1 ` + from + " reason=not-authorized",
		`msg="login refused" account="" mechanism=PLAIN ` + from + " reason=encryption-required",
	} {
		edgetest.WaitFor(t, want, func() bool { return strings.Contains(log.String(), want) })
	}
	if all := log.String(); strings.Contains(all, "sesame") || strings.Contains(all, secret) {
		t.Error(all)
	}
}

// Who is sent jid-malformed is told what is wrong with which part.
func TestMalformedAddressesAreExplained(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.dial("juliet/balcony")
	for to, want := range map[string]string{
		"a b@example.com":    "the localpart is not allowed",
		"@example.com":       "the localpart is empty",
		"romeo@":             "the domainpart is empty",
		"romeo@exa mple":     "the domainpart is no host name",
		"romeo@example.com/": "the resourcepart is empty",
		"romeo@example.com/" + strings.Repeat("x", 1000): "the resourcepart is too long",
	} {
		p.send("juliet/balcony", "<message to='"+to+"'><body>x</body></message>")
		if got := strings.Join(p.heard("juliet/balcony"), ""); !strings.Contains(got, "<jid-malformed") || !strings.Contains(got, want) {
			t.Errorf("%.30s: %s", to, got)
		}
	}
}
