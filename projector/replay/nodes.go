package replay

import (
	"fmt"
	"strings"

	"github.com/rollcall/rollcall/schema/event"
)

// describeNode says in a line what an event says of nodes, storage, push
// services and archives, "" of any other event.
func describeNode(e *event.Event) string {
	switch k := e.GetKind().(type) {
	case *event.Event_NodeItemPublished:
		p := k.NodeItemPublished
		return fmt.Sprintf("publishes %s in %s (%s), %d bytes", p.GetId(), p.GetNode(), access(p.GetConfig().GetAccess()), len(p.GetPayload()))
	case *event.Event_NodeItemRetracted:
		return fmt.Sprintf("retracts %s from %s", k.NodeItemRetracted.GetId(), k.NodeItemRetracted.GetNode())
	case *event.Event_NodeConfigured:
		c := k.NodeConfigured
		return fmt.Sprintf("configures %s: %s, %d items", c.GetNode(), access(c.GetConfig().GetAccess()), c.GetConfig().GetMaxItems())
	case *event.Event_NodeDeleted:
		if k.NodeDeleted.GetPurge() {
			return "purges " + k.NodeDeleted.GetNode()
		}
		return "deletes " + k.NodeDeleted.GetNode()
	case *event.Event_ArchivePreferencesSet:
		a := k.ArchivePreferencesSet
		return fmt.Sprintf("has its archive keep %s, %d JIDs always, %d never",
			strings.ToLower(strings.TrimPrefix(a.GetDefault().String(), "DEFAULT_")), len(a.GetAlways()), len(a.GetNever()))
	case *event.Event_PushEnabled:
		p := k.PushEnabled // its options may hold a secret
		return join("enables push to "+p.GetService(), p.GetNode(), fmt.Sprintf("%d bytes", len(p.GetOptions())))
	case *event.Event_PushDisabled:
		return join("disables push to "+k.PushDisabled.GetService(), k.PushDisabled.GetNode())
	case *event.Event_StorageSet:
		s := k.StorageSet
		return join("keeps "+strings.ToLower(strings.TrimPrefix(s.GetSpace().String(), "SPACE_")), s.GetName(), fmt.Sprintf("%d bytes", len(s.GetPayload())))
	}
	return ""
}

func access(a event.Access) string {
	return strings.ToLower(strings.TrimPrefix(a.String(), "ACCESS_"))
}
