package stanza

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// lenient tells whether encoding/xml takes raw as the inside of a message.
// It lets through what Namespaces in XML forbids, so only our acceptance
// implies its own.
func lenient(raw []byte) error {
	d := xml.NewDecoder(io.MultiReader(strings.NewReader("<m>"), bytes.NewReader(raw), strings.NewReader("</m>")))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"", "<body>x</body>", "<a xmlns='urn:a' b=\"c\"><d/>t<![CDATA[<]]]]></a>", "<x:a xmlns:x='urn:x' x:b='&#10;'/>", "&lt;&#x41;", "<a>\r\n\t</a >",
		"</message>", "<!-- -->", "<a b='1' b='2'/>", "]]>", "<größe/>", "<?x?>", "<a xml:lang='de'/>", "</message><message>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Canonical(raw, Limits{})
		if err != nil {
			var serr *StreamError
			if !errors.As(err, &serr) {
				t.Fatalf("%q: %v is no stream error", raw, err)
			}
			// What is refused although encoding/xml takes it must be one of
			// the things that XMPP forbids and XML does not, or that
			// encoding/xml does not check.
			if lenient(raw) == nil && serr.Condition == NotWellFormed && ascii(raw) && !mayBeStricter(raw) {
				t.Fatalf("%q: refused: %v", raw, err)
			}
			return
		}
		if ascii(raw) {
			if err := lenient(raw); err != nil {
				t.Fatalf("%q: accepted, but %v", raw, err)
			}
		}
		again, err := Canonical(got, Limits{Bytes: 1 << 20})
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("%q became %q became %q, %v", raw, got, again, err)
		}
		for c := range Children(got) {
			e, err := c.Element()
			if err != nil {
				t.Fatalf("%q: %v", c.Raw, err)
			}
			printed := e.AppendTo(nil)
			second, rest, err := parseElement(printed, NSClient, 0)
			if err != nil || len(rest) > 0 || !reflect.DeepEqual(e, second) {
				t.Fatalf("%q printed as %q", c.Raw, printed)
			}
			if _, err := Canonical(printed, Limits{Bytes: 1 << 20}); err != nil {
				t.Fatalf("%q printed as %q: %v", c.Raw, printed, err)
			}
		}
	})
}

// mayBeStricter tells whether raw may hold something that encoding/xml lets pass:
// attributes given twice or without space between, reserved declarations,
// odd names, a closing tag of ours.
func mayBeStricter(raw []byte) bool {
	return bytes.ContainsAny(raw, ":=&") || bytes.Contains(raw, []byte("</m"))
}

func genElement(depth int) *rapid.Generator[*Element] {
	return rapid.Custom(func(t *rapid.T) *Element {
		name := rapid.StringMatching(`[a-z_][a-z0-9._-]{0,6}`)
		text := rapid.StringOf(rapid.OneOf(rapid.RuneFrom([]rune("<>&'\" \t\n\r]ä€😀")), rapid.Rune()).Filter(func(r rune) bool { return isChar(r) && r != '\uFFFD' }))
		e := &Element{
			Space: rapid.SampledFrom([]string{NSClient, "urn:a", "urn:b'&<", ""}).Draw(t, "space"),
			Local: name.Draw(t, "local"), Text: text.Draw(t, "text"),
		}
		for i, n := range rapid.SliceOfNDistinct(name.Filter(func(s string) bool { return s != "xmlns" }), 0, 3, rapid.ID).Draw(t, "names") {
			space := []string{"", NSXML, "urn:attr"}[(i+len(n))%3]
			e.Attrs = append(e.Attrs, Attr{Space: space, Local: n, Value: text.Draw(t, "value")})
		}
		if depth > 0 {
			if c := rapid.SliceOfN(genElement(depth-1), 0, 3).Draw(t, "children"); len(c) > 0 {
				e.Children = c
			}
		}
		return e
	})
}

// What is built prints, reads, and prints to the same.
func TestElementProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genElement(2).Draw(t, "element")
		printed := e.Bytes()
		got, err := Canonical(printed, Limits{Bytes: 1 << 20})
		if err != nil || !bytes.Equal(got, printed) {
			t.Fatalf("%q read as %q, %v", printed, got, err)
		}
		for c := range Children(got) {
			if again, err := c.Element(); err != nil || !reflect.DeepEqual(again, e) {
				t.Fatalf("%q parsed as %+v, %v", printed, again, err)
			}
		}
	})
}
