package edge

import (
	"testing"

	"github.com/rollcall/rollcall/schema/message"
)

// What is kept (XEP-0160, section 3; XEP-0334) and copied (XEP-0280, section
// 6.1) of messages as clients write them, of type chat.
func TestContent(t *testing.T) {
	const body = "<body>a</body>"
	for _, c := range []struct {
		name, inner string
		keep        bool
		copies      message.Copies
	}{
		{"XEP-0160 nothing", "", false, message.AllCopies},
		{"XEP-0160 body", body, true, message.AllCopies},
		{"XEP-0160 subject alone", "<subject>s</subject>", true, message.AllCopies},
		{"XEP-0160 thread alone", "<thread>t</thread>", false, message.AllCopies},
		{"XEP-0085 5.7 lone chat state", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", false, message.AllCopies},
		{"XEP-0085 lone chat state with thread, id and no-store", "<thread>t</thread><gone xmlns='http://jabber.org/protocol/chatstates'/>" +
			"<origin-id xmlns='urn:xmpp:sid:0' id='o'/><no-store xmlns='urn:xmpp:hints'/>", false, message.AllCopies},
		{"XEP-0085 lone chat state with origin-id", "<paused xmlns='http://jabber.org/protocol/chatstates'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>", false, message.AllCopies},
		{"XEP-0085 body and chat state", body + "<active xmlns='http://jabber.org/protocol/chatstates'/>", true, message.AllCopies},
		{"XEP-0184 receipt", "<received xmlns='urn:xmpp:receipts' id='m'/>", true, message.AllCopies},
		{"XEP-0333 marker", "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>", true, message.AllCopies},
		{"XEP-0334 4.2 no-store", body + "<no-store xmlns='urn:xmpp:hints'/>", false, message.AllCopies},
		{"XEP-0334 4.1 no-permanent-store may wait", body + "<no-permanent-store xmlns='urn:xmpp:hints'/>", true, message.AllCopies},
		{"XEP-0334 4.4 store", "<composing xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>", true, message.AllCopies},
		{"XEP-0334 4.3 no-copy", body + "<no-copy xmlns='urn:xmpp:hints'/>", true, message.NoCopies},
		{"XEP-0280 9 private", body + "<private xmlns='urn:xmpp:carbons:2'/>", true, message.NoCopies},
		{"XEP-0334 4.1 no-permanent-store of another namespace", body + "<no-permanent-store/>", true, message.AllCopies},
		{"a hint of another namespace", body + "<no-store/><no-copy xmlns='urn:x'/><private xmlns='urn:xmpp:hints'/>", true, message.AllCopies},
		{"XEP-0249 invitation", "<x xmlns='jabber:x:conference' jid='r@c'/>", true, message.AllCopies},
		{"XEP-0045 7.8.2 mediated invitation", "<x xmlns='http://jabber.org/protocol/muc#user'><password>p</password><invite from='a@x'><reason>r</reason></invite></x>", true, message.AllCopies},
		{"XEP-0045 7.5 private message in a room", body + "<x xmlns='http://jabber.org/protocol/muc#user'/>", true, message.SentCopies},
		{"XEP-0384 encrypted without body", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>", true, message.AllCopies},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := contentOf([]byte(c.inner))
			if keep := message.Storable(message.Chat, got); keep != c.keep {
				t.Errorf("kept: %v", keep)
			}
			if copies := message.Copied(message.Chat, got); copies != c.copies {
				t.Errorf("copies: %d", copies)
			}
		})
	}
}

// Of type normal a message without a body is copied for what it says in
// conversations (XEP-0280, section 6.1).
func TestContentOfNormal(t *testing.T) {
	for inner, copies := range map[string]message.Copies{
		"<body>a</body>":                                                message.AllCopies,
		"<subject>s</subject>":                                          message.NoCopies,
		"<x xmlns='urn:x'/>":                                            message.NoCopies,
		"<received xmlns='urn:xmpp:receipts' id='m'/>":                  message.AllCopies,
		"<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>":           message.AllCopies,
		"<paused xmlns='http://jabber.org/protocol/chatstates'/>":       message.AllCopies,
		"<retract id='m' xmlns='urn:xmpp:message-retract:1'/>":          message.AllCopies,
		"<reactions id='m' xmlns='urn:xmpp:reactions:0'/>":              message.AllCopies,
		"<x xmlns='jabber:x:conference' jid='r@c'/>":                    message.AllCopies,
		"<x xmlns='http://jabber.org/protocol/muc#user'><decline/></x>": message.SentCopies,
	} {
		if content, _ := contentOf([]byte(inner)); message.Copied(message.Normal, content) != copies {
			t.Errorf("%s: copies: %d", inner, message.Copied(message.Normal, content))
		}
	}
}
