package edge

import (
	"maps"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// place tells on whose behalf the server answers an iq (RFC 6121, section 8.5).
type place uint8

const (
	atServer place = 1 << iota // the domain
	atSelf                     // the sender's account, or no address
	atOther                    // the bare JID of another account, there or not
)

// query is an iq of type get or set that the server answers.
type query struct {
	*stanza.Stanza
	payload stanza.Child
	to      jid.Bare // of atServer, without a local part
	at      place
}

// service is what the server answers under the name of a payload.
type service struct {
	get, set func(s *session, q query)
	at       place  // where it is offered
	feature  string // what disco#info calls it there; empty: not at all
	// on tells whether a server offers it; nil: each does.
	on func(s *Server) bool
}

type payloadName struct{ space, local string }

// services has all of them. It is filled in by init, for disco#info refers to it.
var services map[payloadName]service

func init() {
	services = map[payloadName]service{
		{stanza.NSRoster, "query"}:    {get: getsRoster, set: setsRoster, at: atSelf | atOther},
		{stanza.NSPing, "ping"}:       {get: (*session).pong, at: atServer | atSelf, feature: stanza.NSPing},
		{stanza.NSSession, "session"}: {set: (*session).pong, at: atServer | atSelf},
		{stanza.NSDiscoInfo, "query"}: {get: (*session).discoInfo, at: atServer | atSelf | atOther, feature: stanza.NSDiscoInfo},
		{stanza.NSDiscoItem, "query"}: {get: (*session).discoItems, at: atServer | atSelf | atOther, feature: stanza.NSDiscoItem},
		{stanza.NSRegister, "query"}: {
			get: (*session).register, set: (*session).register, at: atServer | atSelf, feature: stanza.NSRegister,
			on: func(s *Server) bool { return s.opts.Accounts != nil },
		},
		{stanza.NSPush, "enable"}:         {set: (*session).enablePush, at: atSelf, feature: stanza.NSPush, on: (*Server).pushes},
		{stanza.NSPush, "disable"}:        {set: (*session).disablePush, at: atSelf, on: (*Server).pushes},
		{stanza.NSCarbons, "enable"}:      {set: (*session).enableCarbons, at: atSelf},
		{stanza.NSCarbons, "disable"}:     {set: (*session).disableCarbons, at: atSelf},
		{stanza.NSBlocking, "blocklist"}:  {get: (*session).getBlockList, at: atSelf, feature: stanza.NSBlocking},
		{stanza.NSBlocking, "block"}:      {set: (*session).block, at: atSelf},
		{stanza.NSBlocking, "unblock"}:    {set: (*session).unblock, at: atSelf},
		{stanza.NSPrivacy, "query"}:       {get: (*session).getPrivacyLists, set: (*session).setPrivacyLists, at: atSelf, feature: stanza.NSPrivacy},
		{stanza.NSInvisible, "invisible"}: {set: (*session).hides, at: atSelf, feature: stanza.NSInvisible},
		{stanza.NSInvisible, "visible"}:   {set: (*session).appears, at: atSelf},
		{stanza.NSBind, "bind"}:           {get: (*session).bindsAgain, set: (*session).bindsAgain, at: atServer | atSelf},
	}
	maps.Copy(services, publishedServices())
	maps.Copy(services, archiveServices())
}

// furtherFeatures are those that are no service, by place.
var furtherFeatures = map[place][]string{
	atServer: {stanza.NSCaps, stanza.NSRoster, "msgoffline", stanza.NSCarbons, stanza.NSBlocking, stanza.NSPrivacy, stanza.NSInvisible},
	atSelf:   {stanza.NSStanzaID, stanza.NSCarbons},
}

func (s *session) placeOf(to jid.Bare) place {
	switch {
	case to.Local() == "":
		return atServer
	case to == s.local.account:
		return atSelf
	}
	return atOther
}

// serve answers what is for the server, or for it on an account's behalf.
// What is not offered for another account tells nothing of it, not even
// whether it exists (RFC 6121, section 8.5.2.2.3).
func (s *session) serve(q query) {
	v := services[payloadName{q.payload.Space(), q.payload.Local()}]
	do := v.get
	if q.Type == "set" {
		do = v.set
	}
	if do == nil || v.at&q.at == 0 || v.on != nil && !v.on(s.server) {
		s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
		return
	}
	do(s, q)
}

func getsRoster(s *session, q query) { s.ownRoster(q, true) }
func setsRoster(s *session, q query) { s.ownRoster(q, false) }

// ownRoster lets nobody to another's roster, whether there is one or not (RFC
// 6121, section 2.3.3).
func (s *session) ownRoster(q query, get bool) {
	if q.at != atSelf {
		s.fail(q.Stanza, stanza.NewError(stanza.Forbidden, ""))
		return
	}
	s.takeRoster(q.Stanza, q.payload, get)
}

func (s *session) pong(q query) { s.answer(q.Stanza, nil) }

func (s *session) bindsAgain(q query) {
	s.fail(q.Stanza, stanza.NewError(stanza.NotAllowed, "one resource for each stream"))
}
