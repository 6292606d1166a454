// Package subscription holds the nine states of a presence subscription
// between an account and a contact, as the account's side sees them, and what
// each of the four verbs does to them (RFC 6121, section 3 and Appendix A), with
// the approval that comes before a request (section 3.4). That ends with the
// request that it answers.
package subscription

// A State is a set of the bits below. Only twelve sets occur, the nine of
// Appendix A.1 and Approved with three of them: To excludes PendingOut, and of
// From, PendingIn and Approved there is one at most.
type State uint8

// The bits of a State. Their numbers are stored and never change.
const (
	To         State = 1 << iota // the owner sees the contact's presence
	From                         // the contact sees the owner's presence
	PendingOut                   // the owner's request waits for the contact
	PendingIn                    // the contact's request waits for the owner
	Approved                     // the owner approves a request that has not come

	None State = 0
	Both       = To | From
)

// A Verb is a type of presence stanza that manages a subscription.
type Verb uint8

// The verbs. Their numbers are those of event.Verb; 0 is no verb.
const (
	Subscribe Verb = 1 + iota
	Subscribed
	Unsubscribe
	Unsubscribed
)

// String gives the stanza's type.
func (v Verb) String() string {
	switch v {
	case Subscribe:
		return "subscribe"
	case Subscribed:
		return "subscribed"
	case Unsubscribe:
		return "unsubscribe"
	case Unsubscribed:
		return "unsubscribed"
	}
	return "no verb"
}

// Outbound gives the owner's state after the owner sends v to the contact.
// Verbs that mean nothing in s leave it as it was. RFC 6121, Appendix A.2.
func Outbound(s State, v Verb) State {
	switch v {
	case Subscribe:
		return asked(s, To, PendingOut)
	case Subscribed:
		if s&(From|PendingIn) == 0 {
			return s | Approved // section 3.4.2
		}
		return granted(s, From, PendingIn)
	case Unsubscribe:
		return s &^ (To | PendingOut)
	case Unsubscribed:
		return s &^ (From | PendingIn | Approved)
	}
	return s
}

// Inbound gives the owner's state after v came from the contact: the mirror
// image of Outbound, but for an approval that waited for the contact's request.
// RFC 6121, Appendix A.3 and section 3.4.2.
func Inbound(s State, v Verb) State {
	switch v {
	case Subscribe:
		if s&Approved != 0 {
			return s&^Approved | From
		}
		return asked(s, From, PendingIn)
	case Subscribed:
		return granted(s, To, PendingOut)
	case Unsubscribe:
		return s &^ (From | PendingIn)
	case Unsubscribed:
		return s &^ (To | PendingOut)
	}
	return s
}

// asked adds the request unless what it asks for is there.
func asked(s, grant, pending State) State {
	if s&grant == 0 {
		s |= pending
	}
	return s
}

// granted turns a request into what it asked for; unasked it changes nothing.
func granted(s, grant, pending State) State {
	if s&pending != 0 {
		s = s&^pending | grant
	}
	return s
}

// Routed tells whether v, sent by the owner in state s, goes on to the
// contact. RFC 6121, Appendix A.2: what asks always does, for it mends a
// contact's side that has another opinion; what answers only if it answers, so
// an approval before the request does not, nor does its end (section 3.4.2).
func Routed(s State, v Verb) bool {
	switch v {
	case Subscribe, Unsubscribe:
		return true
	case Subscribed:
		return s&PendingIn != 0
	case Unsubscribed:
		return s&(From|PendingIn) != 0
	}
	return false
}

// Delivered tells whether v, come from the contact in state s, is shown to
// the owner's clients. RFC 6121, Appendix A.3: if it changes the state; but a
// request that is approved already is not (section 3.4.2).
func Delivered(s State, v Verb) bool {
	return Inbound(s, v) != s && !(v == Subscribe && s&Approved != 0)
}

// Reply gives the verb that the server answers with on the owner's behalf
// when v comes from the contact in state s; 0 is none. RFC 6121, section
// 3.1.3 and Appendix A.3.1: a request for what was granted is granted again,
// so that a contact's side which lost it is mended; one that was approved
// before it came is granted now (section 3.4.2).
//
// Appendix A.3.2 would have "unsubscribe" answered by "unsubscribed" (SHOULD).
// It is not: both sides are ours, the asker's side has ended already and would
// drop the answer, except when it subscribed anew in between; then the answer
// would end the new request on one side only.
func Reply(s State, v Verb) Verb {
	if v == Subscribe && s&(From|Approved) != 0 {
		return Subscribed
	}
	return 0
}

// Cancel gives the verbs that end s from the owner's side, both directions:
// for a removed roster item (RFC 6121, section 2.5.2) or a deleted account. An
// approval that no request used ends without one.
func Cancel(s State) []Verb {
	var verbs []Verb
	if s&(To|PendingOut) != 0 {
		verbs = append(verbs, Unsubscribe)
	}
	if s&(From|PendingIn) != 0 {
		verbs = append(verbs, Unsubscribed)
	}
	return verbs
}

// Valid tells that s is one of the twelve states.
func (s State) Valid() bool {
	if s >= 1<<5 || s&(To|PendingOut) == To|PendingOut {
		return false
	}
	in := s & (From | PendingIn | Approved)
	return in&(in-1) == 0
}

// Attribute gives the roster item's attribute "subscription": none, to, from
// or both (RFC 6121, section 2.1.2.5).
func (s State) Attribute() string {
	switch s & Both {
	case Both:
		return "both"
	case To:
		return "to"
	case From:
		return "from"
	}
	return "none"
}

// Ask tells that the roster item has ask='subscribe' (RFC 6121, section 2.1.2.2).
func (s State) Ask() bool { return s&PendingOut != 0 }

// String gives the name that RFC 6121, Appendix A.1, has for s, and tells if it
// is approved.
func (s State) String() string {
	name := [...]string{"None", "To", "From", "Both"}[s&Both]
	switch s & (PendingOut | PendingIn) {
	case PendingOut:
		name += " + Pending Out"
	case PendingIn:
		name += " + Pending In"
	case PendingOut | PendingIn:
		name += " + Pending Out+In"
	}
	if s&Approved != 0 {
		name += ", approved"
	}
	return name
}
