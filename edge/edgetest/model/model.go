// Package model is an executable reading of RFC 6121: accounts, rosters,
// subscriptions, presence and messages, done the simplest way, one stanza at a
// time and everything at once. It says what each connected client must have
// been told, and so what its view of the others must be. It shares no rule
// with the server that it checks.
//
// It knows one domain, whose accounts all exist.
package model

import (
	"maps"
	"slices"
	"strings"
)

// Model is the whole world. The zero value is not ready; New makes one.
type Model struct {
	domain   string
	accounts map[string]*account // by localpart
	id       string              // of the command that is being done
}

// account is what its server keeps of it.
type account struct {
	name     string
	bare     string
	roster   map[string]*item // by localpart
	sessions map[string]*Session
	waiting  []letter           // nobody took them yet
	origins  map[[2]string]bool // senders and their clients' ids of what may wait and arrived (XEP-0359)
	blocked  map[string]bool    // XEP-0191
	lists    map[string][]rule  // XEP-0016, by name
	fallback string             // the name of the default list
}

// item is one side of a pair of accounts (RFC 6121, Appendix A).
type item struct {
	listed        bool // in the roster, visible to clients
	name, groups  string
	to, from      bool
	askOut, askIn bool // a request waits
	approved      bool // before there is a request (section 3.4)
}

// letter is a message that waits for a resource.
type letter struct{ id, from, resource string }

// Seen is the presence of a full JID as somebody sees it.
type Seen struct{ Show, Status string }

// Session is a connected resource.
type Session struct {
	Full       string
	Edge       int
	Available  bool
	Interested bool // asked for the roster
	said       Seen
	priority   int
	active     string          // the name of its active list
	invisible  bool            // XEP-0186
	directed   map[string]bool // JIDs that must hear of the end (section 4.6.3)

	// View is whom its client sees, by full JID.
	View map[string]Seen
	// Roster is what its client knows of the roster, by bare JID.
	Roster map[string]string
	// Must is what else its client was told, in order; May is what it
	// perhaps was told, too. Both are since Told was last called.
	Must, May []string
}

// New makes accounts that know nobody.
func New(domain string, names ...string) *Model {
	m := &Model{domain: domain, accounts: make(map[string]*account)}
	for _, n := range names {
		m.accounts[n] = &account{name: n, bare: n + "@" + domain, roster: make(map[string]*item), sessions: make(map[string]*Session),
			blocked: make(map[string]bool), origins: make(map[[2]string]bool), lists: make(map[string][]rule)}
	}
	return m
}

// Session gives the session of "name/resource", nil if there is none.
func (m *Model) Session(who string) *Session {
	name, resource, _ := strings.Cut(who, "/")
	if a := m.accounts[name]; a != nil {
		return a.sessions[resource]
	}
	return nil
}

// Invisible tells that a session is there and invisible.
func (m *Model) Invisible(who string) bool {
	s := m.Session(who)
	return s != nil && s.invisible
}

// Waiting gives the number of messages that wait for the account.
func (m *Model) Waiting(name string) int { return len(m.accounts[name].waiting) }

// Sessions gives the names of all sessions, in order.
func (m *Model) Sessions() []string {
	var all []string
	for _, a := range m.all() {
		for _, r := range slices.Sorted(maps.Keys(a.sessions)) {
			all = append(all, a.name+"/"+r)
		}
	}
	return all
}

func (m *Model) all() []*account {
	var all []*account
	for _, n := range slices.Sorted(maps.Keys(m.accounts)) {
		all = append(all, m.accounts[n])
	}
	return all
}

// Told forgets what clients were told besides presence and roster.
func (m *Model) Told() {
	for _, a := range m.accounts {
		for _, s := range a.sessions {
			s.Must, s.May = nil, nil
		}
	}
}

// contact gives a's side of the pair of a and name.
func (a *account) contact(name string) *item {
	if a.roster[name] == nil {
		a.roster[name] = new(item)
	}
	return a.roster[name]
}

// ordered gives the sessions by resource.
func (a *account) ordered() []*Session {
	var all []*Session
	for _, r := range slices.Sorted(maps.Keys(a.sessions)) {
		all = append(all, a.sessions[r])
	}
	return all
}

// text is an item as a client sees it (section 2.1.2), empty if it does not.
func (i *item) text() string {
	if !i.listed {
		return ""
	}
	t := i.state()
	if i.askOut {
		t += " ask"
	}
	if i.approved {
		t += " approved"
	}
	return t + " " + i.name + "[" + i.groups + "]"
}

// state is the attribute "subscription".
func (i *item) state() string {
	switch {
	case i.to && i.from:
		return "both"
	case i.to:
		return "to"
	case i.from:
		return "from"
	}
	return "none"
}

// push tells interested resources of an item (section 2.1.6).
func (a *account) push(m *Model, contact string) {
	bare := contact + "@" + m.domain
	for _, s := range a.sessions {
		if !s.Interested {
			continue
		}
		if t := a.contact(contact).text(); t != "" {
			s.Roster[bare] = t
		} else {
			delete(s.Roster, bare)
		}
	}
}

// hear gives a session presence of a full JID; nil is unavailable.
func (s *Session) hear(from string, p *Seen) {
	if p == nil {
		delete(s.View, from)
	} else {
		s.View[from] = *p
	}
}

// broadcast gives presence of a session to all available resources that may
// see it (sections 4.2.3, 4.4.3, 4.5.3).
func (m *Model) broadcast(a *account, s *Session, p *Seen) {
	for _, b := range m.accounts {
		for _, t := range b.sessions {
			if m.sees(b, t, a, s) {
				t.hear(s.Full, p)
			}
		}
	}
}

// split takes "name" or "name/resource" apart.
func split(to string) (name, resource string) {
	name, resource, _ = strings.Cut(to, "/")
	return name, resource
}

// Accounts gives the accounts' names, in order.
func (m *Model) Accounts() []string { return slices.Sorted(maps.Keys(m.accounts)) }
