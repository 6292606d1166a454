package stanza

import (
	"bytes"
	"encoding/xml"
	"io"
	"testing"
)

const (
	benchPresence = "<presence id='p-1234567'><show>away</show><status>gone fishing &amp; back at noon</status><priority>5</priority>" +
		"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://example.org/client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>" +
		"<x xmlns='vcard-temp:x:update'><photo>b4fd6aa1f5e7c0b6e2a9e7b1fbb0a4c5</photo></x></presence>"
	benchMessage = "<message to='romeo@example.org' type='chat' id='m-1234567' xml:lang='en'><body>Wherefore art thou, Romeo?</body>" +
		"<thread>0e3141cd80894871a68e6fe6b1ec56fa</thread><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>"
)

// loop gives the same bytes for ever.
type loop struct {
	b  []byte
	at int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.b[l.at:])
	l.at = (l.at + n) % len(l.b)
	return n, nil
}

func reader(b *testing.B, stanza string) *Decoder {
	b.ReportAllocs()
	b.SetBytes(int64(len(stanza)))
	d := NewDecoder(io.MultiReader(bytes.NewReader([]byte(header)), &loop{b: []byte(stanza)}), Limits{})
	if _, err := d.Open(); err != nil {
		b.Fatal(err)
	}
	return d
}

func BenchmarkReadPresence(b *testing.B) {
	d := reader(b, benchPresence)
	for b.Loop() {
		s, err := d.Next()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Presence(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadMessage(b *testing.B) {
	d := reader(b, benchMessage)
	for b.Loop() {
		s, err := d.Next()
		if err != nil {
			b.Fatal(err)
		}
		if s.Message().Body == "" {
			b.Fatal("no body")
		}
	}
}

// The same presence by the tokens of encoding/xml, to compare with.
func BenchmarkReadPresenceEncodingXML(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(benchPresence)))
	d := xml.NewDecoder(&loop{b: []byte(benchPresence)})
	depth := 0
	for b.Loop() {
		for {
			t, err := d.Token()
			if err != nil {
				b.Fatal(err)
			}
			switch t.(type) {
			case xml.StartElement:
				depth++
			case xml.EndElement:
				depth--
			}
			if depth == 0 {
				break
			}
		}
	}
}

func BenchmarkPreparedPresence(b *testing.B) {
	b.ReportAllocs()
	p := PreparePresence(Header{From: "juliet@example.org/balcony"}, PresenceData{Show: "away", Status: "gone fishing", Priority: 5, Payload: []byte(benchPresence[140:])})
	var dst []byte
	for b.Loop() {
		dst = p.AppendTo(dst[:0], "romeo@example.org")
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	b.ReportAllocs()
	inner := []byte("<body>Wherefore art thou, Romeo?</body><thread>0e3141cd80894871a68e6fe6b1ec56fa</thread>")
	var dst, extra []byte
	for b.Loop() {
		extra = AppendStanzaID(extra[:0], "romeo@example.org", "123456789")
		dst = AppendMessage(dst[:0], Header{From: "juliet@example.org/balcony", To: "romeo@example.org", Type: "chat", ID: "m-1"}, inner, extra)
	}
}
