package store

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
)

// A session's last presence is the same row whether its resource was read from
// Postgres, where text has no NUL, or folded from the log.
func TestPresenceOfEndedIsAsARowHasIt(t *testing.T) {
	said := &event.Presence{Show: "a\x00way", Status: "NUL\x00inside", Priority: 3, Payload: []byte("<c/>"), Lang: "e\x00n", Id: "p\x001"}
	want := &event.Presence{Show: "away", Status: "NULinside", Priority: 3, Payload: []byte("<c/>"), Lang: "en", Id: "p1"}
	for _, p := range []*event.Presence{said, want} {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		got := new(event.Presence)
		if err := proto.Unmarshal([]byte(cleanPresence(b)), got); err != nil || !proto.Equal(got, want) {
			t.Errorf("got %v, %v; want %v", got, err, want)
		}
	}
}
