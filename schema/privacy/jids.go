package privacy

import "github.com/rollcall/rollcall/schema/jid"

// jids is a set of addresses as a list names them (XEP-0191, section 5;
// XEP-0016, section 2.1): user@domain/resource and domain/resource are that
// address alone, user@domain is any resource of it too, and domain is all that
// is in it.
type jids struct {
	named   map[string]struct{}
	partial map[string]struct{} // bare JIDs of which a resource is named; nil if there is none
}

func newJIDs(names []string) *jids {
	if len(names) == 0 {
		return nil
	}
	s := &jids{named: make(map[string]struct{}, len(names))}
	for _, name := range names {
		s.named[name] = struct{}{}
		if j := jid.FromCanonical(name); j.IsFull() {
			if s.partial == nil {
				s.partial = make(map[string]struct{}, 1)
			}
			s.partial[j.Bare().String()] = struct{}{}
		}
	}
	return s
}

// match tells that the set has the address.
func (s *jids) match(j jid.JID) bool {
	if s == nil {
		return false
	}
	if _, ok := s.named[j.Bare().String()]; ok {
		return true
	}
	if s.partial != nil && j.IsFull() {
		if _, ok := s.named[j.String()]; ok {
			return true
		}
	}
	_, ok := s.named[j.Domain()]
	return ok
}

// touch tells that the set has an account, or a resource of it.
func (s *jids) touch(account jid.Bare) bool {
	if s == nil {
		return false
	}
	_, ok := s.partial[account.String()]
	return ok || s.match(account.JID())
}
