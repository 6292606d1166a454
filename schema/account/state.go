// Package account folds the history of an account into its state: what is in
// its roster, which of its resources are there, and which messages wait. It
// puts the rules of subscription, roster, presence and message together, one
// event at a time. It reads nothing but the state and the event: no clock, no
// configuration; so a replay of the same history gives the same state and the
// same reactions.
package account

import (
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/node"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/push"
	"github.com/rollcall/rollcall/schema/roster"
)

// Version is the version of the fold: it is raised when the same history
// would fold to something else, so that views are rebuilt.
const Version = 3

// A State is what the history of one account amounts to. Its maps may be nil.
// It is not safe for concurrent use.
type State struct {
	Account   jid.Bare
	Exists    bool      // between AccountCreated and AccountDeleted; else all below is empty
	Created   int64     // offset of the AccountCreated
	CreatedAt time.Time // UTC, microseconds

	// Roster has the items in the roster, and those that are Removed: see
	// roster.Item.
	Roster map[jid.Bare]roster.Item
	// Resources has the connected resources by resourcepart; of each only the
	// latest binding.
	Resources map[string]presence.Resource
	// Directed has a key of Resources only if that has targets.
	Directed presence.Directed
	// Ended has the sessions that ended and may still be resumed, by binding.
	Ended map[uuid.UUID]Ended
	// Inbox has the storable messages that no resource took yet, by the offset
	// of their MessageAccepted.
	Inbox map[int64]Stored
	// Origins has the latest storable messages whose senders' clients gave them
	// an id (XEP-0359).
	Origins message.Origins

	// Nodes has what the account publishes, by the nodes' names.
	Nodes map[string]node.Node
	// Storage has what it keeps with the server.
	Storage map[StorageKey]StorageEntry
	// Push has the push services that hear of messages that wait.
	Push map[push.Key]push.Registration
	// Archive is what the account has set of which messages its archive keeps;
	// nil of who has set nothing.
	Archive *archive.Preferences
	// Departed is the last end of its presence.
	Departed Departure

	// Privacy is what the account has set of what it lets through; nil of who
	// has set nothing.
	Privacy *privacy.State
	// Hidden has what Privacy hides of the connected resources from
	// subscribers.
	Hidden map[Hidden]struct{}
	// Refused has the contacts whose presence the account, by its default,
	// does not take in.
	Refused map[jid.Bare]struct{}

	compiled   *privacy.Compiled // of compiledOf and Roster
	compiledOf *privacy.State

	// Changes has what Apply touched since the caller reset it.
	Changes Changes
}

// New gives the state of an account that has no history.
func New(account jid.Bare) *State { return &State{Account: account} }

// Stored is a message that waits. The event is shared and must not be changed.
type Stored struct {
	Offset   int64
	ID       uuid.UUID // the MessageAccepted's id
	At       time.Time // UTC, microseconds
	Accepted *event.MessageAccepted
}

// Changes names the rows of a state that were touched. A key that is in the
// set and no longer in the state is of a row to be deleted; a key may also be
// of a row that was made and deleted since, or is what it was before.
type Changes struct {
	Account   bool // Exists, Created, CreatedAt or Departed
	Items     map[jid.Bare]struct{}
	Resources map[string]struct{}
	Directed  map[string]struct{} // resourceparts whose set of targets was touched
	Ended     map[uuid.UUID]struct{}
	Inbox     map[int64]struct{}
	Origins   bool
	Nodes     map[string]struct{}   // configurations
	NodeItems map[NodeItem]struct{} // published or gone
	Storage   map[StorageKey]struct{}
	Push      map[push.Key]struct{}
	Pushes    []Push // to be told
	Archive   bool
	Privacy   bool // or what is compiled of it
	Hidden    map[Hidden]struct{}
	Refused   map[jid.Bare]struct{}
}

// Empty tells that nothing was touched.
func (c *Changes) Empty() bool {
	return !c.Account && !c.Privacy && !c.Origins && !c.Archive && len(c.Items)+len(c.Resources)+len(c.Directed)+len(c.Inbox)+len(c.Ended)+
		len(c.Nodes)+len(c.NodeItems)+len(c.Storage)+len(c.Push)+len(c.Pushes)+len(c.Hidden)+len(c.Refused) == 0
}

// Reset forgets everything; the sets are emptied in place and used again.
func (c *Changes) Reset() {
	c.Account = false
	clear(c.Items)
	clear(c.Resources)
	clear(c.Directed)
	clear(c.Inbox)
	clear(c.Ended)
	clear(c.Nodes)
	clear(c.NodeItems)
	clear(c.Storage)
	clear(c.Push)
	c.Pushes = c.Pushes[:0]
	c.Privacy, c.Origins, c.Archive = false, false, false
	clear(c.Hidden)
	clear(c.Refused)
}

// A Reaction is what an event causes elsewhere: an event in the history of
// Account, or a record in its outbox. Exactly one of Event and Output is set.
// They have their kind and time, and Event the binding where there is one; the
// shell adds id, origin, sequence and index.
type Reaction struct {
	Account jid.Bare
	Event   *event.Event
	Output  *event.Output
}

func note[K comparable](set *map[K]struct{}, key K) {
	if *set == nil {
		*set = make(map[K]struct{})
	}
	(*set)[key] = struct{}{}
}

func put[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[key] = value
}

// item gives what the account keeps of contact.
func (s *State) item(contact jid.Bare) roster.Item {
	if i, ok := s.Roster[contact]; ok {
		return i
	}
	return roster.Unknown(contact)
}

// keep writes i back.
func (s *State) keep(i roster.Item) {
	note(&s.Changes.Items, i.Contact)
	if i.Empty() {
		delete(s.Roster, i.Contact)
		return
	}
	put(&s.Roster, i.Contact, i)
}

func (s *State) keepResource(r presence.Resource) {
	note(&s.Changes.Resources, r.Name)
	put(&s.Resources, r.Name, r)
}

func (s *State) dropResource(name string) {
	note(&s.Changes.Resources, name)
	delete(s.Resources, name)
}
