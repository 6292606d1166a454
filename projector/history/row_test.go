package history

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// TestRowOfEachKind: what SQL sees of each kind, beside the envelope.
func TestRowOfEachKind(t *testing.T) {
	binding, accepted := uuid.New(), uuid.New()
	presence := &event.Presence{Show: "dnd", Status: "busy", Priority: 300, Id: "p1"}
	m := &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: "m1", OriginId: "o1", Body: "hi", Payload: []byte("<body>hi</body>"), Storable: true}
	for _, c := range []struct {
		e    *event.Event
		want string
	}{
		{&event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}}, "account_created"},
		{&event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}}, "account_deleted"},
		{&event.Event{Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r", Edge: "e1", Epoch: 4}}},
			"resource_bound resource=r edge=e1 epoch=4"},
		{&event.Event{Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: "r", Reason: "conflict"}}},
			"resource_closed resource=r reason=conflict"},
		{&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "r", Presence: presence}}},
			"presence_available resource=r show=dnd status=busy priority=127 available=true stanza_id=p1"},
		{&event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: "r"}}},
			"presence_unavailable resource=r"},
		{&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{Resource: "r", To: "b@x", Available: true}}},
			"directed_presence resource=r peer=b@x available=true"},
		{&event.Event{Kind: &event.Event_DirectedReceived{DirectedReceived: &event.DirectedReceived{From: "b@x/y", Version: 7}}},
			"directed_received peer=b@x/y reference=7"},
		{&event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: &event.RosterItemSet{Contact: "b@x", Name: "B", Groups: []string{"g"}, RequestId: "i1", Resource: "r"}}},
			"roster_item_set resource=r peer=b@x stanza_id=i1 name=B groups=[g]"},
		{&event.Event{Kind: &event.Event_RosterItemRemoved{RosterItemRemoved: &event.RosterItemRemoved{Contact: "b@x", RequestId: "i1"}}},
			"roster_item_removed peer=b@x stanza_id=i1"},
		{&event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: "b@x", Verb: event.Verb_VERB_SUBSCRIBE}}},
			"subscription_sent peer=b@x verb=subscribe"},
		{&event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{Contact: "b@x", Verb: event.Verb_VERB_UNSUBSCRIBED}}},
			"subscription_received peer=b@x verb=unsubscribed"},
		{&event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{From: "b@x/y", Resource: "r", Message: m}}},
			"message_accepted resource=r peer=b@x/y message_type=chat stanza_id=m1 origin_id=o1 body=hi"},
		{&event.Event{Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{Resource: "r", To: "b@x", Message: m, Accepted: accepted[:]}}},
			"message_sent resource=r peer=b@x message_type=chat stanza_id=m1 origin_id=o1 body=hi accepted=" + accepted.String()},
		{&event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: 9, Resource: "r"}}}, "delivered resource=r reference=9"},
		{&event.Event{Kind: &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: 9}}}, "message_expired reference=9"},
		{&event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{
			Offset: 9, Reason: event.MessageWithheld_REASON_COPY, MessageAt: 1, Peer: "b@x/y"}}},
			"message_withheld peer=b@x/y reference=9 reason=copy"},
		{&event.Event{Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{Node: "mood", Id: "1", Payload: []byte("<x/>"), RequestId: "i1", Resource: "r"}}},
			"node_item_published resource=r stanza_id=i1 name=mood"},
		{&event.Event{Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{Node: "mood", Id: "1", RequestId: "i1", Resource: "r"}}},
			"node_item_retracted resource=r stanza_id=i1 name=mood"},
		{&event.Event{Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{Node: "mood", RequestId: "i1", Resource: "r"}}},
			"node_configured resource=r stanza_id=i1 name=mood"},
		{&event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "mood", RequestId: "i1", Resource: "r"}}},
			"node_deleted resource=r stanza_id=i1 name=mood"},
		{&event.Event{Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{Name: "{a}b", RequestId: "i1", Resource: "r"}}},
			"storage_set resource=r stanza_id=i1 name={a}b"},
		{&event.Event{Kind: &event.Event_ArchivePreferencesSet{ArchivePreferencesSet: &event.ArchivePreferencesSet{Never: []string{"a@x"}, RequestId: "i1", Resource: "r"}}},
			"archive_preferences_set resource=r stanza_id=i1"},
		{&event.Event{Kind: &event.Event_PushEnabled{PushEnabled: &event.PushEnabled{Service: "p@x", Node: "n", Options: []byte("<x/>"), RequestId: "i1", Resource: "r"}}},
			"push_enabled resource=r peer=p@x stanza_id=i1 name=n"},
		{&event.Event{Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{Service: "p@x", Node: "n", RequestId: "i1", Resource: "r"}}},
			"push_disabled resource=r peer=p@x stanza_id=i1 name=n"},
		{&event.Event{Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: "e1", Epoch: 4}}}, "edge_lost edge=e1 epoch=4"},
	} {
		id := uuid.New()
		c.e.Id, c.e.At, c.e.Origin, c.e.Sequence, c.e.Index, c.e.Binding = id[:], noon.UnixMicro(), "edge/e1/4", 5, 6, binding[:]
		value := encoded(t, c.e)
		r := eventRow(3, "a@x", &Fetched{Offset: 8, Value: value}, c.e, false)
		bound, account := binding, "a@x"
		switch r.kind {
		case "resource_bound":
			bound = id
		case "edge_lost":
			account = ""
		}
		if r.account != account || r.partition != 3 || r.offset != 8 || !r.at.Equal(noon) || r.origin != "edge/e1/4" || r.sequence != 5 ||
			r.index != 6 || r.id != id || r.binding != bound || r.ignored || !r.archived || r.raw != string(value) {
			t.Errorf("%s: envelope %+v", r.kind, r)
		}
		if got := said(&r); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// said gives the kind and the columns after the envelope that are not zero.
func said(r *row) string {
	names := strings.Split(strings.ReplaceAll(rowColumns, "\n", " "), ",")
	words := []string{r.kind}
	var one table
	one.add(r)
	for i, column := range one.columns(0, one.rows) {
		name := strings.TrimSpace(names[i])
		if text := fmt.Sprint(reflect.ValueOf(column).Index(0)); i >= 12 && name != "raw" && text != "" && text != "0" && text != "false" && text != "[]" && text != (uuid.UUID{}).String() {
			words = append(words, name+"="+text)
		}
	}
	return strings.Join(words, " ")
}

func TestGarbageRow(t *testing.T) {
	r := garbageRow(3, &Fetched{Offset: 8, Time: time.Unix(-5, 0), Key: []byte("\xff"), Value: []byte{1}}, errors.New("bad \xff"))
	if r.kind != "garbage" || !r.ignored || r.account != "\xff" || r.raw != "\x01" || r.at != earliest || r.reason != "bad ?" {
		t.Errorf("%+v", r)
	}
}
