// Package message says where a stanza for an account goes: to which of its
// resources, into the inbox, back to the sender, or nowhere (RFC 6121, section
// 8.5). The account exists; what is sent to one that does not (8.5.1) has
// Unknown.
package message

import (
	"slices"

	"github.com/rollcall/rollcall/schema/presence"
)

// A Type is the type of a message (RFC 6121, section 5.2.2).
type Type uint8

// The types. Their numbers are those of event.MessageType; 0 is treated as
// Normal (5.2.2).
const (
	Normal Type = 1 + iota
	Chat
	Headline
	Groupchat
	Error
)

// An Action is what is done with a stanza.
type Action uint8

// The actions.
const (
	Ignore  Action = iota // silently
	Deliver               // to Decision.To
	Store                 // until a resource takes it
	Bounce                // the sender gets a stanza error, Decision.Condition
	Serve                 // the server itself handles it and answers
)

// String gives the action's name.
func (a Action) String() string {
	return [...]string{"ignore", "deliver", "store", "bounce", "serve"}[a]
}

// ServiceUnavailable is the condition of every error that this package gives:
// RFC 6121, section 8.5, recommends no other.
const ServiceUnavailable = "service-unavailable"

// A Decision tells what is done with a stanza.
type Decision struct {
	Action    Action
	To        []string // for Deliver: resourceparts, sorted
	Condition string   // for Bounce
}

var bounce = Decision{Action: Bounce, Condition: ServiceUnavailable}

// Route decides on a message to the resource addressed, or to the bare JID if
// that is empty. RFC 6121, sections 8.5.2 and 8.5.3; where they leave a choice:
//
//   - Normal and Chat for the bare JID go to all resources with a priority that
//     is not negative (choice b, A in table 1), so that a conversation can go on
//     on any device. For Chat the table asks for an opt-in; to send presence
//     with a priority that is not negative counts as one.
//   - Without such a resource they are stored (choice a). Route does not know
//     whether the message may be: a caller takes Store of one that is not
//     Storable as Ignore.
//   - For a full JID without a match Chat is treated as for the bare JID,
//     Normal and Groupchat bounce, and Headline is ignored.
func Route(t Type, addressed string, resources map[string]presence.Resource) Decision {
	if addressed != "" {
		if _, connected := resources[addressed]; connected {
			return Decision{Action: Deliver, To: []string{addressed}} // 8.5.3.1, whatever the type and the priority
		}
		switch t {
		case Chat:
			return Route(t, "", resources)
		case Headline, Error:
			return Decision{}
		}
		return bounce
	}
	switch t {
	case Groupchat:
		return bounce
	case Error:
		return Decision{}
	}
	var to []string
	for name, r := range resources {
		if r.Takes() {
			to = append(to, name)
		}
	}
	switch {
	case len(to) > 0:
		slices.Sort(to)
		return Decision{Action: Deliver, To: to}
	case t == Headline:
		return Decision{}
	}
	return Decision{Action: Store}
}

// Unknown decides on a message to an account that does not exist (RFC 6121,
// section 8.5.1).
func Unknown(t Type) Decision {
	if t == Headline || t == Error {
		return Decision{}
	}
	return bounce
}

// Content tells of a message what decides whether it is kept and copied.
type Content struct {
	Body       bool // it has a <body/>
	Other      bool // it has a child that says something, see Storable
	Messaging  bool // it has a child of XEP-0085, 0184, 0308, 0333, 0424 or 0444
	Invitation bool // it invites to a room: XEP-0249, or XEP-0045, section 7.8.2
	Room       bool // a room's <x/> (XEP-0045, muc#user)
	Store      bool // hint "store" (XEP-0334)
	NoStore    bool // hint "no-store" (XEP-0334)
	NoArchive  bool // hint "no-permanent-store" (XEP-0334)
	NoCopy     bool // hint "no-copy" (XEP-0334)
	Private    bool // <private/> (XEP-0280, section 9)
	Copy       bool // it wraps a copy of another, as a server alone may (XEP-0280)

	OriginID string // the id that the sender's client gave it, if any (XEP-0359)
}

// Storable tells whether a message waits in the inbox when no resource takes
// it: Normal and Chat that say something and do not forbid it (XEP-0160, XEP-0334).
// Thread, chat states (XEP-0085), hints, ids (XEP-0359) and <private/> say
// nothing by themselves. The hint no-permanent-store allows to wait (XEP-0334,
// section 4.1).
func Storable(t Type, c Content) bool {
	return t <= Chat && !c.NoStore && (c.Body || c.Other || c.Store)
}

// Archivable tells whether archives may keep a message: what may wait, without
// the hint no-permanent-store (XEP-0334, sections 4.1 and 4.2).
func Archivable(t Type, c Content) bool { return Storable(t, c) && !c.NoArchive }
