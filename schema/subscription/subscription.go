// Package subscription holds the nine states of a presence subscription
// between an account and a contact, as the account's side sees them, and what
// each of the four verbs does to them (RFC 6121, section 3 and Appendix A).
// Pre-approval (section 3.4) is not offered: "subscribed" without a request
// changes nothing.
package subscription

// A State is a set of the bits below. Only nine sets occur: To excludes
// PendingOut, From excludes PendingIn.
type State uint8

// The bits of a State. Their numbers are stored and never change.
const (
	To         State = 1 << iota // the owner sees the contact's presence
	From                         // the contact sees the owner's presence
	PendingOut                   // the owner's request waits for the contact
	PendingIn                    // the contact's request waits for the owner

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
		return granted(s, From, PendingIn)
	case Unsubscribe:
		return s &^ (To | PendingOut)
	case Unsubscribed:
		return s &^ (From | PendingIn)
	}
	return s
}

// Inbound gives the owner's state after v came from the contact: the mirror
// image of Outbound. RFC 6121, Appendix A.3.
func Inbound(s State, v Verb) State {
	switch v {
	case Subscribe:
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
// contact's side that has another opinion; what answers only if it answers.
func Routed(s State, v Verb) bool {
	switch v {
	case Subscribe, Unsubscribe:
		return true
	case Subscribed, Unsubscribed:
		return Outbound(s, v) != s
	}
	return false
}

// Delivered tells whether v, come from the contact in state s, is shown to
// the owner's clients. RFC 6121, Appendix A.3: if it changes the state.
func Delivered(s State, v Verb) bool { return Inbound(s, v) != s }

// Reply gives the verb that the server answers with on the owner's behalf
// when v comes from the contact in state s; 0 is none. RFC 6121, section
// 3.1.3 and Appendix A.3.1: a request for what was granted is granted again,
// so that a contact's side which lost it is mended.
//
// Appendix A.3.2 would have "unsubscribe" answered by "unsubscribed" (SHOULD).
// It is not: both sides are ours, the asker's side has ended already and would
// drop the answer, except when it subscribed anew in between; then the answer
// would end the new request on one side only.
func Reply(s State, v Verb) Verb {
	if v == Subscribe && s&From != 0 {
		return Subscribed
	}
	return 0
}

// Cancel gives the verbs that end s from the owner's side, both directions:
// for a removed roster item (RFC 6121, section 2.5.2) or a deleted account.
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

// Valid tells that s is one of the nine states.
func (s State) Valid() bool {
	return s < 1<<4 && s&(To|PendingOut) != To|PendingOut && s&(From|PendingIn) != From|PendingIn
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

// String gives the name that RFC 6121, Appendix A.1, has for s.
func (s State) String() string {
	name := [...]string{"None", "To", "From", "Both"}[s&Both]
	switch s & (PendingOut | PendingIn) {
	case PendingOut:
		return name + " + Pending Out"
	case PendingIn:
		return name + " + Pending In"
	case PendingOut | PendingIn:
		return name + " + Pending Out+In"
	}
	return name
}
