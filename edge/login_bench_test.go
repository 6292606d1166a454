package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
)

// loginKinds are ways to come in over TLS, from a connection to a bound or
// resumed session; the first stops when TLS is there, to be taken off the
// others. The last are over WebSocket, whose handshake is a round trip.
var loginKinds = []string{"tls-alone", "scram", "scram+bind2", "fast+bind2", "fast+resume", overWeb + "scram", overWeb + "fast+bind2"}

const overWeb = "wss+"

// BenchmarkLogin tells what each way in costs: round trips and bytes (TCP's
// handshake apart, TLS's included), time, and processor time of either side.
// With rtt every answer is that late. The clients are a process of their own.
func BenchmarkLogin(b *testing.B) {
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond} {
		for _, kind := range loginKinds {
			b.Run(fmt.Sprintf("%s/rtt=%v", kind, rtt), func(b *testing.B) {
				certificate, err := stream.LoadOrMakeCertificate(b.TempDir(), "example.com")
				if err != nil {
					b.Fatal(err)
				}
				keys, err := stream.DeriveKeys(edgetest.Password)
				if err != nil {
					b.Fatal(err)
				}
				one := oneAccount{keys}
				h, e := edgetest.Start(b, edge.Options{
					Stream: stream.Options{TLS: stream.ServerTLS(certificate), Credentials: one, Tokens: one, Secret: make([]byte, 16)},
					Listen: []edge.Listen{{Address: "127.0.0.1:0", Direct: true, Web: strings.HasPrefix(kind, overWeb)}},
				})
				h.Create("juliet")
				ask := logins(b, e.Addr(0).String(), kind, rtt)
				ask(2)
				b.ResetTimer()
				cpu := cpuTime()
				f := ask(b.N)
				per := func(v float64) float64 { return v / float64(b.N) }
				b.ReportMetric(per((cpuTime()-cpu).Seconds()*1e6), "server-cpu-µs/op")
				b.ReportMetric(per(f[1]/1e3), "client-cpu-µs/op")
				b.ReportMetric(per(f[0]/1e6), "ms/login")
				b.ReportMetric(per(f[2]), "round-trips/op")
				b.ReportMetric(per(f[3]), "B-out/op")
				b.ReportMetric(per(f[4]), "B-in/op")
			})
		}
	}
}

// oneAccount is juliet, whose keys have as many iterations as real ones.
type oneAccount struct{ keys stream.Keys }

func (o oneAccount) Lookup(context.Context, jid.Bare) (stream.Keys, error) { return o.keys, nil }

func (o oneAccount) LookupClient(context.Context, jid.Bare, uuid.UUID) (stream.Keys, stream.Mark, error) {
	return o.keys, stream.Mark{}, nil
}

func (oneAccount) SetMark(context.Context, jid.Bare, uuid.UUID, stream.Mark) error { return nil }

const loginsEnv = "EDGE_TEST_LOGINS" // "address kind rtt"

// logins starts the clients' process. What it gives has n clients come in one
// after the other, and tells their time and processor time in ns, round trips,
// bytes out and in.
func logins(b *testing.B, address, kind string, rtt time.Duration) func(n int) [5]float64 {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s", loginsEnv, address, kind, rtt))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewReader(out)
	return func(n int) (f [5]float64) {
		fmt.Fprintln(in, n)
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Sscan(line, &f[0], &f[1], &f[2], &f[3], &f[4]); err != nil {
			b.Fatal(line, err)
		}
		return f
	}
}

// serveLogins is main of that process. It tells whether it was one.
func serveLogins() bool {
	what := strings.Fields(os.Getenv(loginsEnv))
	if len(what) != 3 {
		return false
	}
	rtt, err := time.ParseDuration(what[2])
	if err != nil {
		panic(err)
	}
	kind, web := strings.CutPrefix(what[1], overWeb)
	v := &visitor{kind: kind, o: edgetest.ClientOptions{
		Web: web, Address: what[0], User: "juliet", TLS: &tls.Config{InsecureSkipVerify: true}, Direct: true, Resource: "r",
		Wrap: func(c net.Conn) net.Conn { return newFar(c, rtt) },
	}}
	v.prepare()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			panic(err)
		}
		var total far
		var took time.Duration
		cpu := cpuTime()
		for range n {
			t, f := v.visit()
			took += t + rtt // TCP's handshake
			total.waits, total.out, total.in = total.waits+f.waits, total.out+f.out, total.in+f.in
		}
		fmt.Println(took.Nanoseconds(), (cpuTime() - cpu).Nanoseconds(), total.waits, total.out, total.in)
	}
	return true
}

// visitor comes in again and again.
type visitor struct {
	kind  string
	o     edgetest.ClientOptions
	token string
	id    string // of the stream to resume
	held  net.Conn
}

const smInline = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>"

// prepare is the visit that the others follow.
func (v *visitor) prepare() {
	if !strings.HasPrefix(v.kind, "fast") {
		return
	}
	c, success, err := edgetest.DialInline(v.o, edgetest.Inline{Agent: phone, Renew: true, Bind: smInline})
	if err != nil {
		panic(err)
	}
	v.token = success.Child(stanza.NSFAST, "token").Attr("token")
	v.id = success.Child(stanza.NSBind2, "bound").Child(stanza.NSSM, "enabled").Attr("id")
	if v.held = c.Conn; v.kind == "fast+bind2" {
		v.part(c)
	}
}

func (v *visitor) part(c *edgetest.Client) {
	if err := c.Close(); err != nil {
		panic(err)
	}
}

// visit comes in once, and tells how long that took and what it took.
func (v *visitor) visit() (time.Duration, *far) {
	began := time.Now()
	var c *edgetest.Client
	var err error
	var f *far
	o := v.o
	o.Wrap = func(conn net.Conn) net.Conn {
		f = v.o.Wrap(conn).(*far)
		return f
	}
	in := edgetest.Inline{Agent: phone, Token: v.token}
	switch v.kind {
	case "tls-alone":
		var conn net.Conn
		if conn, err = net.Dial("tcp", o.Address); err == nil {
			t := tls.Client(o.Wrap(conn), o.TLS)
			err = t.Handshake()
			defer t.Close()
		}
	case "scram":
		c, err = edgetest.Dial(o)
	case "scram+bind2", "fast+bind2":
		c, _, err = edgetest.DialInline(o, in)
	case "fast+resume":
		in.NoBind, in.More = true, "<resume xmlns='urn:xmpp:sm:3' h='0' previd='"+v.id+"'/>"
		var success *stanza.Element
		if c, success, err = edgetest.DialInline(o, in); err == nil && success.Child(stanza.NSSM, "resumed") == nil {
			err = fmt.Errorf("not resumed: %s", success.Bytes())
		}
	}
	took := time.Since(began)
	if err != nil {
		panic(err)
	}
	got := f.so()
	switch {
	case v.kind == "fast+resume":
		v.held.Close()
		v.held = c.Conn
	case c != nil:
		v.part(c)
	}
	return took, got
}

// far is a connection to where answers are late, which counts.
type far struct {
	net.Conn
	late  chan late
	rest  []byte
	mu    sync.Mutex
	wrote bool
	waits int // times that an answer was waited for
	in    int // bytes
	out   int
}

type late struct {
	at time.Time
	b  []byte
}

func newFar(c net.Conn, rtt time.Duration) *far {
	f := &far{Conn: c}
	if rtt == 0 {
		return f
	}
	f.late = make(chan late, 64)
	go func() {
		defer close(f.late)
		for {
			b := make([]byte, 4096)
			n, err := c.Read(b)
			if n > 0 {
				f.late <- late{time.Now().Add(rtt), b[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	return f
}

func (f *far) Read(b []byte) (int, error) {
	n, err := f.read(b)
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 && f.wrote {
		f.waits++
		f.wrote = false
	}
	f.in += n
	return n, err
}

func (f *far) read(b []byte) (int, error) {
	if f.late == nil {
		return f.Conn.Read(b)
	}
	if len(f.rest) == 0 {
		l, ok := <-f.late
		if !ok {
			return 0, net.ErrClosed
		}
		time.Sleep(time.Until(l.at))
		f.rest = l.b
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *far) Write(b []byte) (int, error) {
	f.mu.Lock()
	f.wrote = true
	f.out += len(b)
	f.mu.Unlock()
	return f.Conn.Write(b)
}

// so gives what was counted so far.
func (f *far) so() *far {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &far{waits: f.waits, in: f.in, out: f.out}
}
