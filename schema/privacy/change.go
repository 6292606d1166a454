package privacy

import (
	"maps"
	"slices"
	"time"

	"github.com/rollcall/rollcall/schema/event"
)

// Conditions of the errors that a change may be answered with (RFC 6120,
// section 8.3.3).
const (
	NotFound  = "item-not-found"   // there is no list of that name
	InUse     = "conflict"         // the list counts for another session
	TooMany   = "policy-violation" // past MaxBlocked, MaxLists or MaxItems
	Malformed = "bad-request"
)

// Block gives s after JIDs were blocked or unblocked (XEP-0191, sections 3.3
// to 3.5), and of these the ones that were not so before; push is nil if
// nothing has changed. A condition tells why nothing was done.
func (s *State) Block(c *event.BlockListChanged) (next *State, push *event.BlockListPush, condition string) {
	var old []string
	if s != nil {
		old = s.Blocked
	}
	push = &event.BlockListPush{}
	blocked := slices.Clone(old)
	if c.GetUnblockedAll() {
		push.UnblockedAll = len(old) > 0
		blocked = nil
	}
	for _, j := range c.GetUnblocked() {
		if i, there := slices.BinarySearch(blocked, j); there {
			blocked = slices.Delete(blocked, i, i+1)
			push.Unblocked = append(push.Unblocked, j)
		}
	}
	for _, j := range c.GetBlocked() {
		if i, there := slices.BinarySearch(blocked, j); !there {
			blocked = slices.Insert(blocked, i, j)
			push.Blocked = append(push.Blocked, j)
		}
	}
	if len(push.Blocked)+len(push.Unblocked) == 0 && !push.UnblockedAll {
		return s, nil, ""
	}
	if len(blocked) > MaxBlocked && len(push.Blocked) > 0 {
		return s, nil, TooMany
	}
	next = s.copy()
	next.Blocked = blocked
	return next.settled(), push, ""
}

// SetList gives s after a list was created, replaced or, without items,
// removed (XEP-0016, sections 2.6 to 2.8). It must not be removed while it
// counts for a session of another resource among those that are connected.
func (s *State) SetList(c *event.PrivacyListChanged, connected []string) (next *State, condition string) {
	name := c.GetName()
	if len(c.GetItems()) == 0 {
		if s == nil || s.Lists[name] == nil {
			return s, NotFound
		}
		if slices.ContainsFunc(connected, func(r string) bool { return r != c.GetResource() && s.counts(name, r) }) {
			return s, InUse
		}
		next = s.copy()
		delete(next.Lists, name)
		if next.Default == name {
			next.Default = ""
		}
		for resource, x := range next.Sessions {
			if x.Active == name {
				x.Active = ""
				next.keep(resource, x)
			}
		}
		return next.settled(), ""
	}
	if name == "" || CheckItems(c.GetItems()) != "" {
		return s, Malformed
	}
	next = s.copy()
	if next.Lists == nil {
		next.Lists = make(map[string][]*event.PrivacyItem, 1)
	}
	if next.Lists[name] == nil && len(next.Lists) >= MaxLists || len(c.GetItems()) > MaxItems {
		return s, TooMany
	}
	next.Lists[name] = slices.SortedFunc(slices.Values(c.GetItems()), func(a, b *event.PrivacyItem) int {
		return int(int64(a.GetOrder()) - int64(b.GetOrder()))
	})
	return next, ""
}

// counts tells that a list is what counts for the session of a resource
// (XEP-0016, section 2.2, rules 1 and 2).
func (s *State) counts(name, resource string) bool {
	active := s.Session(resource).Active
	return active == name || active == "" && s.Default == name
}

// Choose gives s after a list was made the default or the active one of a
// session, or none was (XEP-0016, sections 2.4 and 2.5). The default must not
// change while it counts for a session of another resource.
func (s *State) Choose(c *event.PrivacyListChosen, connected []string) (next *State, condition string) {
	name := c.GetName()
	if name != "" && (s == nil || s.Lists[name] == nil) {
		return s, NotFound
	}
	if !c.GetDefault() {
		x := s.Session(c.GetResource())
		if x.Active == name {
			return s, ""
		}
		x.Active = name
		next = s.copy()
		next.keep(c.GetResource(), x)
		return next.settled(), ""
	}
	if s == nil || s.Default == name {
		return s, ""
	}
	if s.Default != "" && slices.ContainsFunc(connected, func(r string) bool { return r != c.GetResource() && s.counts(s.Default, r) }) {
		return s, InUse
	}
	next = s.copy()
	next.Default = name
	return next, ""
}

// Visible gives s after a session became visible or invisible (XEP-0186,
// section 3).
func (s *State) Visible(resource string, visible bool, at time.Time) *State {
	x := s.Session(resource)
	if x.Invisible == !visible {
		return s
	}
	x.Invisible, x.Since = !visible, time.Time{}
	if x.Invisible {
		x.Since = at
	}
	next := s.copy()
	next.keep(resource, x)
	return next.settled()
}

// Ended gives s after the session of a resource has ended: its active list
// and its invisibility end with it.
func (s *State) Ended(resource string) *State {
	if s == nil || len(s.Sessions) == 0 {
		return s
	}
	if _, there := s.Sessions[resource]; !there {
		return s
	}
	next := s.copy()
	delete(next.Sessions, resource)
	return next.settled()
}

func (s *State) keep(resource string, x Session) {
	if x == (Session{}) {
		delete(s.Sessions, resource)
		return
	}
	if s.Sessions == nil {
		s.Sessions = make(map[string]Session, 1)
	}
	s.Sessions[resource] = x
}

// CheckItems gives the condition by which the items of a list are refused,
// empty if they are in order: types and values are those of XEP-0016, section
// 2.1, and no two have the same order.
func CheckItems(items []*event.PrivacyItem) (condition string) {
	orders := make(map[uint32]struct{}, len(items))
	for _, i := range items {
		if _, twice := orders[i.GetOrder()]; twice {
			return Malformed
		}
		orders[i.GetOrder()] = struct{}{}
		switch i.GetType() {
		case "jid", "group":
			if i.GetValue() == "" {
				return Malformed
			}
		case "subscription":
			if !slices.Contains([]string{"both", "to", "from", "none"}, i.GetValue()) {
				return Malformed
			}
		case "":
			if i.GetValue() != "" {
				return Malformed
			}
		default:
			return Malformed
		}
	}
	return ""
}

// Groups gives the names of the groups that items refer to, sorted.
func Groups(items []*event.PrivacyItem) []string {
	groups := make(map[string]struct{})
	for _, i := range items {
		if i.GetType() == "group" {
			groups[i.GetValue()] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(groups))
}
