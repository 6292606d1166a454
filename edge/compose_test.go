package edge

import (
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

func TestCompose(t *testing.T) {
	chat := event.MessageType_MESSAGE_TYPE_CHAT
	m, err := Compose([]byte(`<body>5 &lt; 6</body><x:x xmlns:x="urn:x" a="1"/>`), chat, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if m.Body != "5 < 6" || string(m.Payload) != `<body>5 &lt; 6</body><x xmlns='urn:x' a='1'/>` || !m.Storable || m.Copies != event.Copies_COPIES_ALL || m.Archive != event.Archive_ARCHIVE_YES || m.Type != chat {
		t.Errorf("%v", m)
	}
	if m, err := Compose([]byte(`<body>x</body><no-store xmlns='urn:xmpp:hints'/>`), chat, 1000); err != nil || m.Storable || m.Archive != event.Archive_ARCHIVE_NO {
		t.Errorf("no-store: %v, %v", m, err)
	}
	for children, says := range map[string]string{
		"<body>":                          "end tag does not match",
		"</message><message>":             "end tag",
		"<a:b/>":                          "prefix",
		"<body>&nbsp;</body>":             "entity",
		"<!DOCTYPE x><body/>":             "",
		"text":                            "text outside",
		strings.Repeat("<body/>", 200):    "too large",
		"<body>\x01</body>":               "character",
		"<body>\xff</body>":               "UTF-8",
		"<delay xmlns='urn:xmpp:delay'/>": "XEP-0203",
		"<origin-id xmlns='urn:xmpp:sid:0' id='1'/><origin-id xmlns='urn:xmpp:sid:0' id='2'/>": "origin id",
		"<stanza-id xmlns='urn:xmpp:sid:0' id='1' by='x'/>":                                    "XEP-0359",
		"<received xmlns='urn:xmpp:carbons:2'/>":                                               "XEP-0280",
	} {
		if m, err := Compose([]byte(children), chat, 1000); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, %v, want %q", children, m, err, says)
		}
	}
}
