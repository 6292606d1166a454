package stanza

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestPresence(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     PresenceData
		bad      bool
	}{
		{"empty", "<presence/>", PresenceData{}, false},
		{"all", "<presence><show>away</show><status>a&lt;b</status><priority> -5 </priority><c xmlns='urn:c'/></presence>",
			PresenceData{Show: "away", Status: "a<b", Priority: -5, Payload: []byte("<c xmlns='urn:c'/>")}, false},
		{"status in its own language", "<presence><status xml:lang='de'>hallo</status><status xml:lang='en'>hi</status></presence>",
			PresenceData{Status: "hi", Payload: []byte("<status xml:lang='de'>hallo</status>")}, false},
		{"lowest priority", "<presence><priority>-128</priority></presence>", PresenceData{Priority: -128}, false},
		{"highest priority", "<presence><priority>127</priority></presence>", PresenceData{Priority: 127}, false},
		{"priority too high", "<presence><priority>128</priority></presence>", PresenceData{}, true},
		{"priority too low", "<presence><priority>-129</priority></presence>", PresenceData{}, true},
		{"priority no number", "<presence><priority>x</priority></presence>", PresenceData{}, true},
		{"show unknown", "<presence><show>here</show></presence>", PresenceData{}, true},
		{"two shows", "<presence><show>away</show><show>xa</show></presence>", PresenceData{}, true},
		{"type unknown", "<presence type='x'/>", PresenceData{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := read(t, c.in, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Presence()
			var serr *Error
			if c.bad {
				if !errors.As(err, &serr) || serr.Condition != BadRequest {
					t.Fatal(err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%+v %v", got, err)
			}
			// What is printed parses to the same value.
			again, err := read(t, string(AppendPresence(nil, s.Header, got)), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if p, err := again.Presence(); err != nil || !reflect.DeepEqual(p, got) || again.Header != s.Header {
				t.Fatalf("%+v %v", p, err)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	s, err := read(t, "<message type='odd'><body xml:lang='de'>x</body><body>y</body><thread>t</thread><subject>s</subject></message>", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if m := s.Message(); m != (MessageData{Type: "normal", Body: "y", Subject: "s", Thread: "t", HasBody: true}) {
		t.Fatalf("%+v", m)
	}
}

func TestPayload(t *testing.T) {
	for in, ok := range map[string]bool{
		"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>":  true,
		"<iq type='result' id='1'/>":                                true,
		"<iq type='error' id='1'><a/><error/></iq>":                 true,
		"<iq type='get' id='1'/>":                                   false,
		"<iq type='set' id='1'><a/><b/></iq>":                       false,
		"<iq type='get'><a/></iq>":                                  false,
		"<iq id='1'><a/></iq>":                                      false,
		"<iq type='x' id='1'><a/></iq>":                             false,
		"<iq type='result' id='1'><a/><b/></iq>":                    false,
		"<iq type='set' id='1'> <q xmlns='urn:q'> <a/> </q>\n</iq>": true,
	} {
		s, err := read(t, in, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Payload(); (err == nil) != ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestErrors(t *testing.T) {
	e := &Error{Type: Modify, Condition: BadRequest, Text: "a < b", App: []byte("<x xmlns='urn:x'/>"), By: "example.org"}
	b := AppendError(nil, IQ, Header{To: "a@b", ID: "1"}, e)
	s, err := read(t, string(b), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, ok := ParseError(s.Inner)
	if !ok || !reflect.DeepEqual(got, e) || s.Type != "error" || s.Kind != IQ {
		t.Fatalf("%+v from %s", got, b)
	}
	g := (&Error{Condition: Gone, URI: "xmpp:a@b"}).AppendTo(nil)
	if got, ok := ParseError(g); !ok || got.URI != "xmpp:a@b" || got.Type != Cancel {
		t.Fatalf("%+v from %s", got, g)
	}
	want := "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>h:1</see-other-host><text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>t</text></stream:error>"
	if got := string((&StreamError{Condition: SeeOtherHost, Host: "h:1", Text: "t"}).AppendTo(nil)); got != want {
		t.Fatal(got)
	}
}

func TestEncode(t *testing.T) {
	p := PreparePresence(Header{From: "a@b/c'd", ID: "1"}, PresenceData{Show: "xa"})
	if got := string(p.AppendTo(nil, "e@f")); got != "<presence id='1' from='a@b/c&apos;d' to='e@f'><show>xa</show></presence>" {
		t.Fatal(got)
	}
	if got := string(PreparePresence(Header{}, PresenceData{}).AppendTo(nil, "e@f")); got != "<presence to='e@f'/>" {
		t.Fatal(got)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	extra := AppendDelay(AppendStanzaID(nil, "a@b", "7"), "b", at)
	got := string(AppendMessage(nil, Header{To: "x", Type: "chat"}, []byte("<body>1</body>"), extra))
	if want := "<message type='chat' to='x'><body>1</body><stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='7'/><delay xmlns='urn:xmpp:delay' from='b' stamp='2026-01-02T03:04:05.006Z'/></message>"; got != want {
		t.Fatal(got)
	}
	if got := string(PrepareMessage(Header{Type: "chat"}, []byte("<body>1</body>"), extra).AppendTo(nil, "x")); got != string(AppendMessage(nil, Header{To: "x", Type: "chat"}, []byte("<body>1</body>"), extra)) {
		t.Fatal(got)
	}
	if got := string(AppendText(nil, "a\x00b\xff<\r")); got != "a\uFFFDb\uFFFD&lt;&#xD;" {
		t.Fatalf("%q", got)
	}
}

func TestWithout(t *testing.T) {
	isA := func(c Child) bool { return c.Local() == "a" }
	for in, want := range map[string]string{
		"<b/>": "<b/>", "<a/>": "", "<b/><a>x<c/></a>t<b/>u": "<b/>t<b/>u", "": "",
	} {
		if got := string(Without([]byte(in), isA)); got != want {
			t.Errorf("%q gave %q", in, got)
		}
	}
}

func TestCanonicalRefusesAnEscape(t *testing.T) {
	for _, in := range []string{"</message><message>", "<a>", "</message>", "<a/></message></stream:stream>", "&x;", "<p:a/>"} {
		if got, err := Canonical([]byte(in), Limits{}); err == nil {
			t.Errorf("%q gave %q", in, got)
		}
	}
}
