package edge_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
)

// BenchmarkReconnect tells what it costs to be again where one was before the
// connection broke, with so many contacts that are online: by a whole login
// (SCRAM, bind, roster and presence, until the last contact is seen), or by
// resuming the stream (XEP-0198), after SCRAM or all in one flight, on the same
// edge or, each time, on another. Over TLS; TCP's handshake apart.
func BenchmarkReconnect(b *testing.B) {
	for _, contacts := range []int{10, 100} {
		for _, kind := range []string{"login", "scram+resume", "fast+resume", "scram+resume-elsewhere"} {
			b.Run(fmt.Sprintf("%s/contacts=%d", kind, contacts), func(b *testing.B) { reconnect(b, kind, contacts) })
		}
	}
}

func reconnect(b *testing.B, kind string, contacts int) {
	certificate, err := stream.LoadOrMakeCertificate(b.TempDir(), "example.com")
	if err != nil {
		b.Fatal(err)
	}
	direct := []edge.Listen{{Address: "127.0.0.1:0", Direct: true}, {Address: "127.0.0.1:0"}}
	h, e := edgetest.Start(b, edge.Options{Stream: stream.Options{TLS: stream.ServerTLS(certificate)}, Listen: direct})
	two, err := h.Open(edge.Options{ID: "e2", Stream: stream.Options{TLS: stream.ServerTLS(certificate)}, Listen: direct})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { two.Stop() })
	h.Create("juliet")
	for i := range contacts {
		name := fmt.Sprintf("friend%d", i)
		h.Create(name)
		h.Befriend("juliet", name)
		c, err := edgetest.Dial(edgetest.ClientOptions{Address: e.Addr(1).String(), User: name, Resource: "r"})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { c.Conn.Close() })
		if err := c.Send("<presence/>"); err != nil {
			b.Fatal(err)
		}
		go io.Copy(io.Discard, c.Conn)
	}
	h.Quiet()
	o := edgetest.ClientOptions{Address: e.Addr(0).String(), User: "juliet", Resource: "r", TLS: &tls.Config{InsecureSkipVerify: true}, Direct: true}
	// first is the session that is taken up again and again.
	first, success, err := edgetest.DialInline(o, edgetest.Inline{Agent: phone, Renew: true, Bind: smInline})
	if err != nil {
		b.Fatal(err)
	}
	token := success.Child(stanza.NSFAST, "token").Attr("token")
	id := success.Child(stanza.NSBind2, "bound").Child(stanza.NSSM, "enabled").Attr("id")
	seen := func(c *edgetest.Client, n int) (stanzas int) {
		for n > 0 {
			st, err := c.Next()
			if err != nil {
				b.Fatal(err)
			}
			if st.Kind == stanza.Presence && st.Type == "" {
				n--
			}
			if st.Kind != stanza.Other {
				stanzas++
			}
		}
		return stanzas
	}
	enter := func(c *edgetest.Client) int {
		if err := c.Send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>"); err != nil {
			b.Fatal(err)
		}
		return seen(c, contacts+1)
	}
	handled := enter(first)
	for range 2 {
		h.Quiet()
		rest, err := first.Sync()
		if err != nil {
			b.Fatal(err)
		}
		handled += len(rest) + 1
	}
	held := first.Conn
	edges := []*edgetest.Edge{e, two}
	var total far
	var took time.Duration
	n := 0
	for b.Loop() {
		if kind == "login" {
			held.Close()
			h.Quiet()
		}
		var f *far
		at := o
		at.Wrap = func(c net.Conn) net.Conn { f = newFar(c, 0); return f }
		if n++; kind == "scram+resume-elsewhere" {
			at.Address = edges[n%2].Addr(0).String()
		}
		began := time.Now()
		var c *edgetest.Client
		resume := fmt.Sprintf("<resume xmlns='urn:xmpp:sm:3' h='%d' previd='%s'/>", handled, id)
		switch kind {
		case "login":
			if c, err = edgetest.Dial(at); err == nil {
				enter(c)
			}
		case "fast+resume":
			c, success, err = edgetest.DialInline(at, edgetest.Inline{Agent: phone, Token: token, NoBind: true, More: resume})
			if err == nil && success.Child(stanza.NSSM, "resumed") == nil {
				b.Fatalf("%s", success.Bytes())
			}
		default:
			at.Unbound = true
			if c, err = edgetest.Dial(at); err != nil {
				break
			}
			if err = c.Send(resume); err != nil {
				break
			}
			var st *stanza.Stanza
			if st, err = c.Next(); err == nil && st.Local != "resumed" {
				b.Fatal(edgetest.Text(st))
			}
			if err == nil && kind == "scram+resume-elsewhere" {
				handled += seen(c, contacts+1)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
		got := f.so()
		total.waits, total.out, total.in = total.waits+got.waits, total.out+got.out, total.in+got.in
		held.Close()
		held = c.Conn
	}
	held.Close()
	b.ReportMetric(float64(took.Microseconds())/1e3/float64(b.N), "ms/reconnect")
	b.ReportMetric(float64(total.waits)/float64(b.N), "round-trips/op")
	b.ReportMetric(float64(total.out)/float64(b.N), "B-out/op")
	b.ReportMetric(float64(total.in)/float64(b.N), "B-in/op")
}
