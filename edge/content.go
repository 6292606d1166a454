package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/message"
)

// contentOf finds in a message what decides whether it is kept and copied.
func contentOf(inner []byte) (c message.Content) {
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
			case "no-copy":
				c.NoCopy = true
			}
		case stanza.NSChatState:
			c.Messaging = true
		case stanza.NSReceipts, stanza.NSMarkers:
			c.Messaging, c.Other = true, true
		case stanza.NSStanzaID:
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
	return c
}
