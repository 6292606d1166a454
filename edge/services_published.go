package edge

import "github.com/rollcall/rollcall/edge/stanza"

// publishedServices are those that need no more than the projection, and what
// the server tells of itself.
func publishedServices() map[payloadName]service {
	published := func(s *Server) bool { return s.opts.Published != nil }
	return map[payloadName]service{
		{stanza.NSVersion, "query"}: {get: (*session).softwareVersion, at: atServer, feature: stanza.NSVersion},
		{stanza.NSTime, "time"}:     {get: (*session).entityTime, at: atServer, feature: stanza.NSTime},
		{stanza.NSLast, "query"}: {
			get: (*session).lastActivity, at: atServer | atSelf | atOther, feature: stanza.NSLast, on: published,
		},
		{stanza.NSVCard, "vCard"}: {
			get: (*session).getVCard, set: (*session).setVCard, at: atSelf | atOther, feature: stanza.NSVCard, on: published,
		},
		{stanza.NSPrivate, "query"}: {
			get: (*session).getPrivate, set: (*session).setPrivate, at: atSelf | atOther, feature: stanza.NSPrivate, on: published,
		},
		{stanza.NSPubSub, "pubsub"}: {
			get: (*session).pubsub, set: (*session).pubsub, at: atSelf | atOther, on: published,
		},
		{stanza.NSPubOwner, "pubsub"}: {
			get: (*session).ownerPubsub, set: (*session).ownerPubsub, at: atSelf | atOther, on: published,
		},
	}
}
