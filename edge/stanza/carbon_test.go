package stanza

import (
	"bytes"
	"testing"
)

// A copy is canonical XML whatever is in it, and its message is what it was.
func TestAppendCarbon(t *testing.T) {
	h := Header{Type: "chat", ID: `a'<>&"`, From: "o'hara@x/<r>", To: "b@x", Lang: "en"}
	for _, inner := range []string{"", "<body>1 &lt; 2</body>", "text<x xmlns='urn:x'><y/></x>"} {
		for _, sent := range []bool{false, true} {
			name := map[bool]string{false: "received", true: "sent"}[sent]
			extra := AppendStanzaID(nil, "b@x", "i")
			all := AppendCarbon(nil, sent, h, []byte(inner), extra)
			if again, err := Canonical(all, Limits{}); err != nil || !bytes.Equal(again, all) {
				t.Errorf("%s is not canonical: %s %v", all, again, err)
			}
			c, ok := Find(all, NSCarbons, name)
			e, err := c.Element()
			if !ok || err != nil {
				t.Fatalf("%s: %v", all, err)
			}
			m := e.Child(NSForward, "forwarded").Child(NSClient, "message")
			if m.Attr("type") != h.Type || m.Attr("id") != h.ID || m.Attr("from") != h.From || m.Attr("to") != h.To || m.Lang() != h.Lang ||
				m.Child(NSStanzaID, "stanza-id") == nil || !bytes.Contains(all, []byte(">"+inner+string(extra)+"</message>")) {
				t.Errorf("%s", all)
			}
		}
	}
	if got := string(AppendCarbon(nil, true, Header{From: "a@x"}, nil, nil)); got != "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='a@x'/></forwarded></sent>" {
		t.Error(got)
	}
}
