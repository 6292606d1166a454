package edge

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// counted is a connection that notes each write.
type counted struct {
	net.Conn
	writes chan string
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes <- string(b)
	return len(b), nil
}
func (c *counted) Close() error                     { return nil }
func (c *counted) SetWriteDeadline(time.Time) error { return nil }
func (c *counted) SetReadDeadline(time.Time) error  { return nil }

func newOutbound(conn net.Conn, soft, hard int) (*outbound, chan bool) {
	broke := make(chan bool, 1)
	return &outbound{
		conn: conn, onBreak: func(overflowed bool) { broke <- overflowed },
		limits: &outboundLimits{soft: soft, hard: hard, timeout: 20 * time.Second, metrics: newMetrics(nil), overflow: []byte("<overflow/>")},
	}, broke
}

func text(s string) func([]byte) []byte { return func(dst []byte) []byte { return append(dst, s...) } }

func TestABatchIsOneWrite(t *testing.T) {
	c := &counted{writes: make(chan string, 10)}
	o, _ := newOutbound(c, 1000, 2000)
	p := stanza.PreparePresence(stanza.Header{From: "a@b/c"}, stanza.PresenceData{})
	told := make(chan bool, 1)
	var b batch
	o.write(&b, text("<1/>"), nil)
	o.presence(&b, "a@b/c", &p, "d@e")
	o.write(&b, text("<2/>"), func(written bool) { told <- written })
	if len(c.writes) > 0 {
		t.Error("written before the batch ended")
	}
	b.flush()
	if got := <-c.writes; got != "<1/><presence from='a@b/c' to='d@e'/><2/>" {
		t.Error(got)
	}
	if !<-told {
		t.Error("written, but told otherwise")
	}
}

// stuck is a pair of real sockets of which the client reads nothing; small is
// what fits between them.
func stuck(t *testing.T) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server, client = s.(*net.TCPConn), c.(*net.TCPConn)
	_ = server.SetWriteBuffer(4096)
	_ = client.SetReadBuffer(4096)
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

func TestASlowReaderGetsTheNewestPresence(t *testing.T) {
	server, client := stuck(t)
	const soft = 64 << 10
	o, _ := newOutbound(server, soft, 4<<20)
	const names, versions = 20, 500
	for v := range versions {
		for n := range names {
			full := fmt.Sprintf("user%d@example.com/r", n)
			p := stanza.PreparePresence(stanza.Header{From: full}, stanza.PresenceData{Status: fmt.Sprintf("%d %s", v, strings.Repeat("x", 200))})
			o.presence(nil, full, &p, "me@example.com")
		}
		o.mu.Lock()
		waits := len(o.buf) + len(o.late)*lateCost
		o.mu.Unlock()
		if waits > soft+names*lateCost+1000 {
			t.Fatalf("%d bytes wait", waits)
		}
	}
	d := stanza.NewDecoder(io.MultiReader(strings.NewReader("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"), client), stanza.Limits{})
	if _, err := d.Open(); err != nil {
		t.Fatal(err)
	}
	last := make(map[string]int)
	count, newest := 0, 0
	for {
		if newest == names {
			// All is there: what follows is the end alone, which may take no longer than partTime.
			newest = 0
			o.close([]byte("</stream:stream>"))
		}
		st, err := d.Next()
		if err == stanza.ErrStreamClosed {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := st.Presence()
		if err != nil {
			t.Fatal(err)
		}
		var v int
		fmt.Sscan(p.Status, &v)
		if was, ok := last[st.From]; ok && v <= was {
			t.Fatalf("%s: %d after %d", st.From, v, was)
		}
		last[st.From] = v
		count++
		if v == versions-1 {
			newest++
		}
	}
	for n := range names {
		if full := fmt.Sprintf("user%d@example.com/r", n); last[full] != versions-1 {
			t.Errorf("%s ends with %d", full, last[full])
		}
	}
	if count >= names*versions {
		t.Errorf("nothing was conflated: %d", count)
	}
}

func TestATooSlowReaderIsEnded(t *testing.T) {
	server, client := stuck(t)
	o, broke := newOutbound(server, 1<<10, 64<<10)
	untold := make(chan bool, 1)
	big := strings.Repeat("x", 32<<10)
	for i := 0; o.write(nil, text(big), func(written bool) {
		if !written {
			select {
			case untold <- written:
			default:
			}
		}
	}); i++ {
		if i > 10000 {
			t.Fatal("no bound")
		}
	}
	if !<-broke {
		t.Error("not told that it overflowed")
	}
	<-untold
	o.readerGone()
	if _, err := io.Copy(io.Discard, client); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

// links that lead nowhere.
type noLinks struct{ followed, unfollowed int }

func (l *noLinks) Follow(int32, string, string)   { l.followed++ }
func (l *noLinks) Unfollow(int32, string, string) { l.unfollowed++ }
func (l *noLinks) SendIq(*wire.Iq) bool           { return false }
func (l *noLinks) Serve([]*wire.Component)        {}

// friendsOf gives a partition in which account is followed by n admitted
// accounts with one available session each.
func friendsOf(account string, n int) (*followed, *noLinks, []*counted) {
	links := &noLinks{}
	f := &followed{links: links, metrics: newMetrics(nil), accounts: make(map[string]*watched)}
	var conns []*counted
	for i := range n {
		c := &counted{writes: make(chan string, 100)}
		conns = append(conns, c)
		l := &local{bare: fmt.Sprintf("friend%d@example.com", i)}
		l.policyKnown.Store(true)
		s := &session{local: l, resource: "r"}
		o, _ := newOutbound(c, 1<<16, 1<<20)
		s.out.conn, s.out.limits, s.out.onBreak = o.conn, o.limits, o.onBreak
		s.available.Store(true)
		l.list.Store(&[]*session{s})
		f.follow(account, l)
		f.admission(new(batch), &wire.Admission{Account: account, Follower: l.bare, Offset: 0, Admitted: true})
	}
	return f, links, conns
}

func available(version int64, show string) *wire.Presence {
	return &wire.Presence{Account: "a@example.com", Resource: "r", Version: version, Available: true, Presence: &event.Presence{Show: show}}
}

func TestPresenceIsEncodedOnce(t *testing.T) {
	f, _, conns := friendsOf("a@example.com", 50)
	var b batch
	f.presence(&b, available(1, ""))
	b.flush()
	for i, c := range conns {
		if got, want := <-c.writes, fmt.Sprintf("<presence from='a@example.com/r' to='friend%d@example.com'/>", i); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if r := f.accounts["a@example.com"].registers[0]; r.stanza == nil || r.stanza.Len() != len("<presence from='a@example.com/r'/>") {
		t.Error("the encoding is not kept")
	}
}

// Whatever the order, the newest wins.
func TestRegisters(t *testing.T) {
	gone := func(version int64) *wire.Presence {
		return &wire.Presence{Account: "a@example.com", Resource: "r", Version: version}
	}
	for _, c := range []struct {
		name string
		do   func(f *followed, b *batch)
		want string
	}{
		{"an older presence is dropped", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.presence(b, available(4, "away"))
		}, "dnd"},
		{"a copy is dropped", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.presence(b, available(5, "dnd"))
		}, "dnd"},
		{"an end that is newer is remembered", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.presence(b, gone(7))
			f.presence(b, available(6, "away"))
		}, "dnd unavailable"},
		{"absence in an answer takes offline what is older", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.mu.Unlock()
			f.answer(b, &wire.Answer{Accounts: []string{"a@example.com"}, NextOffset: 6})
			f.mu.Lock()
		}, "dnd unavailable"},
		{"absence in an answer says nothing of what is newer", func(f *followed, b *batch) {
			f.presence(b, available(6, "dnd"))
			f.mu.Unlock()
			f.answer(b, &wire.Answer{Accounts: []string{"a@example.com"}, NextOffset: 6})
			f.mu.Lock()
		}, "dnd"},
		{"an answer without the account says nothing of it", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.mu.Unlock()
			f.answer(b, &wire.Answer{Accounts: []string{"x@example.com"}, NextOffset: 9})
			f.mu.Lock()
		}, "dnd"},
		{"a revocation hides, and nothing more is seen", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.admission(b, &wire.Admission{Account: "a@example.com", Follower: "friend0@example.com", Offset: 6})
			f.presence(b, available(7, "away"))
		}, "dnd unavailable"},
		{"a revocation without a follower is for all", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.admission(b, &wire.Admission{Account: "a@example.com", Offset: 6})
			f.presence(b, available(7, "away"))
		}, "dnd unavailable"},
		{"an older grant is dropped, a newer one shows", func(f *followed, b *batch) {
			f.presence(b, available(5, "dnd"))
			f.admission(b, &wire.Admission{Account: "a@example.com", Follower: "friend0@example.com", Offset: 6})
			f.admission(b, &wire.Admission{Account: "a@example.com", Follower: "friend0@example.com", Offset: 5, Admitted: true})
			f.presence(b, available(7, "away"))
			f.admission(b, &wire.Admission{Account: "a@example.com", Follower: "friend0@example.com", Offset: 8, Admitted: true})
		}, "dnd unavailable away"},
		{"directed presence that is newer is not undone", func(f *followed, b *batch) {
			f.accounts["a@example.com"].followers["friend0@example.com"].local.noteDirected(directedTo{"a@example.com/r", ""}, directed{9, 1, true})
			f.presence(b, available(5, "dnd"))
			f.presence(b, available(10, "away"))
		}, "away"},
		{"what was directed to another resource undoes nothing", func(f *followed, b *batch) {
			f.accounts["a@example.com"].followers["friend0@example.com"].local.noteDirected(directedTo{"a@example.com/r", "other"}, directed{9, 1, true})
			f.presence(b, available(5, "dnd"))
		}, "dnd"},
		{"a grant shows what was broadcast before it, unless something was directed since", func(f *followed, b *batch) {
			fo := f.accounts["a@example.com"].followers["friend0@example.com"]
			f.admission(b, &wire.Admission{Account: "a@example.com", Offset: 4})
			f.presence(b, available(5, "dnd"))
			fo.local.noteDirected(directedTo{"a@example.com/r", ""}, directed{6, 1, true})
			f.admission(b, &wire.Admission{Account: "a@example.com", Offset: 7, Admitted: true})
			f.admission(b, &wire.Admission{Account: "a@example.com", Offset: 8})
			fo.local.noteDirected(directedTo{"a@example.com/r", ""}, directed{10, 2, true})
			f.admission(b, &wire.Admission{Account: "a@example.com", Offset: 9, Admitted: true})
		}, "dnd unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _, conns := friendsOf("a@example.com", 1)
			var b batch
			f.mu.Lock()
			c.do(f, &b)
			f.mu.Unlock()
			b.flush()
			var said []string
			for _, s := range strings.SplitAfter(<-conns[0].writes, "</presence>") {
				for _, word := range []string{"unavailable", "dnd", "away"} {
					if strings.Contains(s, word) {
						said = append(said, word)
					}
				}
			}
			got := strings.Join(said, " ")
			if got == "unavailable dnd" { // <presence type='unavailable'/> has no end tag to split at
				got = "dnd unavailable"
			}
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestInterestFollowsTheFollowers(t *testing.T) {
	f, links, _ := friendsOf("a@example.com", 3)
	if links.followed != 3 || len(f.interest()) != 1 || len(f.interest()[0].GetFollowers()) != 3 {
		t.Error(links.followed, f.interest())
	}
	w := f.accounts["a@example.com"]
	var all []*local
	for _, fo := range w.followers {
		all = append(all, fo.local)
	}
	// A newer local of the same account takes over: the older one's end is nothing.
	heir := &local{bare: all[0].bare}
	heir.policyKnown.Store(true)
	f.follow("a@example.com", heir)
	f.unfollow(new(batch), "a@example.com", all[0])
	if links.unfollowed != 0 || len(w.followers) != 3 {
		t.Error("the heir lost its interest")
	}
	for _, l := range append(all[1:], heir) {
		f.unfollow(new(batch), "a@example.com", l)
	}
	if links.unfollowed != 3 || len(f.interest()) != 0 {
		t.Error(links.unfollowed, f.interest())
	}
}
