package account

import (
	"bytes"
	"maps"
	"slices"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/subscription"
)

// Apply folds e, the record at offset of the account's history, into s and
// gives the reactions in their order. The caller owns s; e is kept in part and
// must not be changed after. Only events that Marks admitted may come.
//
// An event of a session's presence counts only if its binding is the latest of
// its resource. Requests (roster, subscription, message, node, list) and Delivered count
// whatever their binding: they may have been acknowledged to a client whose
// resource was taken over since.
//
// An EdgeLost is for every account of the partition; on one that has no
// resource of that edge and epoch it does nothing.
func (s *State) Apply(offset int64, e *event.Event) []Reaction {
	f := folding{State: s, offset: offset, e: e}
	if !s.Exists {
		f.absent()
		return f.reactions
	}
	was, before := s.Privacy, s.Policy()
	awake := len(s.Push) > 0 && s.awake()
	// An EdgeLost is not given to every account: it prunes only what it ends.
	if len(s.Ended) > 0 && e.GetEdgeLost() == nil {
		f.pruneEnded()
	}
	if e.GetStanza() != 0 {
		f.stanzaHandled()
	}
	switch k := e.GetKind().(type) {
	case *event.Event_PresenceAvailable:
		f.presenceAvailable(k.PresenceAvailable)
	case *event.Event_PresenceUnavailable:
		f.presenceUnavailable(k.PresenceUnavailable)
	case *event.Event_MessageAccepted:
		f.messageAccepted(k.MessageAccepted)
		f.answerStanza(k.MessageAccepted)
	case *event.Event_Delivered:
		f.settled(k.Delivered.GetOffset())
	case *event.Event_MessageExpired:
		f.settled(k.MessageExpired.GetOffset())
	case *event.Event_StanzaHandled:
		f.copiesAsked(k.StanzaHandled)
	case *event.Event_ResourceBound:
		f.resourceBound(k.ResourceBound)
	case *event.Event_ResourceClosed:
		f.resourceClosed(k.ResourceClosed)
	case *event.Event_DirectedPresence:
		f.directedPresence(k.DirectedPresence)
	case *event.Event_DirectedReceived:
		f.directedReceived(k.DirectedReceived)
	case *event.Event_RosterItemSet:
		f.rosterItemSet(k.RosterItemSet)
	case *event.Event_RosterItemRemoved:
		f.rosterItemRemoved(k.RosterItemRemoved)
	case *event.Event_SubscriptionSent:
		f.subscriptionSent(k.SubscriptionSent)
	case *event.Event_SubscriptionReceived:
		f.subscriptionReceived(k.SubscriptionReceived)
	case *event.Event_EdgeLost:
		f.edgeLost(k.EdgeLost)
	case *event.Event_NodeItemPublished:
		f.nodeItemPublished(k.NodeItemPublished)
	case *event.Event_NodeItemRetracted:
		f.nodeItemRetracted(k.NodeItemRetracted)
	case *event.Event_NodeConfigured:
		f.nodeConfigured(k.NodeConfigured)
	case *event.Event_NodeDeleted:
		f.nodeDeleted(k.NodeDeleted)
	case *event.Event_StorageSet:
		f.storageSet(k.StorageSet)
	case *event.Event_BlockListChanged:
		f.blockListChanged(k.BlockListChanged)
	case *event.Event_PrivacyListChanged:
		f.privacyListChanged(k.PrivacyListChanged)
	case *event.Event_PrivacyListChosen:
		f.privacyListChosen(k.PrivacyListChosen)
	case *event.Event_VisibilityChanged:
		f.visibilityChanged(k.VisibilityChanged)
	case *event.Event_MessageSent:
		f.messageSent(k.MessageSent)
	case *event.Event_ArchivePreferencesSet:
		f.archivePreferencesSet(k.ArchivePreferencesSet)
	case *event.Event_PushEnabled:
		f.pushEnabled(k.PushEnabled)
	case *event.Event_PushDisabled:
		f.pushDisabled(k.PushDisabled)
	case *event.Event_AccountDeleted:
		f.accountDeleted()
		return f.reactions
	}
	if awake && !s.awake() {
		f.asleep()
	}
	if was != nil || s.Privacy != nil {
		f.policyChanged(was, before)
	}
	// AccountCreated of what exists, MessageWithheld: nothing more.
	return f.reactions
}

// A folding is one call of Apply.
type folding struct {
	*State
	offset    int64
	e         *event.Event
	reactions []Reaction
}

// react adds an event in another history, or in this one.
func (f *folding) react(account jid.Bare, kind *event.Event) {
	kind.At = f.e.GetAt()
	f.reactions = append(f.reactions, Reaction{Account: account, Event: kind})
}

// tell adds a record in an outbox.
func (f *folding) tell(account jid.Bare, kind *event.Output) {
	kind.At = f.e.GetAt()
	f.reactions = append(f.reactions, Reaction{Account: account, Output: kind})
}

// absent folds into an account that does not exist (RFC 6121, section 8.5.1).
func (f *folding) absent() {
	switch k := f.e.GetKind().(type) {
	case *event.Event_AccountCreated:
		f.Exists, f.Created, f.CreatedAt = true, f.offset, event.Time(f.e)
		f.Changes.Account = true
	case *event.Event_MessageAccepted:
		f.unknownRecipient(k.MessageAccepted)
		f.answerStanza(k.MessageAccepted)
	case *event.Event_SubscriptionReceived:
		// Section 8.5.1 would have silence, but section 3.1.2 has the sender's
		// server tell that a local contact does not exist. A denial tells it
		// and ends the request, and does not tell a deleted account from one
		// that says no.
		if r := k.SubscriptionReceived; r.GetVerb() == event.Verb_VERB_SUBSCRIBE {
			f.send(jid.BareFromCanonical(r.GetContact()), subscription.Unsubscribed, nil)
		}
	}
}

// accountDeleted ends the account: every subscription is cancelled both ways,
// and whoever got directed presence hears that it is over.
func (f *folding) accountDeleted() {
	for _, contact := range slices.SortedFunc(maps.Keys(f.Roster), jid.Compare) {
		for _, v := range subscription.Cancel(f.Roster[contact].State) {
			f.send(contact, v, nil)
		}
		note(&f.Changes.Items, contact)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Resources)) {
		f.endDirected(name, nil)
		f.dropResource(name)
	}
	for offset := range f.Inbox {
		note(&f.Changes.Inbox, offset)
	}
	for binding := range f.Ended {
		note(&f.Changes.Ended, binding)
	}
	f.Changes.Origins = f.Changes.Origins || len(f.Origins) > 0
	f.dropNodes()
	f.dropPush()
	f.Changes.Archive = f.Changes.Archive || f.Archive != nil
	f.dropPrivacy()
	f.Changes.Account = true
	*f.State = State{Account: f.Account, Changes: f.Changes}
}

// session gives the connected resource of that name if the event is of its
// latest binding.
func (f *folding) session(name string) (presence.Resource, bool) {
	r, ok := f.Resources[name]
	return r, ok && bytes.Equal(r.Binding[:], f.e.GetBinding())
}
