package stanza

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestAppendFrame(t *testing.T) {
	header := string(AppendStreamHeader(nil, StreamHeader{From: "example.com", To: "a&b", ID: "1", Version: "1.0", Lang: "en"}))
	for _, c := range []struct {
		in   string
		want []string
	}{
		{header, []string{"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.com' to='a&amp;b' id='1' version='1.0' xml:lang='en'/>"}},
		{header + "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>", []string{
			"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.com' to='a&amp;b' id='1' version='1.0' xml:lang='en'/>",
			"<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
		}},
		{"<presence/> <presence from='a'/>", []string{"<presence xmlns='jabber:client'/>", "", "<presence xmlns='jabber:client' from='a'/>"}},
		{"<message><body>a</body><x xmlns='y'><x/></x></message><a xmlns='urn:xmpp:sm:3' h='1'/>", []string{
			"<message xmlns='jabber:client'><body>a</body><x xmlns='y'><x/></x></message>", "<a xmlns='urn:xmpp:sm:3' h='1'/>",
		}},
		{string((&StreamError{Condition: Reset}).AppendTo(nil)) + StreamEnd, []string{
			"<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
			"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
		}},
	} {
		rest := []byte(c.in)
		var got []string
		for len(rest) > 0 {
			var frame []byte
			var err error
			if frame, _, rest, err = AppendFrame(nil, rest); err != nil {
				t.Fatalf("%s: %v", c.in, err)
			}
			got = append(got, string(frame))
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", c.want) {
			t.Errorf("%s\n got %q\nwant %q", c.in, got, c.want)
		}
	}
	for _, bad := range []string{"<", "<a", "<a>", "a<b/>", "</a>", "<stream:stream ", "<?xml"} {
		if frame, kind, _, err := AppendFrame(nil, []byte(bad)); !errors.Is(err, errCanonical) {
			t.Errorf("%q: %q %d %v", bad, frame, kind, err)
		}
	}
}

// unframed feeds messages in pieces of n bytes.
func unframed(n int, restart bool, messages ...[]byte) (stream []byte, err error) {
	var u Unframer
	for _, m := range messages {
		u.Restart = u.Restart || restart
		u.Begin()
		for len(m) > 0 {
			k := min(n, len(m))
			out, err := u.Feed(m[:k])
			stream = append(stream, out...)
			if err != nil {
				return stream, err
			}
			m = m[k:]
		}
		out, err := u.End()
		stream = append(stream, out...)
		if err != nil {
			return stream, err
		}
	}
	return stream, nil
}

const framedOpen = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'/>"

func TestUnframer(t *testing.T) {
	header := string(AppendStreamHeader(nil, StreamHeader{To: "example.com", Version: "1.0"}))
	for _, c := range []struct {
		name     string
		messages []string
		want     string
	}{
		{"a prefix", []string{"<f:open xmlns:f='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'></f:open>"}, header},
		{"an XML declaration", []string{"<?xml version='1.0'?>\n" + framedOpen, "<?xml version='1.0'?><a/>"}, header + "<a/>"},
		{"the end", []string{framedOpen, "<a/>", framedEnd}, header + "<a/></stream:stream>"},
		{"> in a value", []string{framedOpen, `<a b=">" c='/>'><d e='"'/></a>`}, header + `<a b=">" c='/>'><d e='"'/></a>`},
		{"CDATA", []string{framedOpen, "<a><![CDATA[</a><b>]]]]]]><c/></a>"}, header + "<a><![CDATA[</a><b>]]]]]]><c/></a>"},
		{"an opening of another kind", []string{framedOpen, "<opening/>"}, header + "<opening/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var messages [][]byte
			for _, m := range c.messages {
				messages = append(messages, []byte(m))
			}
			for _, n := range []int{1, 3, 512} {
				got, err := unframed(n, false, messages...)
				if err != nil || string(got) != c.want {
					t.Errorf("in pieces of %d: %q %v, want %q", n, got, err, c.want)
				}
			}
		})
	}
}

// A message that is taken is one element for the Reader behind, or an error
// there: it never runs into the next. And what the Reader takes is printed as
// a frame that means the same.
func FuzzUnframer(f *testing.F) {
	for _, s := range []string{
		framedOpen, framedEnd, "<presence/>", "<message xmlns='jabber:client' to='a@b'><body>x</body></message>", "<a b='>'><![CDATA[]]]]></a>",
		"<a/><b/>", " <a/>", "<a>", "</a>", "<!-- -->", "<?xml version='1.0'?><a/>", "<a:open xmlns:a='b'/>", "<a/ ><b></b>", "<a b='/'/>", "<a></a/>", "<a></a b='>'>",
	} {
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, message []byte, n int) {
		n = max(1, n)
		stream, err := unframed(n, true, []byte(framedOpen), message)
		if whole, err2 := unframed(len(message)+1, true, []byte(framedOpen), message); (err == nil) != (err2 == nil) || err == nil && !bytes.Equal(stream, whole) {
			t.Fatalf("in pieces of %d: %q %v, at once: %q %v", n, stream, err, whole, err2)
		}
		var bad *StreamError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("error %v", err)
			}
			return
		}
		d := NewDecoder(bytes.NewReader(stream), Limits{})
		if _, err := d.Open(); err != nil {
			t.Fatal(err)
		}
		st, err := d.Next()
		if errors.As(err, &bad) || errors.Is(err, ErrStreamClosed) {
			return
		}
		if err != nil {
			t.Fatalf("%q runs on: %v", message, err)
		}
		if _, err := d.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("%q is more than one element: %v", message, err)
		}
		if st.Is(NSStreams, "stream") {
			return // a stream's header
		}
		e, err := st.Element()
		if err != nil {
			t.Fatal(err)
		}
		frame, kind, rest, err := AppendFrame(nil, e.Bytes())
		if err != nil || kind != FrameElement || len(rest) > 0 {
			t.Fatalf("%q: frame %q %d %q %v", message, frame, kind, rest, err)
		}
		again, err := unframed(n, true, []byte(framedOpen), frame)
		if err != nil && (st.Local == "open" || st.Local == "close") {
			return
		}
		if err != nil || !bytes.HasSuffix(again, frame) {
			t.Fatalf("%q: frame %q is not taken: %v", message, frame, err)
		}
	})
}
