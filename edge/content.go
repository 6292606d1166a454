package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
)

// contentOf finds in a message what decides whether it is kept and copied.
// claims tells that it has something which mayNotSay must look at.
func contentOf(inner []byte) (c message.Content, claims bool) {
	for child := range stanza.Children(inner) {
		switch local := child.Local(); child.Space() {
		case stanza.NSClient:
			switch local {
			case "body":
				c.Body = true
			case "thread":
			default:
				c.Other = true
			}
		case stanza.NSHints:
			switch local {
			case "store":
				c.Store = true
			case "no-store":
				c.NoStore = true
			case "no-permanent-store":
				c.NoArchive = true
			case "no-copy":
				c.NoCopy = true
			}
		case stanza.NSChatState:
			c.Messaging = true
		case stanza.NSReceipts, stanza.NSMarkers, stanza.NSCorrect, stanza.NSRetract, stanza.NSReact:
			c.Messaging, c.Other = true, true
		case stanza.NSStanzaID:
			claims = claims || local == "stanza-id"
			if local == "origin-id" && c.OriginID == "" {
				c.OriginID = child.Attr("id")
			}
		case stanza.NSDelay:
			claims = true
		case stanza.NSCarbons:
			switch local {
			case "private":
				c.Private = true
			case "sent", "received":
				c.Copy = true
			}
		case stanza.NSInvite:
			c.Other, c.Invitation = true, true
		case stanza.NSRoomUser:
			c.Other, c.Room = true, true
			for what := range stanza.Children(child.Inner()) {
				// The namespace is that of its parent, if it declares none.
				c.Invitation = c.Invitation || what.Is(stanza.NSClient, "invite")
			}
		default:
			c.Other = true
		}
	}
	return c, claims
}

// archiveOf tells whether archives may keep a message.
func archiveOf(t event.MessageType, c message.Content) event.Archive {
	if message.Archivable(message.Type(t), c) {
		return event.Archive_ARCHIVE_YES
	}
	return event.Archive_ARCHIVE_NO
}

// mayNotSay tells that a client says something which this server alone may
// say of a message to the account to: its id for one of the two accounts
// (XEP-0359, section 6), or that it was delayed here (XEP-0203, section 5).
func (s *session) mayNotSay(c stanza.Child, to jid.Bare) bool {
	switch {
	case c.Is(stanza.NSStanzaID, "stanza-id"):
		by, err := jid.Parse(c.Attr("by"))
		return err == nil && !by.IsFull() && (by.Bare() == to || by.Bare() == s.local.account)
	case c.Is(stanza.NSDelay, "delay"):
		from, err := jid.Parse(c.Attr("from"))
		return err == nil && from.Local() == "" && from.Domain() == s.server.opts.Domain
	}
	return false
}
