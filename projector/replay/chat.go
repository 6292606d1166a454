package replay

import (
	"fmt"
	"strings"

	"github.com/rollcall/rollcall/schema/event"
)

// describeChat says in a line what an event says of messages that came before,
// "" of any other event.
func describeChat(e *event.Event) string {
	switch k := e.GetKind().(type) {
	case *event.Event_MessageExpired:
		return fmt.Sprintf("message %d waited for too long", k.MessageExpired.GetOffset())
	case *event.Event_MessageWithheld:
		w := k.MessageWithheld
		reason := strings.ToLower(strings.TrimPrefix(w.GetReason().String(), "REASON_"))
		return join(fmt.Sprintf("message %d is in no archive", w.GetOffset()), reason)
	}
	return ""
}
