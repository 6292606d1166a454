package edge

import (
	"context"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
)

// ownNode has do called, in q's turn, with the client's own node that c names.
func (s *session) ownNode(q query, c stanza.Child, do func(t *turn, name string, n *Node)) {
	name, err := nodeName(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	inTurn(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, nil, 0, 0)
	}, func(t *turn, n *Node) { do(t, name, n) })
}

// createNode makes a node, and configures it if there is a form (XEP-0060,
// section 8.1).
func (s *session) createNode(q query, c stanza.Child) {
	var form *stanza.Element
	if configure, ok := q.payload.First(stanza.NSPubSub, "configure"); ok {
		var err error
		if form, err = formIn(configure, stanza.NSPubConfig); err != nil {
			s.fail(q.Stanza, err)
			return
		}
	}
	if c.Attr("node") == "" {
		s.fail(q.Stanza, pubsubError(stanza.NotAcceptable, "nodeid-required")) // 8.1.2: no instant nodes
		return
	}
	s.ownNode(q, c, func(t *turn, name string, n *Node) {
		config, err := configured(node.Default, form, s.server.opts.MaxItems, false)
		switch {
		case n.There:
			err = stanza.NewError(stanza.Conflict, "the node is there")
		case n.Nodes >= s.server.opts.MaxNodes:
			err = pubsubError(stanza.ResourceConstraint, "max-nodes-exceeded")
		}
		if err != nil {
			t.refuse(err)
			return
		}
		s.appendConfig(q, t, name, config)
	})
}

// configureNode configures a node (XEP-0060, section 8.2).
func (s *session) configureNode(q query, c stanza.Child) {
	form, err := formIn(c, stanza.NSPubConfig)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	s.ownNode(q, c, func(t *turn, name string, n *Node) {
		config, err := configured(n.Config, form, s.server.opts.MaxItems, false)
		if !n.There {
			err = stanza.NewError(stanza.ItemNotFound, "")
		}
		if err != nil {
			t.refuse(err)
			return
		}
		s.appendConfig(q, t, name, config)
	})
}

func (s *session) appendConfig(q query, t *turn, name string, c node.Config) {
	t.append(&event.Event{Kind: &event.Event_NodeConfigured{NodeConfigured: &event.NodeConfigured{
		Node: name, Config: configOf(c), RequestId: q.ID, Resource: s.resource,
	}}}, nil)
}

// getConfig answers with the form of a node (XEP-0060, section 8.2.1).
func (s *session) getConfig(q query, c stanza.Child) {
	name, err := nodeName(c)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	ask(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, nil, 0, 0)
	}, func(n *Node) {
		if !n.There {
			s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
			return
		}
		configure := stanza.New(stanza.NSPubOwner, "configure", "node", name).Add(configForm(n.Config, s.server.opts.MaxItems))
		s.answer(q.Stanza, stanza.New(stanza.NSPubOwner, "pubsub").Add(configure).Bytes())
	})
}

// deleteNode takes a node away, or only its items (XEP-0060, sections 8.4 and 8.5).
func (s *session) deleteNode(q query, c stanza.Child, purge bool) {
	s.ownNode(q, c, func(t *turn, name string, n *Node) {
		switch {
		case !n.There:
			t.refuse(stanza.NewError(stanza.ItemNotFound, ""))
		case purge && n.Transient:
			t.refuse(unsupported("persistent-items"))
		default:
			t.append(&event.Event{Kind: &event.Event_NodeDeleted{NodeDeleted: &event.NodeDeleted{
				Node: name, Purge: purge, Access: event.Access(n.Access), RequestId: q.ID, Resource: s.resource,
			}}}, nil)
		}
	})
}

// configOf gives c as an event has it.
func configOf(c node.Config) *event.NodeConfig {
	return &event.NodeConfig{Access: event.Access(c.Access), MaxItems: c.MaxItems, Transient: c.Transient, NoLastItem: c.NoLastItem}
}
