package privacy

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Compiled answers what a policy says, without allocating, in a time that does
// not grow with the block list. It is never changed, so any goroutine may ask
// it. A nil Compiled lets everything through.
type Compiled struct {
	policy   *event.Policy
	blocked  *jids
	rules    []rule
	sessions map[string]session
	hidden   bool // a session is invisible
}

type session struct {
	active, invisible bool
	rules             []rule
}

// rule is one or several rules in a row that differ in whom they match alone.
type rule struct {
	allow  bool
	kinds  Kind
	all    bool
	jids   *jids
	bares  map[string]struct{} // bare JIDs, for a rule by the roster
	others bool                // all but bares
}

// New gives p in the form that answers fast, nil for nil.
func New(p *event.Policy) *Compiled {
	if p == nil {
		return nil
	}
	c := &Compiled{policy: p, blocked: newJIDs(p.GetBlocked()), rules: rulesOf(p.GetDefaultRules())}
	if all := p.GetSessions(); len(all) > 0 {
		c.sessions = make(map[string]session, len(all))
		for _, x := range all {
			c.sessions[x.GetResource()] = session{active: x.GetActive(), invisible: x.GetInvisible(), rules: rulesOf(x.GetRules())}
			c.hidden = c.hidden || x.GetInvisible()
		}
	}
	return c
}

func rulesOf(all []*event.PolicyRule) []rule {
	var rules []rule
	for i := 0; i < len(all); i++ {
		r := rule{allow: all[i].GetAllow(), kinds: kindsOf(all[i])}
		switch {
		case all[i].GetAll():
			r.all = true
		case all[i].GetJid() != "":
			names := []string{all[i].GetJid()}
			for i+1 < len(all) && all[i+1].GetJid() != "" && !all[i+1].GetAll() && all[i+1].GetAllow() == r.allow && kindsOf(all[i+1]) == r.kinds {
				i++
				names = append(names, all[i].GetJid())
			}
			r.jids = newJIDs(names)
		default:
			r.others, r.bares = all[i].GetOthers(), make(map[string]struct{}, len(all[i].GetContacts()))
			for _, contact := range all[i].GetContacts() {
				r.bares[contact] = struct{}{}
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// kindsOf gives the kinds that a rule is for (XEP-0016, section 2.1).
func kindsOf(r *event.PolicyRule) (kinds Kind) {
	for _, k := range []struct {
		of bool
		Kind
	}{{r.GetMessage(), Message}, {r.GetIq(), IQ}, {r.GetPresenceIn(), PresenceIn}, {r.GetPresenceOut(), PresenceOut}} {
		if k.of {
			kinds |= k.Kind
		}
	}
	if kinds == 0 {
		return every
	}
	return kinds
}

func (r *rule) matches(other jid.JID) bool {
	switch {
	case r.all:
		return true
	case r.jids != nil:
		return r.jids.match(other)
	}
	_, listed := r.bares[other.Bare().String()]
	return listed != r.others
}

// Policy gives what c was made of.
func (c *Compiled) Policy() *event.Policy {
	if c == nil {
		return nil
	}
	return c.policy
}

// Allows tells that traffic of one kind between a resource of the account and
// another address passes; without a resource, between the account as a whole
// and the other (XEP-0016, section 2.2, rules 1 to 3). The account itself is
// always let through.
func (c *Compiled) Allows(k Kind, resource string, other jid.JID) bool {
	if c == nil || other.Bare().String() == c.policy.GetAccount() {
		return true
	}
	if c.blocked.match(other) {
		return false
	}
	rules := c.rules
	if x, ok := c.sessions[resource]; ok && x.active {
		rules = x.rules
	}
	for i := range rules {
		if r := &rules[i]; r.kinds&k != 0 && r.matches(other) {
			return r.allow
		}
	}
	return true
}

// Blocks tells that the other is blocked by the block list (XEP-0191).
func (c *Compiled) Blocks(other jid.JID) bool {
	return c != nil && other.Bare().String() != c.policy.GetAccount() && c.blocked.match(other)
}

// Hides tells that a viewer must not see the presence of a resource, nor that
// there is one. What an invisible resource directs to somebody reaches them
// all the same (XEP-0186, section 3.1.1): of that Allows decides.
func (c *Compiled) Hides(resource string, viewer jid.JID) bool {
	if c == nil || viewer.Bare().String() == c.policy.GetAccount() {
		return false
	}
	return c.hidden && c.sessions[resource].invisible || !c.Allows(PresenceOut, resource, viewer)
}

// Invisible tells that the session of a resource is invisible.
func (c *Compiled) Invisible(resource string) bool { return c != nil && c.sessions[resource].invisible }

// Concerns tells whether c may deny traffic of any of the kinds with an
// account, or with a resource of it, for any session; for PresenceOut it also
// counts who is invisible. If not, nothing of the account needs to be asked
// about until c changes.
func (c *Compiled) Concerns(kinds Kind, account jid.Bare) bool {
	if c == nil || account.String() == c.policy.GetAccount() {
		return false
	}
	if kinds&PresenceOut != 0 && c.hidden || c.blocked.touch(account) || denies(c.rules, kinds, account) {
		return true
	}
	for _, x := range c.sessions {
		if x.active && denies(x.rules, kinds, account) {
			return true
		}
	}
	return false
}

// denies tells whether rules may deny something of an account.
func denies(rules []rule, kinds Kind, account jid.Bare) bool {
	for i := range rules {
		r := &rules[i]
		if r.kinds&kinds == 0 {
			continue
		}
		if !r.allow && (r.jids == nil && r.matches(account.JID()) || r.jids != nil && r.jids.touch(account)) {
			return true
		}
		if r.allow && r.kinds&kinds == kinds && r.matches(account.JID()) {
			return false // all of its resources match, too
		}
	}
	return false
}

// Allows is Compiled.Allows for who asks once.
func Allows(p *event.Policy, k Kind, resource string, other jid.JID) bool {
	return p == nil || New(p).Allows(k, resource, other)
}

// Hides is Compiled.Hides for who asks once.
func Hides(p *event.Policy, resource string, viewer jid.JID) bool {
	return p != nil && New(p).Hides(resource, viewer)
}
