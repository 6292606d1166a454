package privacy

import (
	"maps"
	"slices"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

// Compile gives the policy of an account by what it has set and its roster;
// nil if it has set nothing that is in use.
func Compile(account jid.Bare, s *State, items map[jid.Bare]roster.Item) *event.Policy {
	return compile(account, s, func(i *event.PrivacyItem, r *event.PolicyRule) {
		r.Contacts, r.Others = contacts(i, items)
	})
}

// Conservative gives a policy that lets nothing through which Compile would
// not, whatever is in the roster: of the rules that refer to it those that
// deny match everybody, those that allow nobody.
func Conservative(account jid.Bare, s *State) *event.Policy {
	return compile(account, s, func(i *event.PrivacyItem, r *event.PolicyRule) { r.Others = !i.GetAllow() })
}

// Recompile gives what is known of the policy without the roster after was,
// whose policy is p, has become s: what Conservative gives, but for lists that
// are in use in both and have not changed, of which p knows. It tells whether
// that is all that Compile would give, if p is.
func Recompile(account jid.Bare, s, was *State, p *event.Policy) (next *event.Policy, exact bool) {
	next = Conservative(account, s)
	if !next.GetRoster() {
		return next, true
	}
	known := make(map[string][]*event.PolicyRule)
	unchanged := func(name string) bool { return name != "" && slices.Equal(s.Lists[name], was.Lists[name]) }
	if was != nil {
		if unchanged(was.Default) {
			known[was.Default] = p.GetDefaultRules()
		}
		for _, x := range p.GetSessions() {
			if active := was.Sessions[x.GetResource()].Active; unchanged(active) {
				known[active] = x.GetRules()
			}
		}
	}
	exact = true
	rules := func(name string, rules []*event.PolicyRule) []*event.PolicyRule {
		if r, ok := known[name]; ok {
			return r
		}
		exact = exact && !refers(s.Lists[name])
		return rules
	}
	next.DefaultRules = rules(s.Default, next.DefaultRules)
	for _, x := range next.GetSessions() {
		if x.GetActive() {
			x.Rules = rules(s.Sessions[x.GetResource()].Active, x.Rules)
		}
	}
	return next, exact
}

// Doubt gives a policy that lets nothing through of the contact which p would
// not let through, whatever becomes of its item in the roster.
func Doubt(p *event.Policy, contact string) *event.Policy {
	if !p.GetRoster() {
		return p
	}
	doubted := &event.Policy{Account: p.GetAccount(), Blocked: p.GetBlocked(), Roster: true}
	doubted.DefaultRules = doubtRules(p.GetDefaultRules(), contact)
	for _, x := range p.GetSessions() {
		doubted.Sessions = append(doubted.Sessions, &event.SessionPolicy{
			Resource: x.GetResource(), Active: x.GetActive(), Invisible: x.GetInvisible(), Rules: doubtRules(x.GetRules(), contact),
		})
	}
	return doubted
}

func doubtRules(rules []*event.PolicyRule, contact string) []*event.PolicyRule {
	doubted := slices.Clone(rules)
	for n, r := range rules {
		if r.GetAll() || r.GetJid() != "" {
			continue
		}
		at, listed := slices.BinarySearch(r.GetContacts(), contact)
		if matches := listed != r.GetOthers(); matches != r.GetAllow() {
			continue
		}
		d := &event.PolicyRule{
			Allow: r.GetAllow(), Others: r.GetOthers(),
			Message: r.GetMessage(), Iq: r.GetIq(), PresenceIn: r.GetPresenceIn(), PresenceOut: r.GetPresenceOut(),
		}
		if listed {
			d.Contacts = slices.Delete(slices.Clone(r.GetContacts()), at, at+1)
		} else {
			d.Contacts = slices.Insert(slices.Clone(r.GetContacts()), at, contact)
		}
		doubted[n] = d
	}
	return doubted
}

func compile(account jid.Bare, s *State, refer func(*event.PrivacyItem, *event.PolicyRule)) *event.Policy {
	if s == nil || len(s.Blocked) == 0 && s.Default == "" && len(s.Sessions) == 0 {
		return nil
	}
	rules := func(name string) []*event.PolicyRule {
		var all []*event.PolicyRule
		for _, i := range s.Lists[name] {
			r := &event.PolicyRule{
				Allow: i.GetAllow(), Message: i.GetMessage(), Iq: i.GetIq(), PresenceIn: i.GetPresenceIn(), PresenceOut: i.GetPresenceOut(),
			}
			switch i.GetType() {
			case "":
				r.All = true
			case "jid":
				r.Jid = i.GetValue()
			default:
				refer(i, r)
			}
			all = append(all, r)
		}
		return all
	}
	p := &event.Policy{Account: account.String(), Blocked: s.Blocked, DefaultRules: rules(s.Default), Roster: s.Roster()}
	for _, resource := range slices.Sorted(maps.Keys(s.Sessions)) {
		x := s.Sessions[resource]
		session := &event.SessionPolicy{Resource: resource, Invisible: x.Invisible, Active: x.Active != ""}
		if session.Active {
			session.Rules = rules(x.Active)
		}
		p.Sessions = append(p.Sessions, session)
	}
	return p
}

// contacts gives whom a rule by group or subscription matches: these, or all
// but these (XEP-0016, section 2.1).
func contacts(i *event.PrivacyItem, items map[jid.Bare]roster.Item) (these []string, others bool) {
	others = i.GetType() == "subscription" && i.GetValue() == "none"
	for contact, it := range items {
		if it.Removed {
			continue
		}
		var listed bool
		switch {
		case i.GetType() == "group":
			listed = slices.Contains(it.Groups, i.GetValue())
		case others:
			listed = it.State&subscription.Both != 0
		default:
			listed = it.State.Attribute() == i.GetValue()
		}
		if listed {
			these = append(these, contact.String())
		}
	}
	slices.Sort(these)
	return these, others
}
