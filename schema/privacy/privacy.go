// Package privacy decides what an account lets through: by its block list
// (XEP-0191), by its privacy lists (XEP-0016), and by the sessions that are
// invisible (XEP-0186). A State is what was set, a Policy what follows from it
// and the roster, a Compiled a Policy that answers fast. All three are nil for
// an account that uses none of this, and whoever asks a nil one is let through.
//
// The block list counts for every session and whatever a list says: a client
// that asks for a privacy list of its own does not undo what another blocked.
package privacy

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall/rollcall/schema/event"
)

// A Kind is a kind of traffic between an account and another address, as seen
// from the account.
type Kind uint8

// The kinds. XEP-0016, section 2.1, has rules for the first four. Only a rule
// for everything, or the block list, is about the other two (section 2.13).
const (
	Message      Kind = 1 << iota // a message that comes
	IQ                            // an iq that comes
	PresenceIn                    // presence that comes: available, unavailable
	PresenceOut                   // presence that the account shows or directs
	Subscription                  // presence that manages a subscription, or a probe; coming or going
	Sent                          // a message or an iq that goes
)

const every = Message | IQ | PresenceIn | PresenceOut | Subscription | Sent

// Bounds of what an account may set.
const (
	MaxBlocked = 5000 // JIDs in the block list
	MaxLists   = 50
	MaxItems   = 1000 // of a list
	MaxName    = 1023 // bytes, of a list
)

// A State is what an account has set. It is never changed in place: what sets
// something gives a new one. Nil is the state of who has set nothing.
type State struct {
	Blocked  []string // canonical JIDs of any form, sorted
	Lists    map[string][]*event.PrivacyItem
	Default  string             // a key of Lists, or empty
	Sessions map[string]Session // by resource, only those that have something
}

// A Session is what lasts as long as a session.
type Session struct {
	Active    string // a key of Lists, or empty
	Invisible bool
	Since     time.Time // when it became invisible: UTC, microseconds
}

// copy gives a state that shares nothing which is changed.
func (s *State) copy() *State {
	if s == nil {
		return &State{}
	}
	return &State{Blocked: s.Blocked, Lists: maps.Clone(s.Lists), Default: s.Default, Sessions: maps.Clone(s.Sessions)}
}

// settled gives nil for a state that has nothing.
func (s *State) settled() *State {
	if len(s.Blocked)+len(s.Lists)+len(s.Sessions) == 0 {
		return nil
	}
	return s
}

// Session gives what the session of a resource has.
func (s *State) Session(resource string) Session {
	if s == nil {
		return Session{}
	}
	return s.Sessions[resource]
}

// Roster tells that a list which is in use refers to the roster, so that a
// change of the roster may change the policy (XEP-0016, section 2.2, rule 9).
func (s *State) Roster() bool {
	if s == nil {
		return false
	}
	if refers(s.Lists[s.Default]) {
		return true
	}
	for _, x := range s.Sessions {
		if refers(s.Lists[x.Active]) {
			return true
		}
	}
	return false
}

func refers(items []*event.PrivacyItem) bool {
	return slices.ContainsFunc(items, func(i *event.PrivacyItem) bool { return i.GetType() == "group" || i.GetType() == "subscription" })
}

// Proto gives s in the form in which it is stored, the same for the same
// state; nil for nil.
func (s *State) Proto() *event.Privacy {
	if s == nil {
		return nil
	}
	p := &event.Privacy{Blocked: s.Blocked, DefaultList: s.Default}
	for _, name := range slices.Sorted(maps.Keys(s.Lists)) {
		p.Lists = append(p.Lists, &event.PrivacyList{Name: name, Items: s.Lists[name]})
	}
	for _, resource := range slices.Sorted(maps.Keys(s.Sessions)) {
		x := s.Sessions[resource]
		stored := &event.PrivacySession{Resource: resource, Active: x.Active, Invisible: x.Invisible}
		if !x.Since.IsZero() {
			stored.Since = x.Since.UnixMicro()
		}
		p.Sessions = append(p.Sessions, stored)
	}
	return p
}

// FromProto gives the state that was stored as p, nil for nil and for what is
// empty.
func FromProto(p *event.Privacy) *State {
	s := &State{Blocked: p.GetBlocked(), Default: p.GetDefaultList()}
	if lists := p.GetLists(); len(lists) > 0 {
		s.Lists = make(map[string][]*event.PrivacyItem, len(lists))
		for _, l := range lists {
			s.Lists[l.GetName()] = l.GetItems()
		}
	}
	if sessions := p.GetSessions(); len(sessions) > 0 {
		s.Sessions = make(map[string]Session, len(sessions))
		for _, x := range sessions {
			session := Session{Active: x.GetActive(), Invisible: x.GetInvisible()}
			if x.GetSince() != 0 {
				session.Since = time.UnixMicro(x.GetSince()).UTC()
			}
			s.Sessions[x.GetResource()] = session
		}
	}
	return s.settled()
}

// Names gives the names of the lists, sorted.
func (s *State) Names() []string {
	if s == nil {
		return nil
	}
	return slices.SortedFunc(maps.Keys(s.Lists), strings.Compare)
}
