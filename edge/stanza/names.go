package stanza

// Namespaces that the edge speaks.
const (
	NSClient    = "jabber:client"
	NSStreams   = "http://etherx.jabber.org/streams"
	NSXML       = "http://www.w3.org/XML/1998/namespace"
	NSStanzas   = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSStreamErr = "urn:ietf:params:xml:ns:xmpp-streams"
	NSTLS       = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL      = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSSASL2     = "urn:xmpp:sasl:2"
	NSBind2     = "urn:xmpp:bind:0"
	NSFAST      = "urn:xmpp:fast:0"
	NSBind      = "urn:ietf:params:xml:ns:xmpp-bind"
	NSSession   = "urn:ietf:params:xml:ns:xmpp-session"
	NSRoster    = "jabber:iq:roster"
	NSRosterVer = "urn:xmpp:features:rosterver"
	NSApproval  = "urn:xmpp:features:pre-approval"
	NSRegister  = "jabber:iq:register"
	NSIQReg     = "http://jabber.org/features/iq-register"
	NSDiscoInfo = "http://jabber.org/protocol/disco#info"
	NSDiscoItem = "http://jabber.org/protocol/disco#items"
	NSCaps      = "http://jabber.org/protocol/caps"
	NSPing      = "urn:xmpp:ping"
	NSVersion   = "jabber:iq:version"
	NSLast      = "jabber:iq:last"
	NSBlocking  = "urn:xmpp:blocking"
	NSBlockErr  = "urn:xmpp:blocking:errors"
	NSPrivacy   = "jabber:iq:privacy"
	NSInvisible = "urn:xmpp:invisible:1"
	NSCarbons   = "urn:xmpp:carbons:2"
	NSForward   = "urn:xmpp:forward:0"
	NSDelay     = "urn:xmpp:delay"
	NSStanzaID  = "urn:xmpp:sid:0"
	NSHints     = "urn:xmpp:hints"
	NSCorrect   = "urn:xmpp:message-correct:0"
	NSRetract   = "urn:xmpp:message-retract:1"
	NSReact     = "urn:xmpp:reactions:0"
	NSSM        = "urn:xmpp:sm:3"
	NSCSI       = "urn:xmpp:csi:0"
	NSMAM       = "urn:xmpp:mam:2"
	NSRSM       = "http://jabber.org/protocol/rsm"
	NSData      = "jabber:x:data"
	NSValidate  = "http://jabber.org/protocol/xdata-validate"
	NSFullText  = "urn:xmpp:fulltext:0"
	NSChatState = "http://jabber.org/protocol/chatstates"
	NSReceipts  = "urn:xmpp:receipts"
	NSMarkers   = "urn:xmpp:chat-markers:0"
	NSInvite    = "jabber:x:conference"
	NSRoomUser  = "http://jabber.org/protocol/muc#user"
	NSVCard     = "vcard-temp"
	NSVCardUpd  = "vcard-temp:x:update"
	NSIdle      = "urn:xmpp:idle:1"
	NSNick      = "http://jabber.org/protocol/nick"
	NSChanBind  = "urn:xmpp:sasl-cb:0"
	NSFraming   = "urn:ietf:params:xml:ns:xmpp-framing"
	NSPrivate   = "jabber:iq:private"
	NSTime      = "urn:xmpp:time"
	NSPubSub    = "http://jabber.org/protocol/pubsub"
	NSPubEvent  = NSPubSub + "#event"
	NSPubOwner  = NSPubSub + "#owner"
	NSPubError  = NSPubSub + "#errors"
	NSPubConfig = NSPubSub + "#node_config"
	NSPubOption = NSPubSub + "#publish-options"
	NSPush      = "urn:xmpp:push:0"
	nsXMLNS     = "http://www.w3.org/2000/xmlns/"

	NSPushSummary = "urn:xmpp:push:summary"
)

// known holds the strings that nearly all stanzas are made of, so that
// reading one allocates none of them.
var known = func() map[string]string {
	m := make(map[string]string)
	for _, s := range []string{
		NSClient, NSStreams, NSXML, NSStanzas, NSStreamErr, NSTLS, NSSASL, NSBind, NSSession, NSRoster, NSRosterVer,
		NSRegister, NSIQReg, NSDiscoInfo, NSDiscoItem, NSCaps, NSPing, NSVersion, NSLast, NSBlocking, NSPrivacy,
		NSInvisible, NSCarbons, NSForward, NSDelay, NSStanzaID, NSHints, NSSM, NSCSI, NSMAM, NSRSM, NSData,
		NSChatState, NSReceipts, NSMarkers, NSInvite, NSRoomUser, NSVCard, NSVCardUpd, NSIdle, NSNick, NSChanBind,
		"message", "presence", "iq", "stream", "xml", "lang", "body", "thread", "subject", "show", "status",
		"priority", "query", "item", "group", "error", "c", "x", "delay", "stanza-id", "origin-id", "active",
		"composing", "paused", "inactive", "gone", "bind", "resource", "jid", "session", "ping", "a", "r", "enable",
		"resume", "resumed", "auth", "response", "abort", "starttls", "field", "value", "username", "password",
		"remove", "block", "unblock", "blocklist", "list", "private", "sent", "received", "forwarded", "request",
		"get", "set", "result", "chat", "groupchat", "headline", "normal", "subscribe", "subscribed", "unsubscribe",
		"unsubscribed", "unavailable", "probe", "away", "xa", "dnd", "to", "from", "both", "none", "en", "h", "ver",
		"hash", "node", "name", "id", "type", "version", "sha-1", "mechanism", "var", "subscription", "ask",
		"photo", "idle", "since", "store", "no-store", "no-copy", "no-permanent-store", "xmlns", "stamp", "by",
	} {
		m[s] = s
	}
	return m
}()

// intern gives b as a string, without an allocation when it is well known.
func intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := known[string(b)]; ok {
		return s
	}
	return string(b)
}
