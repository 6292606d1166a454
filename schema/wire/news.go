package wire

import "github.com/rollcall/rollcall/schema/event"

// NewsOf gives what is to be told of an event, at offset of the history of
// account, that changes a node; nil if nothing is.
func NewsOf(account string, offset int64, e *event.Event) *NodeNews {
	n := &NodeNews{Account: account, Offset: offset}
	switch k := e.GetKind().(type) {
	case *event.Event_NodeItemPublished:
		p := k.NodeItemPublished
		n.Node, n.Access, n.Resource, n.Item, n.Payload = p.GetNode(), p.GetConfig().GetAccess(), p.GetResource(), p.GetId(), p.GetPayload()
		n.Several = p.GetConfig().GetMaxItems() > 1
	case *event.Event_NodeItemRetracted:
		r := k.NodeItemRetracted
		if !r.GetNotify() {
			return nil
		}
		n.Node, n.Access, n.Resource, n.Item, n.Retracted = r.GetNode(), r.GetAccess(), r.GetResource(), r.GetId(), true
		n.Several = true
	case *event.Event_NodeDeleted:
		d := k.NodeDeleted
		n.Node, n.Access, n.Resource, n.Purged, n.Deleted = d.GetNode(), d.GetAccess(), d.GetResource(), d.GetPurge(), !d.GetPurge()
	default:
		return nil
	}
	return n
}
