// Package roster holds the items of a roster and the rules by which they are
// set, removed, and changed by subscriptions (RFC 6121, section 2). What it
// gives are new values; nothing is changed in place.
package roster

import (
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/subscription"
)

// An Item is what an account keeps of a contact. It is in the roster unless
// Removed.
type Item struct {
	Contact jid.Bare
	Name    string   // the owner's handle for the contact, may be empty
	Groups  []string // none is empty, none occurs twice
	State   subscription.State

	// Version is the offset of the event that changed last what clients see
	// of the item; 0 if they never saw it (RFC 6121, section 2.6).
	Version int64

	// Removed tells that the item is not in the roster: it is a tombstone
	// that tells of the removal, or it holds a contact's request that waits
	// (State is PendingIn), or both. Name and Groups are empty then.
	Removed bool

	// Request is the payload of the contact's request that waits, in the
	// caller's encoding (RFC 6121, section 3.1.3); empty unless State has
	// PendingIn, and then too if the request said nothing.
	Request []byte
}

// Hidden tells that i only holds a contact's request: the contact is not in
// the roster until the owner approves (RFC 6121, section 3.1.3).
func (i Item) Hidden() bool { return i.Removed && i.State != subscription.None }

// Empty tells that nothing of i is worth keeping: no client ever saw it and no
// request waits.
func (i Item) Empty() bool {
	return i.Removed && i.State == subscription.None && i.Version == 0
}

// Unknown gives what stands for a contact of whom the account keeps nothing.
func Unknown(contact jid.Bare) Item { return Item{Contact: contact, Removed: true} }

// Set gives i as a roster set at version leaves it: the name and the groups are
// exactly those given, the subscription stays (RFC 6121, sections 2.3 and 2.4).
func (i Item) Set(name string, groups []string, version int64) Item {
	i.Name, i.Groups, i.Version, i.Removed = name, groups, version, false
	return i
}

// Remove gives the tombstone that a removal at version leaves, and the verbs
// that go to the contact to end the subscription both ways (RFC 6121, section
// 2.5.2). It is not ok if i is not in the roster: item-not-found (2.5.3).
func (i Item) Remove(version int64) (next Item, cancel []subscription.Verb, ok bool) {
	if i.Removed {
		return i, nil, false
	}
	return Item{Contact: i.Contact, Version: version, Removed: true}, subscription.Cancel(i.State), true
}

// Sent gives i after the owner sent v to the contact at version. Asking for a
// subscription puts the contact into the roster, and so does approving one,
// asked or not (RFC 6121, sections 3.1.2, 3.1.5 and 3.4.2).
func (i Item) Sent(v subscription.Verb, version int64) Item {
	next := i
	next.State = subscription.Outbound(i.State, v)
	if next.State&^subscription.PendingIn != subscription.None {
		next.Removed = false
	}
	return next.after(i, version)
}

// Received gives i after v came from the contact at version, with request as
// the payload of a request that waits from now on. It never puts a contact
// into the roster (RFC 6121, section 3.1.3).
func (i Item) Received(v subscription.Verb, request []byte, version int64) Item {
	next := i
	next.State = subscription.Inbound(i.State, v)
	if next.State&^i.State&subscription.PendingIn != 0 {
		next.Request = request
	}
	return next.after(i, version)
}

// after settles what follows from the state.
func (i Item) after(before Item, version int64) Item {
	if i.State&subscription.PendingIn == 0 {
		i.Request = nil
	}
	if Visible(before, i) {
		i.Version = version
	}
	return i
}

// Visible tells whether a client sees a difference between two values of an
// item, so that it is pushed (RFC 6121, sections 2.1.6 and 2.6.3). A pending
// request of the contact is none.
func Visible(before, after Item) bool {
	if before.Removed || after.Removed {
		return before.Removed != after.Removed
	}
	const shown = ^subscription.PendingIn
	return before.State&shown != after.State&shown || before.Name != after.Name || !same(before.Groups, after.Groups)
}

func same(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
