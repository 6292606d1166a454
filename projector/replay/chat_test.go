package replay

import (
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

func TestDescribeChat(t *testing.T) {
	for _, c := range []struct {
		e    *event.Event
		want string
	}{
		{&event.Event{Kind: &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: 7}}}, "message 7 waited for too long"},
		{&event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{Offset: 7, Reason: event.MessageWithheld_REASON_COPY}}}, "message 7 is in no archive: copy"},
	} {
		if got := describe(c.e); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
