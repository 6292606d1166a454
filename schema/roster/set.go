package roster

import (
	"fmt"

	"github.com/rollcall/rollcall/schema/jid"
)

// A Set is what a client asks for with one item of a roster set (RFC 6121,
// section 2.1.5). Values of the attribute "subscription" other than "remove"
// are ignored, so only Remove is left of it.
type Set struct {
	Contact jid.Bare
	Name    string
	Groups  []string
	Remove  bool
}

// Limits bound a roster set. A zero limit is none.
type Limits struct {
	Name   int // longest name, bytes
	Group  int // longest name of a group, bytes
	Groups int // most groups of an item
}

// A Refusal tells why a roster set is refused.
type Refusal struct {
	Condition string // of the stanza error (RFC 6120, section 8.3.3)
	Why       string
}

// Error names condition and reason.
func (r *Refusal) Error() string { return fmt.Sprintf("roster set: %s: %s", r.Condition, r.Why) }

// Check gives the one item that owner may set, or a *Refusal. RFC 6121,
// sections 2.1.5 and 2.3.3; its interoperability note on an item for the
// account itself is followed.
func (l Limits) Check(owner jid.Bare, items []Set) (Set, error) {
	if len(items) != 1 {
		return Set{}, &Refusal{"bad-request", fmt.Sprintf("%d items instead of one", len(items))}
	}
	s := items[0]
	switch {
	case s.Contact.IsZero():
		return Set{}, &Refusal{"bad-request", "no jid"}
	case s.Contact == owner:
		return Set{}, &Refusal{"not-allowed", "an item for the account itself"}
	case s.Remove:
		return Set{Contact: s.Contact, Remove: true}, nil
	case over(len(s.Name), l.Name):
		return Set{}, &Refusal{"not-acceptable", "the name is too long"}
	case over(len(s.Groups), l.Groups):
		return Set{}, &Refusal{"not-acceptable", "too many groups"}
	}
	seen := make(map[string]struct{}, len(s.Groups))
	for _, g := range s.Groups {
		if g == "" {
			return Set{}, &Refusal{"not-acceptable", "a group without a name"}
		}
		if over(len(g), l.Group) {
			return Set{}, &Refusal{"not-acceptable", "the name of a group is too long"}
		}
		if _, twice := seen[g]; twice {
			return Set{}, &Refusal{"bad-request", "the same group twice"}
		}
		seen[g] = struct{}{}
	}
	return s, nil
}

func over(n, limit int) bool { return limit > 0 && n > limit }
