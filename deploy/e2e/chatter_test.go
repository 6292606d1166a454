package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A chatter is a client that writes messages to its peers, as fast as they are
// acknowledged (XEP-0198), and reads what it gets. When its connection breaks
// it comes back, by turns on another edge; it resumes its stream or, if the
// server does not know it any more, sends again what was not acknowledged,
// each with the origin id that it had (XEP-0359).
type chatter struct {
	name  string
	dial  func(try int) (*edgetest.Client, error) // unbound
	peers []string                                // bare JIDs
	total int                                     // messages to write

	mu      sync.Mutex
	client  *edgetest.Client
	leaving bool
	previd  string
	unacked []string // stanzas, in order
	acked   int      // as the server last told, of this stream
	heard   int      // stanzas of this stream
	written int
	got     map[string]receipts // by body
	last    map[string]int      // highest number by sender
	swapped []string            // messages that came after a later one of their sender
	resumed int
	anew    int // sessions begun

	done chan error
}

// receipts tell how one message came: how often under which stanza id.
type receipts map[string]int

// window is how many messages of one client are under way.
const window = 20

func (c *chatter) run() {
	var err error
	for try := 0; ; try++ {
		if err = c.visit(try); c.left() {
			break
		}
		if errors.Is(err, errRefused) {
			break
		}
		time.Sleep(20 * time.Millisecond) // as clients do, not to storm
	}
	c.done <- err
}

// errRefused is an answer that no chatter should get.
var errRefused = errors.New("refused")

// visit is one connection, from its beginning to its end.
func (c *chatter) visit(try int) error {
	client, err := c.dial(try)
	if err != nil {
		return err
	}
	defer client.Conn.Close()
	if err := c.begin(client); err != nil {
		return err
	}
	_ = client.Conn.SetDeadline(time.Time{})
	for {
		st, err := client.Next()
		if err != nil {
			return err
		}
		if err := c.take(client, st); err != nil {
			return err
		}
	}
}

// begin resumes the stream or makes a session.
func (c *chatter) begin(client *edgetest.Client) error {
	if c.previd != "" {
		if err := client.Send(fmt.Sprintf("<resume xmlns='%s' h='%d' previd='%s'/>", stanza.NSSM, c.heard, c.previd)); err != nil {
			return err
		}
		st, err := client.Next()
		if err != nil {
			return err
		}
		if st.Local == "resumed" {
			c.enter(client, &c.resumed)
			return c.settle(client, st.Attr("h"), true)
		}
		if h := st.Attr("h"); h != "" {
			if err := c.settle(client, h, false); err != nil {
				return err
			}
		}
		c.previd = ""
	}
	if err := client.Bind("chat"); err != nil {
		return err
	}
	if err := client.Send("<enable xmlns='" + stanza.NSSM + "' resume='true'/>"); err != nil {
		return err
	}
	for {
		st, err := client.Next()
		if err != nil {
			return err
		}
		if st.Local != "enabled" {
			continue // what waited is not for a stream that counts: it comes again
		}
		c.previd = st.ID
		break
	}
	c.heard, c.acked = 0, 0
	c.enter(client, &c.anew)
	c.mu.Lock()
	if len(c.unacked) == 0 || c.unacked[0] != "<presence/>" {
		c.unacked = append([]string{"<presence/>"}, c.unacked...)
	}
	c.mu.Unlock()
	return c.settle(client, "0", true)
}

// enter notes that client is the connection now.
func (c *chatter) enter(client *edgetest.Client, count *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.client = client
	*count++
	if c.leaving {
		client.Conn.Close()
	}
}

// settle forgets what the server has handled, and writes: everything that is
// not acknowledged if again is true, and new messages up to the window.
func (c *chatter) settle(client *edgetest.Client, h string, again bool) error {
	handled, err := strconv.Atoi(h)
	c.mu.Lock()
	n := handled - c.acked
	if err != nil || n < 0 || n > len(c.unacked) {
		c.mu.Unlock()
		return fmt.Errorf("%w: %s: h is %q after %d, with %d not acknowledged", errRefused, c.name, h, c.acked, len(c.unacked))
	}
	c.acked, c.unacked = handled, c.unacked[n:]
	var text strings.Builder
	if again {
		for _, s := range c.unacked {
			text.WriteString(s)
		}
	}
	for len(c.unacked) < window && c.written < c.total {
		id := fmt.Sprintf("%s-%d", c.name, c.written)
		s := fmt.Sprintf("<message type='chat' id='%s' to='%s'><body>%s</body><origin-id xmlns='urn:xmpp:sid:0' id='%[1]s'/></message>",
			id, c.peers[c.written%len(c.peers)], id)
		c.written++
		c.unacked = append(c.unacked, s)
		text.WriteString(s)
	}
	c.mu.Unlock()
	if text.Len() == 0 {
		return nil
	}
	text.WriteString("<r xmlns='" + stanza.NSSM + "'/>")
	return client.Send(text.String())
}

func (c *chatter) take(client *edgetest.Client, st *stanza.Stanza) error {
	switch {
	case st.Is(stanza.NSSM, "a"):
		return c.settle(client, st.Attr("h"), false)
	case st.Is(stanza.NSSM, "r"):
		return client.Send(fmt.Sprintf("<a xmlns='%s' h='%d'/>", stanza.NSSM, c.heard))
	case st.Is(stanza.NSStreams, "error"):
		return nil // the end follows
	}
	c.heard++
	if st.Kind != stanza.Message {
		return nil
	}
	if st.Type == "error" {
		return fmt.Errorf("%w: %s: %s", errRefused, c.name, edgetest.Text(st))
	}
	id := ""
	if said, ok := stanza.Find(st.Inner, "urn:xmpp:sid:0", "stanza-id"); ok {
		if e, err := said.Element(); err == nil {
			id = e.Attr("id")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	body := st.Message().Body
	if c.got[body] == nil {
		c.got[body] = make(receipts)
		sender, number, _ := strings.Cut(body, "-")
		n, _ := strconv.Atoi(number)
		if n < c.last[sender] {
			c.swapped = append(c.swapped, fmt.Sprintf("%s after %d", body, c.last[sender]))
		}
		c.last[sender] = max(c.last[sender], n)
	}
	c.got[body][id]++
	return nil
}

// finished tells that all is written and acknowledged.
func (c *chatter) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written == c.total && len(c.unacked) == 0
}

// progress tells how many messages were written, and how many different ones came.
func (c *chatter) progress() (written, got int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written, len(c.got)
}

func (c *chatter) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	if c.client != nil {
		c.client.Conn.Close()
	}
}

func (c *chatter) left() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving
}
