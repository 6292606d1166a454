package edge

import (
	"context"
	"maps"
	"slices"

	"github.com/rollcall/rollcall/edge/stanza"
)

// features gives what disco#info tells of a place (XEP-0030), sorted.
func (s *Server) features(at place) []string {
	all := slices.Clone(furtherFeatures[at])
	if at == atSelf && s.opts.Published != nil {
		all = append(all, pubsubFeatures...)
	}
	if at == atSelf && s.opts.Archive != nil {
		all = append(all, archiveFeatures...)
	}
	for _, v := range services {
		if v.feature != "" && v.at&at != 0 && (v.on == nil || v.on(s)) {
			all = append(all, v.feature)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// info gives the answer to disco#info of a place, without a node.
func (s *Server) info(at place) *stanza.Element {
	info := stanza.New(stanza.NSDiscoInfo, "query")
	if at == atServer {
		info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "server", "type", "im", "name", "Rollcall"))
	} else {
		info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "account", "type", "registered"))
		if s.opts.Published != nil {
			info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "pubsub", "type", "pep"))
		}
	}
	for _, f := range s.features(at) {
		info.Add(stanza.New(stanza.NSDiscoInfo, "feature", "var", f))
	}
	return info
}

// discoInfo answers what the server, an account or a node is (XEP-0030,
// XEP-0163, section 6). Another account tells it to who sees its presence.
func (s *session) discoInfo(q query) {
	name := q.payload.Attr("node")
	switch {
	case q.at == atServer && (name == "" || name == s.server.caps.node()):
		s.answer(q.Stanza, s.server.info(atServer).Set("node", name).Bytes())
	case q.at == atSelf && name == "":
		s.answer(q.Stanza, s.server.info(atSelf).Bytes())
	case q.at == atServer:
		s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
	case s.server.opts.Published == nil:
		s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
	case name == "":
		s.askNodes(q, func(n *Nodes) {
			if len(n.All) == 0 && !s.admittedTo(&n.Viewed) {
				s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
				return
			}
			s.answer(q.Stanza, s.server.info(atSelf).Bytes())
		})
	default:
		s.askNode(q, name, 0, func(*Node) {
			info := stanza.New(stanza.NSDiscoInfo, "query", "node", name)
			info.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "pubsub", "type", "leaf"))
			info.Add(stanza.New(stanza.NSDiscoInfo, "feature", "var", stanza.NSPubSub))
			s.answer(q.Stanza, info.Bytes())
		})
	}
}

// discoItems answers with the nodes of an account, or the items of a node, that
// the client may read (XEP-0060, sections 5.2 and 5.5). Below the server are its
// components.
func (s *session) discoItems(q query) {
	name := q.payload.Attr("node")
	items := stanza.New(stanza.NSDiscoItem, "query", "node", name)
	switch {
	case q.at == atServer && name != "":
		s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
	case q.at == atServer:
		for _, domain := range slices.Sorted(maps.Keys(s.server.opts.Components.Secrets)) {
			items.Add(stanza.New(stanza.NSDiscoItem, "item", "jid", domain))
		}
		s.answer(q.Stanza, items.Bytes())
	case q.at == atSelf && s.server.opts.Published == nil:
		s.answer(q.Stanza, items.Bytes())
	case s.server.opts.Published == nil:
		s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
	case name == "":
		s.askNodes(q, func(n *Nodes) {
			if len(n.All) == 0 && q.at == atOther && !s.admittedTo(&n.Viewed) {
				s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
				return
			}
			for _, one := range n.All {
				items.Add(stanza.New(stanza.NSDiscoItem, "item", "jid", q.to.String(), "node", one.Name))
			}
			s.answer(q.Stanza, items.Bytes())
		})
	default:
		s.askNode(q, name, s.server.opts.MaxItems, func(n *Node) {
			for _, i := range n.Items {
				items.Add(stanza.New(stanza.NSDiscoItem, "item", "jid", q.to.String(), "name", i.ID))
			}
			s.answer(q.Stanza, items.Bytes())
		})
	}
}

// askNodes hands then the nodes that the client may read; an account that does
// not answer the client has none.
func (s *session) askNodes(q query, then func(*Nodes)) {
	ask(s, q.Stanza, func(ctx context.Context) (*Nodes, error) {
		return s.server.opts.Published.Nodes(ctx, s.asks(q))
	}, func(n *Nodes) {
		n.All = slices.DeleteFunc(n.All, func(one NamedNode) bool { return s.mayRead(q, &n.Viewed, true, one.Access) != nil })
		then(n)
	})
}

// askNode hands then a node that the client may read, with up to most items.
func (s *session) askNode(q query, name string, most int, then func(*Node)) {
	if len(name) > maxNodeName {
		s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
		return
	}
	ask(s, q.Stanza, func(ctx context.Context) (*Node, error) {
		return s.server.opts.Published.Node(ctx, s.asks(q), name, nil, most, 1<<20)
	}, func(n *Node) {
		if err := s.mayRead(q, &n.Viewed, n.There, n.Access); err != nil {
			s.fail(q.Stanza, err)
			return
		}
		then(n)
	})
}
