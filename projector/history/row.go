package history

import (
	"strings"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
)

// A row is a row of events in ClickHouse.
type row struct {
	account     string
	partition   int32
	offset      uint64
	kind        string
	at          time.Time
	origin      string
	sequence    uint64
	index       uint32
	id          uuid.UUID
	binding     uuid.UUID
	ignored     bool
	archived    bool
	resource    string
	peer        string
	show        string
	status      string
	priority    int8
	available   bool
	verb        string
	messageType string
	stanzaID    string
	originID    string
	body        string
	name        string
	groups      []string
	edge        string
	epoch       uint64
	accepted    uuid.UUID
	reference   uint64
	reason      string
	raw         string
}

// rowColumns are in the order of row's fields and of table.columns.
const rowColumns = `account, partition, offset, kind, at, origin, sequence, idx, id, binding, ignored, archived,
resource, peer, show, status, priority, available, verb, message_type, stanza_id, origin_id, body, name, groups, edge, epoch, accepted, reference, reason, raw`

// month gives the month whose part of a table takes a row of that time: 202611.
func month(at time.Time) int { return at.Year()*100 + int(at.Month()) }

// The times that the archive can tell; others are cut to these. The record
// itself keeps what it said.
var (
	earliest = time.Unix(0, 0).UTC()
	latest   = time.Date(2199, 12, 31, 23, 59, 59, 0, time.UTC)
)

func within(t time.Time) time.Time {
	switch t = t.UTC(); {
	case t.Before(earliest):
		return earliest
	case t.After(latest):
		return latest
	}
	return t
}

// garbage is the kind of a record that is none.
const garbage = "garbage"

// garbageRow gives the row of a record that nobody can decode, or that the
// projector sets aside for another reason.
func garbageRow(partition int32, r *Fetched, reason error) row {
	return row{account: string(r.Key), partition: partition, offset: uint64(r.Offset), kind: garbage, at: within(r.Time),
		ignored: true, reason: strings.ToValidUTF8(reason.Error(), "?"), raw: string(r.Value)}
}

// eventRow gives the row of an event, read from r, in the history of that
// account. It shares the memory of r.Value, which nobody changes while there is
// a row.
func eventRow(partition int32, of string, r *Fetched, e *event.Event, ignored bool) row {
	w := row{account: of, partition: partition, offset: uint64(r.Offset), kind: event.KindOf(e).String(),
		at: within(event.Time(e)), origin: e.GetOrigin(), sequence: e.GetSequence(), index: e.GetIndex(), id: event.ID(e),
		ignored: ignored, archived: true, raw: unsafe.String(unsafe.SliceData(r.Value), len(r.Value))}
	w.binding = event.UUID(e.GetBinding())
	w.decode(e)
	if m := message(e); m != nil && !account.Archived(m) {
		w.archived, w.body = false, ""
		w.raw = withoutContent(e)
	}
	return w
}

// decode fills the columns that depend on the kind.
func (r *row) decode(e *event.Event) {
	switch k := e.GetKind().(type) {
	case *event.Event_ResourceBound:
		r.resource, r.edge, r.epoch = k.ResourceBound.GetResource(), k.ResourceBound.GetEdge(), k.ResourceBound.GetEpoch()
		r.binding = r.id
	case *event.Event_ResourceClosed:
		r.resource, r.reason = k.ResourceClosed.GetResource(), k.ResourceClosed.GetReason()
	case *event.Event_PresenceAvailable:
		r.resource, r.available = k.PresenceAvailable.GetResource(), true
		r.presence(k.PresenceAvailable.GetPresence())
	case *event.Event_PresenceUnavailable:
		r.resource = k.PresenceUnavailable.GetResource()
		r.presence(k.PresenceUnavailable.GetPresence())
	case *event.Event_DirectedPresence:
		d := k.DirectedPresence
		r.resource, r.peer, r.available = d.GetResource(), d.GetTo(), d.GetAvailable()
		r.presence(d.GetPresence())
	case *event.Event_DirectedReceived:
		d := k.DirectedReceived
		r.resource, r.peer, r.available, r.reference = d.GetResource(), d.GetFrom(), d.GetAvailable(), uint64(d.GetVersion())
		r.presence(d.GetPresence())
	case *event.Event_RosterItemSet:
		i := k.RosterItemSet
		r.resource, r.peer, r.name, r.groups, r.stanzaID = i.GetResource(), i.GetContact(), i.GetName(), i.GetGroups(), i.GetRequestId()
	case *event.Event_RosterItemRemoved:
		i := k.RosterItemRemoved
		r.resource, r.peer, r.stanzaID = i.GetResource(), i.GetContact(), i.GetRequestId()
	case *event.Event_SubscriptionSent:
		r.peer, r.verb = k.SubscriptionSent.GetContact(), verbName(k.SubscriptionSent.GetVerb())
		r.presence(k.SubscriptionSent.GetPresence())
	case *event.Event_SubscriptionReceived:
		r.peer, r.verb = k.SubscriptionReceived.GetContact(), verbName(k.SubscriptionReceived.GetVerb())
		r.presence(k.SubscriptionReceived.GetPresence())
	case *event.Event_MessageAccepted:
		r.resource, r.peer = k.MessageAccepted.GetResource(), k.MessageAccepted.GetFrom()
		r.message(k.MessageAccepted.GetMessage())
	case *event.Event_MessageSent:
		r.resource, r.peer = k.MessageSent.GetResource(), k.MessageSent.GetTo()
		r.accepted = event.UUID(k.MessageSent.GetAccepted())
		r.message(k.MessageSent.GetMessage())
	case *event.Event_Delivered:
		r.resource, r.reference = k.Delivered.GetResource(), uint64(k.Delivered.GetOffset())
	case *event.Event_MessageExpired:
		r.reference = uint64(k.MessageExpired.GetOffset())
	case *event.Event_MessageWithheld:
		w := k.MessageWithheld
		r.reference, r.peer, r.reason = uint64(w.GetOffset()), w.GetPeer(), reasonName(w.GetReason())
	case *event.Event_NodeItemPublished:
		n := k.NodeItemPublished
		r.resource, r.name, r.stanzaID = n.GetResource(), n.GetNode(), n.GetRequestId()
	case *event.Event_NodeItemRetracted:
		n := k.NodeItemRetracted
		r.resource, r.name, r.stanzaID = n.GetResource(), n.GetNode(), n.GetRequestId()
	case *event.Event_NodeConfigured:
		n := k.NodeConfigured
		r.resource, r.name, r.stanzaID = n.GetResource(), n.GetNode(), n.GetRequestId()
	case *event.Event_NodeDeleted:
		n := k.NodeDeleted
		r.resource, r.name, r.stanzaID = n.GetResource(), n.GetNode(), n.GetRequestId()
	case *event.Event_PushEnabled:
		p := k.PushEnabled
		r.resource, r.peer, r.name, r.stanzaID = p.GetResource(), p.GetService(), p.GetNode(), p.GetRequestId()
	case *event.Event_PushDisabled:
		p := k.PushDisabled
		r.resource, r.peer, r.name, r.stanzaID = p.GetResource(), p.GetService(), p.GetNode(), p.GetRequestId()
	case *event.Event_ArchivePreferencesSet:
		r.resource, r.stanzaID = k.ArchivePreferencesSet.GetResource(), k.ArchivePreferencesSet.GetRequestId()
	case *event.Event_StorageSet:
		r.resource, r.name, r.stanzaID = k.StorageSet.GetResource(), k.StorageSet.GetName(), k.StorageSet.GetRequestId()
	case *event.Event_EdgeLost:
		r.account, r.edge, r.epoch = "", k.EdgeLost.GetEdge(), k.EdgeLost.GetEpoch()
	}
}

func (r *row) presence(p *event.Presence) {
	r.show, r.status, r.stanzaID = p.GetShow(), p.GetStatus(), p.GetId()
	r.priority = int8(min(max(p.GetPriority(), -128), 127))
}

func (r *row) message(m *event.Message) {
	r.messageType, r.stanzaID, r.originID, r.body = typeName(m.GetType()), m.GetId(), m.GetOriginId(), m.GetBody()
}

func verbName(v event.Verb) string {
	if v == event.Verb_VERB_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(v.String(), "VERB_"))
}

func reasonName(r event.MessageWithheld_Reason) string {
	if r == event.MessageWithheld_REASON_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(r.String(), "REASON_"))
}

func typeName(t event.MessageType) string {
	if t == event.MessageType_MESSAGE_TYPE_UNSPECIFIED {
		return ""
	}
	return strings.ToLower(strings.TrimPrefix(t.String(), "MESSAGE_TYPE_"))
}

func message(e *event.Event) *event.Message {
	switch k := e.GetKind().(type) {
	case *event.Event_MessageAccepted:
		return k.MessageAccepted.GetMessage()
	case *event.Event_MessageSent:
		return k.MessageSent.GetMessage()
	}
	return nil
}

// withoutContent gives the bytes of e without what was said. The account folds
// to the same state but for an inbox that holds this message.
func withoutContent(e *event.Event) string {
	e = proto.Clone(e).(*event.Event)
	m := message(e)
	m.Body, m.Payload = "", nil
	b, err := event.Marshal(e)
	if err != nil {
		panic("history: an event that was decoded cannot be encoded: " + err.Error())
	}
	return string(b)
}
