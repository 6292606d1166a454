package edge

import (
	"context"
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
)

// getItems answers with items of a node: those that are named, or the newest
// ones (XEP-0060, section 6.5). Those that are too many for one answer are left
// out, and it says how many there are.
func (s *session) getItems(q query, c stanza.Child) {
	name, err := nodeName(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	most := s.server.opts.MaxItems
	if text := c.Attr("max_items"); text != "" {
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil || n == 0 {
			s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "max_items is no number of items"))
			return
		}
		most = min(most, int(n))
	}
	var ids []string
	for i := range c.Children() {
		if i.Is(stanza.NSPubSub, "item") && len(ids) < s.server.opts.MaxItems {
			ids = append(ids, i.Attr("id"))
		}
	}
	ask(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, ids, most, s.server.opts.HardOutbound/4)
	}, func(n *Node) {
		if err := s.mayRead(q, &n.Viewed, n.There, n.Access); err != nil {
			s.fail(q.Stanza, err)
			return
		}
		out := []byte("<pubsub xmlns='" + stanza.NSPubSub + "'><items")
		out = append(stanza.AppendAttr(out, "node", name), '>')
		for _, i := range n.Items {
			out = appendItem(out, i.ID, i.Payload)
		}
		out = append(out, "</items>"...)
		if wanted := min(most, n.Kept); len(ids) == 0 && len(n.Items) < wanted {
			set := stanza.New(stanza.NSRSM, "set").AddText("first", n.Items[0].ID).AddText("last", n.Items[len(n.Items)-1].ID)
			out = set.AddText("count", strconv.Itoa(n.Kept)).AppendTo(out)
		}
		s.answer(q.Stanza, append(out, "</pubsub>"...))
	})
}

func appendItem(dst []byte, id string, payload []byte) []byte {
	dst = append(stanza.AppendAttr(append(dst, "<item"...), "id", id), '>')
	return append(append(dst, payload...), "</item>"...)
}

// publish publishes an item (XEP-0060, section 7.1). A node that is not there
// is made, as the options say.
func (s *session) publish(q query, c stanza.Child) {
	name, err := nodeName(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	id, payload, err := s.published(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	var options *stanza.Element
	if o, ok := q.payload.First(stanza.NSPubSub, "publish-options"); ok {
		if options, err = formIn(o, stanza.NSPubOption); err != nil {
			s.fail(q.Stanza, err)
			return
		}
	}
	inTurn(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, nil, 0, 0)
	}, func(t *turn, n *Node) {
		if n.Bytes+len(payload) > s.server.opts.MaxPublished {
			t.refuse(stanza.NewError(stanza.ResourceConstraint, "too much is published for this account"))
			return
		}
		config := n.Config
		if !n.There {
			config = node.Default
			if n.Nodes >= s.server.opts.MaxNodes {
				t.refuse(pubsubError(stanza.ResourceConstraint, "max-nodes-exceeded"))
				return
			}
		}
		if options != nil {
			next, err := configured(config, options, s.server.opts.MaxItems, true)
			if n.There && (err != nil || next != config) {
				err = pubsubError(stanza.Conflict, "precondition-not-met")
			}
			if err != nil {
				t.refuse(err)
				return
			}
			config = next
		}
		t.append(&event.Event{Kind: &event.Event_NodeItemPublished{NodeItemPublished: &event.NodeItemPublished{
			Node: name, Id: id, Payload: payload, Config: configOf(config), RequestId: q.ID, Resource: s.resource,
		}}}, s.outcomeWith(q, func() []byte {
			publish := stanza.New(stanza.NSPubSub, "publish", "node", name).Add(stanza.New(stanza.NSPubSub, "item", "id", id))
			return stanza.New(stanza.NSPubSub, "pubsub").Add(publish).Bytes()
		}))
	})
}

// published gives the item of a publish request.
func (s *session) published(c stanza.Child) (id string, payload []byte, err error) {
	var item stanza.Child
	items := 0
	for i := range c.Children() {
		if i.Is(stanza.NSPubSub, "item") {
			item = i
			items++
		}
	}
	switch {
	case items == 0:
		return "", nil, pubsubError(stanza.BadRequest, "item-required")
	case items > 1:
		return "", nil, stanza.NewError(stanza.BadRequest, "one item at a time")
	}
	payloads := 0
	for p := range item.Children() {
		payload = p.Declared()
		payloads++
	}
	if id = item.Attr("id"); id == "" {
		id = uuid.NewString()
	}
	switch {
	case payloads == 0:
		return "", nil, pubsubError(stanza.BadRequest, "payload-required")
	case payloads > 1:
		return "", nil, pubsubError(stanza.BadRequest, "invalid-payload")
	case len(payload) > s.server.opts.MaxPayload:
		return "", nil, pubsubError(stanza.NotAcceptable, "payload-too-big")
	case len(id) > maxItemID:
		return "", nil, stanza.NewError(stanza.NotAcceptable, "the item's id is too long")
	}
	return id, payload, nil
}

// retract takes an item away (XEP-0060, section 7.2).
func (s *session) retract(q query, c stanza.Child) {
	name, err := nodeName(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	item, _ := c.First(stanza.NSPubSub, "item")
	id, notify := item.Attr("id"), c.Attr("notify")
	if id == "" {
		s.fail(q.Stanza, pubsubError(stanza.BadRequest, "item-required"))
		return
	}
	inTurn(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, []string{id}, 1, 1)
	}, func(t *turn, n *Node) {
		if !n.There || len(n.Items) == 0 {
			t.refuse(stanza.NewError(stanza.ItemNotFound, ""))
			return
		}
		t.append(&event.Event{Kind: &event.Event_NodeItemRetracted{NodeItemRetracted: &event.NodeItemRetracted{
			Node: name, Id: id, Notify: notify == "1" || notify == "true", Access: event.Access(n.Access), RequestId: q.ID, Resource: s.resource,
		}}}, nil)
	})
}

// outcomeWith answers q with a payload if the Outcome is a success.
func (s *session) outcomeWith(q query, payload func() []byte) func(*event.Outcome) {
	return func(o *event.Outcome) {
		if c := stanza.Condition(o.GetCondition()); c != "" {
			s.fail(q.Stanza, stanza.NewError(c, ""))
			return
		}
		s.answer(q.Stanza, payload())
	}
}
