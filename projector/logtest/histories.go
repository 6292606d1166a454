package logtest

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// A Writer writes random, coherent histories of a few accounts: what edges that
// keep to the rules would write, and now and then a copy, bytes that nobody can
// read, or a lost edge. The same seed writes the same events.
type Writer struct {
	log      *Log
	rand     *rand.Rand
	accounts []jid.Bare
	sessions map[string][]byte // full JID -> its binding
	ended    map[string][]byte // full JID -> the binding that its edge took with it
	epoch    uint64
	sequence uint64
	at       int64
	last     []projector.Record
}

// NewWriter gives a writer for n accounts.
func NewWriter(l *Log, seed uint64, n int) *Writer {
	w := &Writer{log: l, rand: rand.New(rand.NewPCG(seed, 1)), sessions: make(map[string][]byte), ended: make(map[string][]byte), epoch: 1, at: 1_790_000_000_000_000}
	for i := range n {
		w.accounts = append(w.accounts, jid.MustBare(fmt.Sprintf("u%d@localhost", i)))
	}
	return w
}

// Accounts gives the accounts.
func (w *Writer) Accounts() []jid.Bare { return w.accounts }

// Create creates every account.
func (w *Writer) Create() {
	for _, a := range w.accounts {
		w.Event(a, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
}

// Event stamps e as an edge would and puts it into the history of a.
func (w *Writer) Event(a jid.Bare, e *event.Event) topic.Position {
	w.at += 1000
	w.sequence++
	e.At, e.Origin, e.Sequence = w.at, fmt.Sprintf("edge/e1/%d", w.epoch), w.sequence
	if e.Id == nil {
		e.Id = w.id()
	}
	r := projector.Record{Topic: topic.Account, Partition: topic.Partition(a, w.log.Partitions), Key: []byte(a.String()), Value: marshal(e)}
	w.last = append(w.last[max(0, len(w.last)-20):], r)
	return w.log.Put(r)
}

func marshal(e *event.Event) []byte {
	value, err := event.Marshal(e)
	if err != nil {
		panic(err)
	}
	return value
}

func (w *Writer) id() []byte {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], w.rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], w.rand.Uint64())
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id[:]
}

// LoseEdge puts EdgeLost into every partition and goes on in the next epoch.
func (w *Writer) LoseEdge() {
	e := &event.Event{At: w.at, Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: "e1", Epoch: w.epoch}}}
	for p := range int32(w.log.Partitions) {
		w.log.Put(projector.Record{Topic: topic.Account, Partition: p, Value: marshal(e)})
	}
	w.epoch++
	for full, binding := range w.sessions {
		w.ended[full] = binding
	}
	clear(w.sessions)
}

// Write writes n steps.
func (w *Writer) Write(n int) {
	for range n {
		w.step()
	}
}

func (w *Writer) step() {
	a, other := w.accounts[w.rand.IntN(len(w.accounts))], w.accounts[w.rand.IntN(len(w.accounts))]
	resource := []string{"phone", "desk", "tab"}[w.rand.IntN(3)]
	full := a.String() + "/" + resource
	binding := w.sessions[full]
	of := func(kind *event.Event) *event.Event {
		kind.Binding = binding
		if n := uint32(w.rand.IntN(8)); n > 0 {
			kind.Stanza, kind.StanzaBefore = n, uint32(w.rand.IntN(int(n)))
		}
		return kind
	}
	switch dice := w.rand.IntN(100); {
	case dice < 12 || binding == nil && dice < 50:
		id := w.id()
		b := &event.ResourceBound{Resource: resource, Edge: "e1", Epoch: w.epoch, Inherits: w.rand.IntN(2) == 0}
		if last := w.ended[full]; last != nil && w.rand.IntN(2) == 0 {
			b.Resumes = last
		} else if w.rand.IntN(4) == 0 {
			b.Resumes = binding
		}
		w.sessions[full], w.ended[full] = id, nil
		w.Event(a, &event.Event{Id: id, Kind: &event.Event_ResourceBound{ResourceBound: b}})
	case dice < 38:
		w.Event(a, of(&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource, Presence: w.presence()}}}))
	case dice < 43:
		w.Event(a, of(&event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource, Presence: w.presence()}}}))
	case dice < 46:
		delete(w.sessions, full)
		w.Event(a, of(&event.Event{Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource, Reason: "closed", Resumable: w.rand.IntN(2) == 0}}}))
	case dice < 51:
		w.Event(a, of(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{Resource: resource, To: other.String(), Available: dice < 49, Presence: w.presence()}}}))
	case dice < 59:
		w.Event(a, of(&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: other.String(), Name: w.text(), Groups: w.groups(), RequestId: "r1", Resource: resource}}}))
	case dice < 63:
		w.Event(a, of(&event.Event{Kind: &event.Event_RosterItemRemoved{RosterItemRemoved: &event.RosterItemRemoved{Contact: other.String(), RequestId: "r2", Resource: resource}}}))
	case dice < 81:
		w.Event(a, of(&event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: other.String(), Verb: event.Verb(1 + w.rand.IntN(12)%4), Presence: w.presence()}}}))
	case dice < 83:
		w.privacy(a, binding, resource, other)
	case dice < 86:
		w.node(a, binding, resource)
	case dice < 90:
		origin := "" // or one of a few, so that some come again
		if n := w.rand.IntN(8); n > 0 {
			origin = strconv.Itoa(n)
		}
		w.Event(other, of(&event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: full, MaxWaiting: 20,
			Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: "m", Body: w.text(), Payload: []byte("<body/>"), Storable: true, OriginId: origin}}}}))
	case dice < 94:
		partition := topic.Partition(a, w.log.Partitions)
		offset := int64(w.rand.IntN(1 + len(w.log.Records(topic.Account, partition))))
		if w.rand.IntN(4) == 0 {
			w.Event(a, &event.Event{Kind: &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: offset}}})
			break
		}
		w.Event(a, of(&event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: offset, Resource: resource}}}))
	case dice < 96:
		if len(w.last) > 0 {
			w.log.Put(w.last[w.rand.IntN(len(w.last))])
		}
	case dice < 97:
		w.log.Put(projector.Record{Topic: topic.Account, Partition: topic.Partition(a, w.log.Partitions), Key: []byte(a.String()), Value: []byte("\xff\x00garbage")})
	case dice < 98:
		w.LoseEdge()
	case w.rand.IntN(4) == 0:
		w.Event(a, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	default:
		w.Event(a, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
}

// privacy blocks, sets or chooses a list, or makes a session invisible.
func (w *Writer) privacy(a jid.Bare, binding []byte, resource string, other jid.Bare) {
	e := &event.Event{Binding: binding}
	name := []string{"l", "l " + w.text(), ""}[w.rand.IntN(3)]
	switch w.rand.IntN(8) {
	case 0, 1:
		e.Kind = &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{Blocked: []string{other.String()}, RequestId: "p1", Resource: resource}}
	case 2:
		e.Kind = &event.Event_BlockListChanged{BlockListChanged: &event.BlockListChanged{UnblockedAll: true, RequestId: "p2", Resource: resource}}
	case 3, 4:
		items := []*event.PrivacyItem{
			{Type: "subscription", Value: "none", Order: 3, PresenceIn: true}, {Type: "group", Value: "Friends", Order: 1, Allow: true},
			{Type: "jid", Value: other.String(), Order: 2, PresenceOut: w.rand.IntN(2) == 0},
		}
		e.Kind = &event.Event_PrivacyListChanged{PrivacyListChanged: &event.PrivacyListChanged{Name: name, Items: items[:w.rand.IntN(4)], RequestId: "p3", Resource: resource}}
	case 5, 6:
		e.Kind = &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{Name: name, Default: w.rand.IntN(2) == 0, RequestId: "p4", Resource: resource}}
	default:
		e.Kind = &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{Resource: resource, Invisible: w.rand.IntN(3) > 0, RequestId: "p5"}}
	}
	w.Event(a, e)
}

// node publishes, retracts, configures or deletes, or sets what is stored.
func (w *Writer) node(a jid.Bare, binding []byte, resource string) {
	name, id := []string{"mood", "n " + w.text()}[w.rand.IntN(2)], fmt.Sprint("i", w.rand.IntN(4))
	payload := []byte("<x xmlns='y'>" + fmt.Sprint(w.rand.Uint32()) + "</x>")
	config := &event.NodeConfig{Access: event.Access(w.rand.IntN(4)), MaxItems: uint32(w.rand.IntN(4)), Transient: w.rand.IntN(8) == 0}
	e := &event.Event{Binding: binding}
	switch dice := w.rand.IntN(14); {
	case dice == 13:
		e.Kind = &event.Event_ArchivePreferencesSet{ArchivePreferencesSet: &event.ArchivePreferencesSet{
			Default: event.ArchivePreferencesSet_Default(w.rand.IntN(4)), Always: []string{"c@x", "b@x/r"}[:w.rand.IntN(3)], Never: []string{"d@x"}[:w.rand.IntN(2)],
			RequestId: "n9", Resource: resource,
		}}
	case dice == 12:
		e.Kind = &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{Service: "push.x", Node: []string{"", name}[w.rand.IntN(2)], RequestId: "n7", Resource: resource}}
	case dice > 9:
		e.Kind = &event.Event_PushEnabled{PushEnabled: &event.PushEnabled{Service: "push.x", Node: name, Options: payload, MaxServices: 3, RequestId: "n8", Resource: resource}}
	case dice < 4:
		e.Kind = &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{Node: name, Id: id, Payload: payload, Config: config, RequestId: "n1", Resource: resource}}
	case dice < 5:
		e.Kind = &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{Node: name, Id: id, RequestId: "n2", Resource: resource}}
	case dice < 6:
		e.Kind = &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{Node: name, Config: config, RequestId: "n3", Resource: resource}}
	case dice < 7:
		e.Kind = &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: name, Purge: w.rand.IntN(2) == 0, RequestId: "n4", Resource: resource}}
	case dice < 8:
		e.Kind = &event.Event_StorageSet{StorageSet: &event.StorageSet{Space: event.StorageSet_SPACE_PRIVATE, Name: "{y}" + w.text(), RequestId: "n5", Resource: resource}}
	default:
		e.Kind = &event.Event_StorageSet{StorageSet: &event.StorageSet{Space: event.StorageSet_Space(1 + w.rand.IntN(2)), Name: "{y}" + w.text(), Payload: payload, RequestId: "n6", Resource: resource}}
	}
	w.Event(a, e)
}

func (w *Writer) presence() *event.Presence {
	p := &event.Presence{Show: []string{"", "away", "dnd"}[w.rand.IntN(3)], Status: w.text(), Priority: int32(w.rand.IntN(20) - 5)}
	if w.rand.IntN(4) == 0 {
		p.Payload, p.Lang, p.Id = []byte("<c xmlns='x'/>"), "en", "p1"
	}
	return p
}

// text gives what is hard to quote, now and then.
func (w *Writer) text() string {
	return []string{"", "here", `a "quote" \ and`, "tab\tand\nline", "NUL\x00inside", "{braces,commas}", "日本", `\N`}[w.rand.IntN(8)]
}

func (w *Writer) groups() []string {
	groups := map[string]struct{}{}
	for range w.rand.IntN(3) {
		groups[w.text()+"g"] = struct{}{}
	}
	var all []string
	for _, g := range []string{"hereg", `a "quote" \ andg`, "NUL\x00insideg", "日本g"} {
		if _, ok := groups[g]; ok {
			all = append(all, g)
		}
	}
	return all
}
