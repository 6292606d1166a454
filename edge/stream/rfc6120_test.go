package stream

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// with gives a stream header with other attributes.
func with(attrs string) string {
	return strings.Replace(clientHeader, "to='example.org' version='1.0'", "to='example.org'"+attrs, 1)
}

// header opens a stream with these attributes and gives the server's.
func (c *client) header(attrs string) stanza.StreamHeader {
	c.t.Helper()
	c.send(with(attrs))
	c.d.Restart()
	h, err := c.d.Open()
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}

// The server's header comes after an XML declaration of its version alone.
func TestRFC6120_11_5_Declaration(t *testing.T) {
	o, _ := options()
	c := dial(t, t.Context(), o)
	c.send(clientHeader)
	got := make([]byte, len("<?xml version='1.0'?><stream:stream "))
	if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != "<?xml version='1.0'?><stream:stream " {
		t.Fatalf("%q, %v", got, err)
	}
}

// Rules of RFC 6120 for a stream's beginning, by section.
func TestRFC6120Headers(t *testing.T) {
	o, _ := options()
	o.Direct = true
	connect := func(t *testing.T) *client {
		c := dial(t, t.Context(), o)
		c.handshake(0)
		return c
	}
	for _, x := range []struct{ name, attrs, to, lang string }{
		{"4.7.1 no from, no to", " version='1.0'", "", "en"},
		{"4.7.2 to is the bare JID of from", " from='juliet@example.org' version='1.0'", "juliet@example.org", "en"},
		{"4.7.2 of a full JID, too", " from='juliet@example.org/balcony' version='1.0'", "juliet@example.org", "en"},
		{"4.7.3 an id of the client's", " id='mine' version='1.0'", "", "en"},
		{"4.7.4 the client's language", " xml:lang='en-GB' version='1.0'", "", "en-GB"},
		{"4.7.4 a language that the server has not", " xml:lang='it' version='1.0'", "", "en"},
		{"4.7.5 a higher minor version", " version='1.10'", "", "en"},
		{"4.7.5 a higher major version", " version='11.0'", "", "en"},
		{"4.7.5 leading zeros", " version='01.00'", "", "en"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := connect(t)
			h := c.header(x.attrs)
			if h.To != x.to || h.Lang != x.lang || h.From != "example.org" || h.Version != "1.0" || len(h.ID) < 16 {
				t.Fatalf("%+v", h)
			}
			c.next("features")
		})
	}
	for _, x := range []struct {
		name, attrs string
		want        stanza.StreamCondition
	}{
		{"4.7.5 a version that is none", " version='one'", stanza.UnsupportedVersion},
		{"4.9.3.9 from another domain", " from='juliet@example.com' version='1.0'", stanza.InvalidFrom},
		{"4.9.3.9 from no JID", " from='@@' version='1.0'", stanza.InvalidFrom},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := connect(t)
			if h := c.header(x.attrs); h.From != "example.org" || h.ID == "" {
				t.Fatalf("%+v", h) // 4.9.1.2: the header comes first
			}
			c.wantStreamError(x.want)
		})
	}
	for _, x := range []struct {
		name, from string
		want       stanza.StreamCondition // empty: goes on
	}{
		{"4.9.3.9 from whom it has not authenticated as", "romeo@example.org", stanza.InvalidFrom},
		{"4.9.3.9 from the domain, authenticated", "example.org", stanza.InvalidFrom},
		{"4.9.3.9 from itself, spelled otherwise", "Juliet@EXAMPLE.org/balcony", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := connect(t)
			first := c.header(" version='1.0'")
			c.next("features")
			c.ask(auth("PLAIN", plain), "success")
			h := c.header(" from='" + x.from + "' version='1.0'")
			if h.ID == first.ID || len(h.ID) < 16 {
				t.Fatal("4.3.3, 4.7.3: the new stream's id is the old one's")
			}
			if x.want != "" {
				c.wantStreamError(x.want)
			} else if f := c.next("features"); f.Child(stanza.NSSASL, "mechanisms") != nil || f.Child(stanza.NSBind, "bind") == nil {
				t.Fatalf("6.4.6, 7.4: %s", f.Bytes())
			}
		})
	}
}

func TestRFC6120STARTTLS(t *testing.T) {
	const starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	t.Run("5.4.2.2 TLS within TLS fails, and the stream is closed", func(t *testing.T) {
		o, _ := options()
		c := dial(t, t.Context(), o)
		if f := c.startTLS(0); f.Child(stanza.NSTLS, "starttls") != nil {
			t.Fatalf("%s", f.Bytes())
		}
		if e := c.ask(starttls, "failure"); e.Space != stanza.NSTLS {
			t.Fatalf("%s", e.Bytes())
		}
		c.wantStreamError("")
	})
	// Wherever the reader's buffer ends: what is read ahead of it counts, too.
	for _, size := range []int{512, 1024, 2048} {
		t.Run(fmt.Sprint("5.4.3.3 bytes after starttls, ", size), func(t *testing.T) {
			o, _ := options()
			c := dial(t, t.Context(), o)
			c.send(clientHeader + strings.Repeat(" ", size-len(clientHeader)-len(starttls)) + starttls + "<message/>")
			if _, err := c.d.Open(); err != nil {
				t.Fatal(err)
			}
			c.wantStreamError(stanza.PolicyViolation)
		})
	}
	t.Run("5.4.3.3 what was said in the clear is forgotten", func(t *testing.T) {
		o, _ := options2()
		c := dial(t, t.Context(), o)
		first := c.header(" from='romeo@example.org' xml:lang='it' version='1.0'")
		c.next("features")
		c.ask(starttls, "proceed")
		c.handshake(0)
		h := c.header(" version='1.0'")
		if h.To != "" || h.Lang != "en" || h.ID == first.ID {
			t.Fatalf("%+v", h)
		}
		c.next("features")
		c.ask(ask2("PLAIN", plain, ""), "success")
	})
	t.Run("5.3.1 where it is required nothing else is offered", func(t *testing.T) {
		o, _ := options2()
		c := dial(t, t.Context(), o)
		if f := c.open(); len(f.Children) != 1 || f.Child(stanza.NSTLS, "starttls").Child(stanza.NSTLS, "required") == nil {
			t.Fatalf("%s", f.Bytes())
		}
	})
}
