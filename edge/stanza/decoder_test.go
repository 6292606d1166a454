package stanza

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const header = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='urn:x'>"

// read opens a stream and reads one element, byte by byte and at once.
func read(t *testing.T, xml string, l Limits) (*Stanza, error) {
	t.Helper()
	d := NewDecoder(strings.NewReader(header+xml), l)
	if _, err := d.Open(); err != nil {
		t.Fatal(err)
	}
	s, err := d.Next()
	slow := NewDecoder(iotest.OneByteReader(strings.NewReader(header+xml)), l)
	if _, err := slow.Open(); err != nil {
		t.Fatal(err)
	}
	s2, err2 := slow.Next()
	if (err == nil) != (err2 == nil) || s != nil && (string(s.Inner) != string(s2.Inner) || s.Header != s2.Header) {
		t.Fatalf("byte by byte gave %v, %v; at once %v, %v", s2, err2, s, err)
	}
	return s, err
}

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"empty element", "<message><body></body></message>", "<body/>"},
		{"empty stanza", "<message/>", ""},
		{"prefix resolved", "<message><x:a><x:b/><body/></x:a></message>", "<a xmlns='urn:x'><b/><body xmlns='jabber:client'/></a>"},
		{"prefix declared on the stanza", "<message xmlns:y='urn:y'><y:a y:b='1' y:c='2'/></message>", "<a xmlns='urn:y' xmlns:y='urn:y' y:b='1' y:c='2'/>"},
		{"default namespace", `<message><c xmlns="urn:c" ver="a'b&quot;"><d xmlns=""/></c></message>`, `<c xmlns='urn:c' ver='a&apos;b"'><d xmlns=''/></c>`},
		{"declared again without need", "<message><c xmlns='urn:c'><d xmlns='urn:c'/></c></message>", "<c xmlns='urn:c'><d/></c>"},
		{"xml:lang", "<message><body xml:lang='de'>x</body></message>", "<body xml:lang='de'>x</body>"},
		{"cdata", "<message><body><![CDATA[a<b]]]>&amp;]]&gt;</body></message>", "<body>a&lt;b]&amp;]]&gt;</body>"},
		{"empty cdata", "<message><body><![CDATA[]]></body></message>", "<body/>"},
		{"references", "<message><body>&#65;&#x1F600;&#xD;&lt;&quot;</body></message>", "<body>A\U0001F600&#xD;&lt;\"</body>"},
		{"line ends", "<message><body a='x\r\ny\tz&#10;'>x\r\ny\rz</body></message>", "<body a='x y z&#xA;'>x\ny\nz</body>"},
		{"not ASCII", "<message><größe>ü€😀</größe></message>", "<größe>ü€😀</größe>"},
		{"mixed content", "<message><a xmlns='urn:h'>1<b>2</b>3</a></message>", "<a xmlns='urn:h'>1<b>2</b>3</a>"},
		{"spaces in tags", "<message ><body  a = '1'  ></body  ></message >", "<body a='1'/>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := read(t, c.in, Limits{})
			if err != nil || string(s.Inner) != c.want {
				t.Fatalf("got %v\n%s\nwant\n%s", err, s.Inner, c.want)
			}
			again, err := Canonical(s.Inner, Limits{})
			if err != nil || string(again) != string(s.Inner) {
				t.Fatalf("canonical XML changed: %v\n%s", err, again)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	deep := "<message>" + strings.Repeat("<a>", 70) + strings.Repeat("</a>", 70) + "</message>"
	for _, c := range []struct {
		name, in string
		want     StreamCondition
	}{
		{"comment", "<message><!-- x --></message>", RestrictedXML},
		{"comment between stanzas", "<!-- x -->", RestrictedXML},
		{"DTD", "<!DOCTYPE x>", RestrictedXML},
		{"processing instruction", "<message><?php x?></message>", RestrictedXML},
		{"processing instruction between stanzas", "<?x y?>", RestrictedXML},
		{"entity", "<message><body>&foo;</body></message>", RestrictedXML},
		{"entity in an attribute", "<message to='&foo;'/>", RestrictedXML},
		{"end tag does not match", "<message><a></b></message>", NotWellFormed},
		{"end tag of another prefix", "<message><x:a xmlns:y='urn:x'></y:a></message>", NotWellFormed},
		{"stray end tag", "</message>", NotWellFormed},
		{"attribute twice", "<message a='1' a='2'/>", NotWellFormed},
		{"attribute twice by namespace", "<message xmlns:y='urn:x' x:a='1' y:a='2'/>", NotWellFormed},
		{"attribute without quotes", "<message a=1/>", NotWellFormed},
		{"attributes without space", "<message a='1'b='2'/>", NotWellFormed},
		{"< in an attribute", "<message a='<'/>", NotWellFormed},
		{"bare ampersand", "<message><body>a & b</body></message>", NotWellFormed},
		{"]]> in text", "<message><body>]]></body></message>", NotWellFormed},
		{"control character", "<message><body>\x01</body></message>", NotWellFormed},
		{"reference to a control character", "<message><body>&#0;</body></message>", NotWellFormed},
		{"not UTF-8", "<message><body>\xff</body></message>", UnsupportedEncoding},
		{"surrogate", "<message><body>\xed\xa0\x80</body></message>", UnsupportedEncoding},
		{"overlong", "<message><body>\xc0\x80</body></message>", UnsupportedEncoding},
		{"name begins with a digit", "<1/>", NotWellFormed},
		{"two colons", "<a:b:c/>", NotWellFormed},
		{"prefix xmlns declared", "<message xmlns:xmlns='urn:x'/>", NotWellFormed},
		{"prefix undeclared", "<message xmlns:p=''/>", NotWellFormed},
		{"unknown prefix", "<message><p:a/></message>", BadNamespacePrefix},
		{"unknown prefix of an attribute", "<message p:a='1'/>", BadNamespacePrefix},
		{"prefix out of scope", "<message><a xmlns:p='urn:p'/><p:b/></message>", BadNamespacePrefix},
		{"text between stanzas", "hello", BadFormat},
		{"too deep", deep, PolicyViolation},
		{"too many attributes", "<message " + strings.Repeat("a='1' ", 65) + "/>", PolicyViolation},
		{"too large", "<message><body>" + strings.Repeat("x", 70<<10) + "</body></message>", PolicyViolation},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, c.in, Limits{})
			var serr *StreamError
			if !errors.As(err, &serr) || serr.Condition != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name, in string
		l        Limits
		ok       bool
	}{
		{"size just allowed", "<message a='123'/>", Limits{Bytes: 18}, true},
		{"one byte more", "<message a='1234'/>", Limits{Bytes: 18}, false},
		{"depth just allowed", "<message><a/></message>", Limits{Depth: 2}, true},
		{"one element deeper", "<message><a><b/></a></message>", Limits{Depth: 2}, false},
		{"attributes just allowed", "<message a='1' b='2'/>", Limits{Attrs: 2}, true},
		{"one attribute more", "<message a='1' b='2' c='3'/>", Limits{Attrs: 2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(strings.NewReader(header+c.in), Limits{})
			if _, err := d.Open(); err != nil {
				t.Fatal(err)
			}
			d.SetLimits(c.l)
			_, err := d.Next()
			var serr *StreamError
			if c.ok != (err == nil) || err != nil && (!errors.As(err, &serr) || serr.Condition != PolicyViolation) {
				t.Fatal(err)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	ok := func(attrs string) string { return "<stream:stream " + attrs + ">" }
	ns := "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	for _, c := range []struct {
		name, in string
		want     StreamCondition
	}{
		{"with a declaration", "<?xml version='1.0' encoding='UTF-8'?>\n" + ok(ns), ""},
		{"without", ok(ns), ""},
		{"standalone", `<?xml version="1.0" standalone="yes" ?>` + ok(ns), ""},
		{"another prefix", "<s:stream xmlns:s='http://etherx.jabber.org/streams'>", ""},
		{"another encoding", "<?xml version='1.0' encoding='latin1'?>" + ok(ns), UnsupportedEncoding},
		{"declaration without a version", "<?xml encoding='utf-8'?>" + ok(ns), NotWellFormed},
		{"DTD", "<!DOCTYPE lolz>" + ok(ns), RestrictedXML},
		{"comment", "<!-- -->" + ok(ns), RestrictedXML},
		{"processing instruction", "<?xml-stylesheet href='a'?>" + ok(ns), RestrictedXML},
		{"another namespace", "<stream:stream xmlns:stream='urn:x'>", InvalidNamespace},
		{"no namespace", "<stream>", InvalidNamespace},
		{"prefix unknown", "<stream:stream>", BadNamespacePrefix},
		{"another element", "<stream:features " + ns + ">", BadFormat},
		{"closed at once", "<stream:stream " + ns + "/>", NotWellFormed},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", NotWellFormed},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewDecoder(iotest.OneByteReader(strings.NewReader(c.in)), Limits{}).Open()
			var serr *StreamError
			if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &serr) || serr.Condition != c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestStream(t *testing.T) {
	d := NewDecoder(strings.NewReader(header+" \n <presence id='a&amp;b' to='x@y/z' from='q' type='probe' foo='bar'/> <a xmlns='urn:xmpp:sm:3' h='5'/></stream:stream>"), Limits{})
	h, err := d.Open()
	if err != nil || h.To != "example.org" || h.Version != "1.0" || h.Lang != "en" || h.Content != NSClient {
		t.Fatalf("%+v %v", h, err)
	}
	s, err := d.Next()
	if err != nil || s.Kind != Presence || s.Header != (Header{To: "x@y/z", From: "q", ID: "a&b", Type: "probe", Lang: "en"}) || s.Attr("foo") != "bar" {
		t.Fatalf("%+v %v", s, err)
	}
	s, err = d.Next()
	if err != nil || !s.Is(NSSM, "a") || s.Attr("h") != "5" || s.Kind != Other || s.Inner != nil {
		t.Fatalf("%+v %v", s, err)
	}
	for range 2 {
		if _, err = d.Next(); !errors.Is(err, ErrStreamClosed) {
			t.Fatal(err)
		}
	}
	d = NewDecoder(strings.NewReader(header+"<presence/> "), Limits{})
	if _, err := d.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := read(t, "<presence><show>", Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

// A burst borrows the large buffer; once it is over only the small one stays.
func TestIdleHoldsTheSmallBuffer(t *testing.T) {
	r, w := io.Pipe()
	d := NewDecoder(r, Limits{})
	go func() {
		io.WriteString(w, header)
		for range 50 {
			io.WriteString(w, strings.Repeat("<presence><status>"+strings.Repeat("x", 90)+"</status></presence>", 100))
		}
		w.Close()
	}()
	if _, err := d.Open(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		if _, err := d.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 5000 || d.large != nil || len(d.buf) != smallBuffer {
		t.Fatalf("%d stanzas, then a buffer of %d", n, len(d.buf))
	}
}
