package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/stanza"
)

// What a message says reaches its recipient as it was written: at once on
// another edge, by the full and by the bare JID, as a copy, and, where it may
// wait, from the inbox.
func TestMessagesPassUnchanged(t *testing.T) {
	const body = "<body>Wherefore art thou?</body>"
	for _, c := range []struct {
		name, attributes, inner string
		waits                   bool
	}{
		{"5.2.3 body", "type='chat'", body, true},
		{"5.2.3 bodies in languages", "xml:lang='it'", body + "<body xml:lang='cs'>Pročež?</body>", true},
		{"5.2.4 subjects", "type='normal' xml:lang='it'", "<subject>I implore you!</subject><subject xml:lang='cs'>Úpěnlivě prosím!</subject>" + body, true},
		{"5.2.5 thread with a parent", "type='chat'", body + "<thread parent='e0ffe42b28561960c6b12b944a092794b9683a38'>0e3141cd80894871a68e6fe6b1ec56fa</thread>", true},
		{"5.3 extended content", "", body + "<x xmlns='urn:x'><y a='1&apos;2'>&lt;z&gt;<jabber xmlns='jabber:client'/></y></x>", true},
		{"5.2.2 headline", "type='headline'", "<subject>News</subject>" + body, false},
		{"XEP-0085 chat state and body", "type='chat'", body + "<active xmlns='http://jabber.org/protocol/chatstates'/>", true},
		{"XEP-0085 lone chat state", "type='chat'", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", false},
		{"XEP-0184 receipt asked for", "type='chat'", body + "<request xmlns='urn:xmpp:receipts'/>", true},
		{"XEP-0184 receipt", "type='chat'", "<received xmlns='urn:xmpp:receipts' id='m0'/>", true},
		{"XEP-0333 markable", "type='chat'", body + "<markable xmlns='urn:xmpp:chat-markers:0'/>", true},
		{"XEP-0333 displayed", "type='chat'", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m0'/>", true},
		{"XEP-0359 origin-id", "type='chat'", body + "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/>", true},
		{"XEP-0359 stanza-id of another", "type='chat'", body + "<stanza-id xmlns='urn:xmpp:sid:0' by='room@chat.example.net' id='s1'/>", true},
		{"XEP-0203 delay of another", "type='chat'", body + "<delay xmlns='urn:xmpp:delay' from='juliet@example.com/balcony' stamp='2026-01-02T03:04:05Z'/>", true},
		{"XEP-0308 correction", "type='chat'", body + "<replace xmlns='urn:xmpp:message-correct:0' id='bad1'/>", true},
		{"XEP-0424 retraction", "type='chat'", "<retract xmlns='urn:xmpp:message-retract:1' id='wrong-recipient-1'/><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:message-retract:1'/>" +
			"<body>/me retracted</body><store xmlns='urn:xmpp:hints'/>", true},
		{"XEP-0428 fallback of a reply", "type='chat'", "<body>&gt; Hi, how are you?\nGreat</body><reply xmlns='urn:xmpp:reply:0' to='anna@example.com' id='message-id1'/>" +
			"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body start='0' end='19'/></fallback>", true},
		{"XEP-0444 reactions", "type='chat'", "<reactions xmlns='urn:xmpp:reactions:0' id='744f6e18'><reaction>👋</reaction><reaction>🐢</reaction></reactions><store xmlns='urn:xmpp:hints'/>", true},
		{"XEP-0444 reactions of type normal", "", "<reactions xmlns='urn:xmpp:reactions:0' id='744f6e18'/>", true},
		{"XEP-0334 hints", "type='chat'", body + "<store xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/>", true},
		{"XEP-0334 no-store", "type='chat'", body + "<no-store xmlns='urn:xmpp:hints'/>", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t, edge.Options{})
			one, two := p.edge, p.open("e2")
			p.dial("juliet/balcony")
			p.dial("juliet/chamber")
			p.copy("juliet/chamber")
			var inners []string
			said := func(to string) string { // each time under another origin-id: else it is a copy
				inners = append(inners, strings.ReplaceAll(c.inner, "id='o1'", fmt.Sprintf("id='o%d'", len(inners))))
				return fmt.Sprintf("<message id='m1' to='%s' %s>%s</message>", to, c.attributes, inners[len(inners)-1])
			}
			same := func(how string, st *stanza.Stanza, inner, extra string) {
				t.Helper()
				kind, lang := attribute(c.attributes, "type"), attribute(c.attributes, "xml:lang")
				if kind == "normal" {
					kind = ""
				}
				if lang == "" {
					lang = "en" // the stream's
				}
				if st.ID != "m1" || st.Type != kind || st.Lang != lang || !strings.HasPrefix(inner, inners[len(inners)-1]+extra) {
					t.Errorf("%s: id %q, type %q, lang %q, %s", how, st.ID, st.Type, st.Lang, inner)
				}
			}
			p.create("romeo")
			p.send("juliet/balcony", said("romeo@example.com"))
			p.heard("juliet/balcony")
			p.edge = two
			p.appears("romeo/orchard")
			var waited int
			for _, st := range p.stanzas("romeo/orchard") {
				if st.Kind == stanza.Message {
					waited++
					same("after it waited", st, string(st.Inner), "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.com'")
					if _, ok := stanza.Find(st.Inner, stanza.NSDelay, "delay"); !ok {
						t.Errorf("no delay: %s", st.Inner)
					}
				}
			}
			if c.waits != (waited == 1) {
				t.Errorf("waited: %d", waited)
			}
			p.edge = one
			copies := 1
			for _, to := range []string{"romeo@example.com", "romeo@example.com/orchard"} {
				copies++
				p.send("juliet/balcony", said(to))
				p.heard("juliet/balcony")
				all := p.stanzas("romeo/orchard")
				if len(all) != 1 {
					t.Fatalf("%d stanzas for %s", len(all), to)
				}
				same(to, all[0], string(all[0].Inner), "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.com'")
			}
			all := p.stanzas("juliet/chamber")
			if strings.Contains(c.attributes, "headline") {
				copies = 0
			}
			if len(all) != copies {
				t.Errorf("%d copies, want %d", len(all), copies)
			}
			for i, st := range all {
				if !strings.Contains(string(st.Inner), ">"+inners[i]+"<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='") {
					t.Errorf("copy: %s", st.Inner)
				}
			}
		})
	}
}

// attribute finds an attribute in a start tag.
func attribute(tag, name string) string {
	_, rest, _ := strings.Cut(tag, name+"='")
	value, _, _ := strings.Cut(rest, "'")
	return value
}

// appears is online without reading what comes of it.
func (p *play) appears(who string) {
	p.t.Helper()
	p.reads(who)
	p.send(who, "<presence/>")
}

// What only the server may say of a message is taken out of a client's.
func TestMessagesClaimNothing(t *testing.T) {
	p := newPlay(t, edge.Options{})
	p.online("romeo/orchard")
	p.dial("juliet/balcony")
	for name, claim := range map[string]string{
		"XEP-0359 6 the recipient's id":                 "<stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.com' id='forged'/>",
		"XEP-0359 6 the recipient's id, spelled anew":   "<stanza-id xmlns='urn:xmpp:sid:0' by='Romeo@EXAMPLE.com' id='forged'/>",
		"XEP-0359 6 the sender's id, which copies tell": "<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='forged'/>",
		"XEP-0203 5 a delay of the server's":            "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2020-01-01T00:00:00Z'>forged</delay>",
	} {
		t.Run(name, func(t *testing.T) {
			p.send("juliet/balcony", "<message to='romeo@example.com' type='chat'>"+claim+"<body>b</body>"+claim+"</message>")
			p.heard("juliet/balcony")
			p.exactly("romeo/orchard", "message type=chat from=juliet@example.com/balcony to=romeo@example.com <body>b</body>[id of romeo@example.com]")
		})
	}
}
