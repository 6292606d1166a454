package replay

import (
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

func TestDescribesNodes(t *testing.T) {
	for want, e := range map[string]*event.Event{
		"publishes 1 in mood (open), 4 bytes": {Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
			Node: "mood", Id: "1", Payload: []byte("<x/>"), Config: &event.NodeConfig{Access: event.Access_ACCESS_OPEN}}}},
		"retracts 1 from mood": {Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{Node: "mood", Id: "1"}}},
		"configures mood: owner, 7 items": {Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{
			Node: "mood", Config: &event.NodeConfig{Access: event.Access_ACCESS_OWNER, MaxItems: 7}}}},
		"purges mood":                     {Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "mood", Purge: true}}},
		"deletes mood":                    {Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{Node: "mood"}}},
		"keeps vcard: 4 bytes":            {Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{Space: event.StorageSet_SPACE_VCARD, Payload: []byte("<x/>")}}},
		"enables push to p@x: n: 4 bytes": {Kind: &event.Event_PushEnabled{PushEnabled: &event.PushEnabled{Service: "p@x", Node: "n", Options: []byte("<x/>")}}},
		"has its archive keep roster, 1 JIDs always, 0 never": {Kind: &event.Event_ArchivePreferencesSet{ArchivePreferencesSet: &event.ArchivePreferencesSet{
			Default: event.ArchivePreferencesSet_DEFAULT_ROSTER, Always: []string{"a@x"}}}},
		"disables push to p@x": {Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{Service: "p@x"}}},
		"keeps private: {a}b: 0 bytes": {Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{
			Space: event.StorageSet_SPACE_PRIVATE, Name: "{a}b"}}},
	} {
		if got := describe(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
