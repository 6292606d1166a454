// Package fold is the one way from a record of the log to the state of an
// account. The projector and every replay use it, so they cannot drift: what is
// decoded, what is set aside, which copies are dropped, and how reactions are
// numbered is decided here, by the record and what came before it alone.
package fold

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// Longest addresses in bytes, so that the key of every row fits into a page of
// an index (2,704 bytes). The edge refuses longer ones; a record that has one
// all the same is set aside like any that cannot be read.
const (
	maxKey    = 512
	maxBare   = 1024
	maxPart   = 512
	maxTarget = 1024
	maxNode   = 512
	maxItem   = 1024 // an item's id, the name of what is stored
)

// A Record is one record of the topic account. It shares no memory with the
// bytes it was read from. Exactly one of Event and Garbage is set.
type Record struct {
	Offset  int64
	Key     string
	Size    int // bytes
	Event   *event.Event
	Garbage error  // why it is to be set aside
	Newer   error  // event.ErrNewer and where: no record from here on may be folded
	Raw     []byte // of what is set aside
}

// Lost gives the event if it is one, nil for any other.
func (r *Record) Lost() *event.EdgeLost { return r.Event.GetEdgeLost() }

// Decode reads a record. The error is event.ErrNewer with its position: no
// record from here on may be folded.
func Decode(partition int32, offset int64, key, value []byte) (Record, error) {
	r := Record{Offset: offset, Key: string(key), Size: len(key) + len(value)}
	e, err := event.Decode(value)
	if err == nil {
		err = fits(e)
	}
	switch {
	case err == nil:
		r.Event = e
	case errors.Is(err, event.ErrNewer):
		return r, fmt.Errorf("decode %s: %w", topic.Position{Topic: topic.Account, Partition: partition, Offset: offset}, err)
	default:
		r.Garbage, r.Raw = err, bytes.Clone(value)
	}
	return r, nil
}

// SetAside makes r one that is to be set aside.
func (r *Record) SetAside(why error) {
	// Not necessarily byte for byte what was read, but the same event.
	raw, err := event.Marshal(r.Event)
	if err != nil {
		why = errors.Join(why, err)
	}
	r.Garbage, r.Raw, r.Event = why, raw, nil
}

// Account gives the account that key names, or why records with this key are
// to be set aside in partition, one of n.
func Account(key string, partition int32, n int) (jid.Bare, error) {
	if len(key) > maxKey {
		return jid.Bare{}, errors.New("key is too long")
	}
	b, err := jid.ParseBare(key)
	switch {
	case err != nil:
		return b, fmt.Errorf("key is no bare JID: %w", err)
	case b.String() != key:
		return b, errors.New("key is not in its prepared form")
	case topic.Partition(b, n) != partition:
		return b, errors.New("key belongs to another partition")
	}
	return b, nil
}

// fits checks the lengths of what becomes a key in Postgres.
func fits(e *event.Event) error {
	contact, resource, target, node, item := "", "", "", "", ""
	switch k := e.GetKind().(type) {
	case *event.Event_ResourceBound:
		resource, target = k.ResourceBound.GetResource(), k.ResourceBound.GetEdge()
	case *event.Event_ResourceClosed:
		resource = k.ResourceClosed.GetResource()
	case *event.Event_PresenceAvailable:
		resource = k.PresenceAvailable.GetResource()
	case *event.Event_PresenceUnavailable:
		resource = k.PresenceUnavailable.GetResource()
	case *event.Event_DirectedPresence:
		resource, target = k.DirectedPresence.GetResource(), k.DirectedPresence.GetTo()
	case *event.Event_RosterItemSet:
		contact = k.RosterItemSet.GetContact()
	case *event.Event_RosterItemRemoved:
		contact = k.RosterItemRemoved.GetContact()
	case *event.Event_SubscriptionSent:
		contact = k.SubscriptionSent.GetContact()
	case *event.Event_SubscriptionReceived:
		contact = k.SubscriptionReceived.GetContact()
	case *event.Event_NodeItemPublished:
		node, item = k.NodeItemPublished.GetNode(), k.NodeItemPublished.GetId()
	case *event.Event_NodeItemRetracted:
		node, item = k.NodeItemRetracted.GetNode(), k.NodeItemRetracted.GetId()
	case *event.Event_NodeConfigured:
		node = k.NodeConfigured.GetNode()
	case *event.Event_NodeDeleted:
		node = k.NodeDeleted.GetNode()
	case *event.Event_PushEnabled:
		contact, item, node = k.PushEnabled.GetService(), k.PushEnabled.GetService(), k.PushEnabled.GetNode()
	case *event.Event_PushDisabled:
		contact, item, node = k.PushDisabled.GetService(), k.PushDisabled.GetService(), k.PushDisabled.GetNode()
	case *event.Event_StorageSet:
		item = k.StorageSet.GetName()
	}
	if len(node) > maxNode || len(item) > maxItem || strings.ContainsRune(node, 0) || strings.ContainsRune(item, 0) {
		return errors.New("the name of a node or of an item cannot be kept")
	}
	if len(contact) > maxBare || len(resource) > maxPart || len(target) > maxTarget {
		return errors.New("an address is too long")
	}
	return nil
}

// A Partition is the fold of one partition as far as it is one for all of its
// accounts. It is not safe for concurrent use.
type Partition struct {
	Number int32
	Of     int   // partitions of the topic
	Next   int64 // the first offset that is not folded
	Marks  account.Marks
}

// DeadLetter gives the dead letter for r, whose Garbage is set.
func (p *Partition) DeadLetter(r *Record) store.Reaction {
	return store.Reaction{Partition: p.Number, Offset: r.Offset, Topic: topic.DeadLetter,
		Key: []byte(r.Key), Error: r.Garbage.Error(), Record: r.Raw}
}

// Admit tells whether r, whose Event is set, is to be folded: it is no copy of
// what was folded before. Call it once for each record, in order.
func (p *Partition) Admit(r *Record) bool { return p.Marks.Admit(r.Event) }

// Apply folds r, which was admitted, into the account of its key; EdgeLost into
// every account that has a resource of that edge and epoch or an earlier one,
// sorted by its bare JID. Reactions come in order, complete.
func (p *Partition) Apply(r *Record, states ...*account.State) ([]store.Reaction, error) {
	var out []store.Reaction
	for _, s := range states {
		for _, reaction := range s.Apply(r.Offset, r.Event) {
			done, err := p.complete(r.Offset, len(out), reaction)
			if err != nil {
				return nil, fmt.Errorf("reaction of %s/%d/%d: %w", topic.Account, p.Number, r.Offset, err)
			}
			out = append(out, done)
		}
	}
	return out, nil
}

// complete gives the envelope what only the shell knows: where it came from.
func (p *Partition) complete(offset int64, index int, reaction account.Reaction) (store.Reaction, error) {
	out := store.Reaction{Partition: p.Number, Offset: offset, Index: int32(index), Key: []byte(reaction.Account.String())}
	origin := fmt.Sprintf("p/%d", p.Number)
	var err error
	if o := reaction.Output; o != nil {
		out.Topic, out.Kind = topic.Outbox, event.OutputKind(o)
		o.Origin, o.Sequence, o.Index = origin, uint64(offset), uint32(index)
		out.Record, err = event.MarshalOutput(o)
		return out, err
	}
	e := reaction.Event
	out.Topic, out.Kind = topic.Account, event.KindOf(e).String()
	e.Origin, e.Sequence, e.Index = origin, uint64(offset), uint32(index)
	e.Id = reactionID(e)
	out.Record, err = event.Marshal(e)
	return out, err
}

// reactionID gives the same id whenever the same reaction is made: a UUIDv7
// with the time of the event and, for randomness, a hash of its place.
func reactionID(e *event.Event) []byte {
	sum := sha256.New()
	sum.Write([]byte(e.GetOrigin()))
	var place [12]byte
	binary.BigEndian.PutUint64(place[:], e.GetSequence())
	binary.BigEndian.PutUint32(place[8:], e.GetIndex())
	sum.Write(place[:])
	id := make([]byte, 16, 48)
	copy(id, sum.Sum(id[16:16])[:16])
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(e.GetAt()/1000))
	copy(id, ms[2:])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// Discard folds r like Apply and throws the reactions away: for a replay, which
// meets them in the log.
func (p *Partition) Discard(r *Record, states ...*account.State) {
	for _, s := range states {
		s.Apply(r.Offset, r.Event)
		s.Changes.Reset()
	}
}
