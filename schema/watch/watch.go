// Package watch folds the records of a partition of the topic account into
// what an outsider may be told of it: whose presence changed to what, and that
// messages passed. It keeps of each account only what that needs, and applies
// the same fold as the projection, so that whoever adds up the changes has the
// available resources of views.resource that are not invisible.
//
// Invisible sessions (XEP-0186) are told as unavailable, as to every contact.
package watch

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/topic"
)

// A Place is where a change is: the first Of changes of the record at Offset
// are of index 0. Places of one partition are in one order, the same whoever
// folds it.
type Place struct {
	Partition int32
	Offset    int64
	Index, Of int // 0 <= Index < Of
}

// A Change is something to be told. Exactly one of Presence and Message is set.
type Change struct {
	Place
	Account  string    // bare JID
	At       time.Time // of the event, UTC
	Presence *Presence
	Message  *Message
}

// A Presence is what a full JID is from a change on.
type Presence struct {
	Resource  string
	Available bool
	Show      string // "", "away", "chat", "dnd" or "xa"; empty unless available
	Status    string
	Priority  int8      // 0 unless available
	Since     time.Time // when it became available, or else when it went; UTC
}

// MessageKind tells what happened to a message.
type MessageKind string

// The kinds of what happens to messages.
const (
	Accepted  MessageKind = "accepted"  // it is in the history of its recipient
	Sent      MessageKind = "sent"      // the same in the history of its sender
	Delivered MessageKind = "delivered" // a resource of the recipient took it
)

// A Message is what is told of one, which is nothing that it says.
type Message struct {
	Kind     MessageKind
	Resource string    // of the account: as addressed, of the sender, or that took it
	Peer     string    // bare or full JID of the other side; empty for Delivered
	ID       uuid.UUID // stanza id (XEP-0359); zero for Delivered
	Type     string    // normal, chat, headline, groupchat or error; empty for Delivered
	Of       int64     // of Delivered, the offset at which it was accepted
}

// A Partition is the fold of one partition. It is not safe for concurrent use.
type Partition struct {
	Number int32
	Of     int   // partitions of the topic
	Next   int64 // the first offset that is not folded

	marks    account.Marks
	accounts map[string]*account.State // those that have anything of state.Resources, Ended or Privacy
	deleted  map[string]int64          // accounts that were deleted, with the time: what comes late for them is nothing
}

// New gives the fold of a partition, one of that many, from its beginning.
func New(number int32, of int) *Partition {
	return &Partition{Number: number, Of: of, accounts: make(map[string]*account.State), deleted: make(map[string]int64)}
}

// forgetDeleted is how long, by the time of the events, it is remembered that
// an account was deleted: longer than a copy may be on its way.
const forgetDeleted = 24 * time.Hour

// Apply folds the record at offset, with that key, and gives what changed.
// Records come in their order; e is nil for one that cannot be read.
func (p *Partition) Apply(offset int64, key string, e *event.Event) []Change {
	p.Next = offset + 1
	if e == nil || !p.known(key, e) || !p.marks.Admit(e) {
		return nil
	}
	var changes []Change
	switch k := e.GetKind().(type) {
	case *event.Event_EdgeLost:
		for _, name := range p.of(k.EdgeLost) {
			changes = p.fold(changes, offset, name, e)
		}
	case *event.Event_AccountCreated:
		delete(p.deleted, key)
	case *event.Event_AccountDeleted:
		changes = p.fold(changes, offset, key, e)
		p.deleted[key] = e.GetAt()
		maps.DeleteFunc(p.deleted, func(_ string, at int64) bool { return at < e.GetAt()-forgetDeleted.Microseconds() })
	default:
		if _, gone := p.deleted[key]; gone {
			return nil
		}
		if m := message(e); m != nil {
			changes = append(changes, Change{Account: key, At: event.Time(e), Message: m})
		}
		changes = p.fold(changes, offset, key, reduced(e))
	}
	for i := range changes {
		changes[i].Place = Place{Partition: p.Number, Offset: offset, Index: i, Of: len(changes)}
	}
	return changes
}

// known tells that a record with this key is one: the projection sets others
// aside before it looks at their origin.
func (p *Partition) known(key string, e *event.Event) bool {
	if e.GetEdgeLost() != nil || p.accounts[key] != nil {
		return true
	}
	b, err := jid.ParseBare(key)
	return err == nil && b.String() == key && topic.Partition(b, p.Of) == p.Number
}

// of gives the accounts that have a resource of an edge in that epoch or an
// earlier one, sorted.
func (p *Partition) of(l *event.EdgeLost) (names []string) {
	for name, s := range p.accounts {
		for _, r := range s.Resources {
			if r.Edge == l.GetEdge() && r.Epoch <= l.GetEpoch() {
				names = append(names, name)
				break
			}
		}
	}
	slices.Sort(names)
	return names
}

// reduced gives e as far as sessions and their presence depend on it.
func reduced(e *event.Event) *event.Event {
	switch e.GetKind().(type) {
	case *event.Event_ResourceBound, *event.Event_ResourceClosed, *event.Event_PresenceAvailable, *event.Event_PresenceUnavailable,
		*event.Event_BlockListChanged, *event.Event_PrivacyListChanged, *event.Event_PrivacyListChosen, *event.Event_VisibilityChanged,
		*event.Event_StanzaHandled:
		return e
	}
	return &event.Event{At: e.GetAt(), Binding: e.GetBinding(), Stanza: e.GetStanza(), StanzaBefore: e.GetStanzaBefore(),
		Kind: &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}}}
}

// fold applies e to one account.
func (p *Partition) fold(changes []Change, offset int64, name string, e *event.Event) []Change {
	s := p.accounts[name]
	if s == nil {
		if !begins(e) {
			return changes
		}
		s = account.New(jid.BareFromCanonical(name))
		s.Exists = true
		p.accounts[name] = s
	}
	if e.GetStanzaHandled() != nil { // changes nobody's presence
		s.Apply(offset, e)
		s.Changes.Reset()
		return changes
	}
	before := told(s)
	s.Apply(offset, e) // its reactions are in the log already
	s.Changes.Reset()
	after := told(s)
	for _, name := range names(before, after) {
		was, is := before[name], after[name]
		switch {
		case is != nil && (was == nil || is.version != was.version):
			changes = append(changes, Change{Account: s.Account.String(), At: event.Time(e), Presence: &is.Presence})
		case is == nil && was != nil:
			changes = append(changes, Change{Account: s.Account.String(), At: event.Time(e), Presence: gone(s, name, e)})
		}
	}
	if len(s.Resources)+len(s.Ended) == 0 && s.Privacy == nil {
		delete(p.accounts, name)
	}
	return changes
}

// begins tells that e may leave something of an account that has nothing yet.
func begins(e *event.Event) bool {
	switch e.GetKind().(type) {
	case *event.Event_ResourceBound, *event.Event_BlockListChanged, *event.Event_PrivacyListChanged, *event.Event_PrivacyListChosen:
		return true
	}
	return false
}

type versioned struct {
	Presence
	version int64
}

// told gives the resources that are told to be available.
func told(s *account.State) map[string]*versioned {
	var all map[string]*versioned
	for name, r := range s.Resources {
		if r.Available && !s.Privacy.Session(name).Invisible {
			if all == nil {
				all = make(map[string]*versioned, len(s.Resources))
			}
			all[name] = &versioned{shown(r), r.Version}
		}
	}
	return all
}

func shown(r presence.Resource) Presence {
	return Presence{Resource: r.Name, Available: true, Show: r.Show, Status: r.Status, Priority: r.Priority, Since: r.Since}
}

// gone gives what a resource is that is no longer told to be available.
func gone(s *account.State, name string, e *event.Event) *Presence {
	out := &Presence{Resource: name, Since: event.Time(e)}
	if r, ok := s.Resources[name]; ok && !r.Available {
		out.Status = r.Status
	}
	return out
}

func names(before, after map[string]*versioned) []string {
	if len(before) == 0 && len(after) == 0 {
		return nil
	}
	all := slices.Collect(maps.Keys(before))
	for name := range after {
		if before[name] == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// message gives what is told of e if it is about a message.
func message(e *event.Event) *Message {
	switch k := e.GetKind().(type) {
	case *event.Event_MessageAccepted:
		m := k.MessageAccepted
		return &Message{Kind: Accepted, Resource: m.GetResource(), Peer: m.GetFrom(), ID: event.ID(e), Type: typeOf(m.GetMessage())}
	case *event.Event_MessageSent:
		m := k.MessageSent
		return &Message{Kind: Sent, Resource: m.GetResource(), Peer: m.GetTo(), ID: event.UUID(m.GetAccepted()), Type: typeOf(m.GetMessage())}
	case *event.Event_Delivered:
		return &Message{Kind: Delivered, Resource: k.Delivered.GetResource(), Of: k.Delivered.GetOffset()}
	}
	return nil
}

// typeOf gives the type as a stanza has it (RFC 6121, section 5.2.2).
func typeOf(m *event.Message) string {
	return strings.ToLower(strings.TrimPrefix(m.GetType().String(), "MESSAGE_TYPE_"))
}

// Current gives what the accounts for which match is true are, sorted.
func (p *Partition) Current(match func(account string) bool) (current []Change) {
	for name, s := range p.accounts {
		if match(name) {
			current = append(current, ofAccount(name, s)...)
		}
	}
	slices.SortFunc(current, func(a, b Change) int { return strings.Compare(a.Account, b.Account) })
	return current
}

// Account gives what one account is, sorted by resource.
func (p *Partition) Account(name string) []Change {
	if s := p.accounts[name]; s != nil {
		return ofAccount(name, s)
	}
	return nil
}

func ofAccount(name string, s *account.State) (current []Change) {
	all := told(s)
	for _, resource := range slices.Sorted(maps.Keys(all)) {
		r := s.Resources[resource]
		current = append(current, Change{Account: name, At: r.Since, Place: Place{Offset: r.Version}, Presence: &all[resource].Presence})
	}
	return current
}

// Online gives how many accounts have an available resource that is told, and
// how many such resources there are.
func (p *Partition) Online() (accounts, resources int) {
	for _, s := range p.accounts {
		if n := len(told(s)); n > 0 {
			accounts++
			resources += n
		}
	}
	return accounts, resources
}
