package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/node"
	"github.com/rollcall/rollcall/schema/privacy"
)

// Longest names of nodes and ids of items, in bytes, as the projection keeps them.
const (
	maxNodeName = 512
	maxItemID   = 1024
)

// pubsubFeatures is what an account's service does of XEP-0060.
var pubsubFeatures = []string{
	stanza.NSPubSub, stanza.NSPubSub + "#access-open", stanza.NSPubSub + "#access-presence", stanza.NSPubSub + "#access-whitelist",
	stanza.NSPubSub + "#auto-create", stanza.NSPubSub + "#auto-subscribe", stanza.NSPubSub + "#config-node",
	stanza.NSPubSub + "#config-node-max", stanza.NSPubSub + "#create-and-configure", stanza.NSPubSub + "#create-nodes",
	stanza.NSPubSub + "#delete-items", stanza.NSPubSub + "#delete-nodes", stanza.NSPubSub + "#filtered-notifications",
	stanza.NSPubSub + "#item-ids", stanza.NSPubSub + "#last-published", stanza.NSPubSub + "#multi-items",
	stanza.NSPubSub + "#persistent-items", stanza.NSPubSub + "#presence-notifications", stanza.NSPubSub + "#publish",
	stanza.NSPubSub + "#publish-options", stanza.NSPubSub + "#purge-nodes", stanza.NSPubSub + "#retract-items",
	stanza.NSPubSub + "#retrieve-default", stanza.NSPubSub + "#retrieve-items",
}

// pubsubError makes an error with a condition of XEP-0060.
func pubsubError(c stanza.Condition, app string, attrs ...string) *stanza.Error {
	e := stanza.NewError(c, "")
	e.App = stanza.New(stanza.NSPubError, app, attrs...).Bytes()
	return e
}

func unsupported(feature string) *stanza.Error {
	return pubsubError(stanza.FeatureNotImplemented, "unsupported", "feature", feature)
}

// pubsub serves an account's nodes (XEP-0163): what anybody may ask for, and
// what their owner may do.
func (s *session) pubsub(q query) {
	for c := range q.payload.Children() {
		if c.Space() != stanza.NSPubSub {
			continue
		}
		switch verb, get := c.Local(), q.Type == "get"; {
		case get && verb == "items":
			s.getItems(q, c)
		case !get && (verb == "publish" || verb == "retract" || verb == "create"):
			if s.owns(q) {
				map[string]func(*session, query, stanza.Child){
					"publish": (*session).publish, "retract": (*session).retract, "create": (*session).createNode,
				}[verb](s, q, c)
			}
		case verb == "subscribe" || verb == "unsubscribe":
			s.fail(q.Stanza, unsupported("subscribe"))
		case verb == "subscriptions" || verb == "affiliations":
			s.fail(q.Stanza, unsupported("retrieve-"+verb))
		case verb == "options" || verb == "default":
			s.fail(q.Stanza, unsupported("subscription-options"))
		default:
			s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, ""))
		}
		return
	}
	s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "nothing is asked for"))
}

// ownerPubsub serves the owner of nodes (XEP-0060, section 8).
func (s *session) ownerPubsub(q query) {
	if !s.owns(q) {
		return
	}
	for c := range q.payload.Children() {
		if c.Space() != stanza.NSPubOwner {
			continue
		}
		switch get := q.Type == "get"; {
		case get && c.Local() == "configure":
			s.getConfig(q, c)
		case c.Local() == "configure":
			s.configureNode(q, c)
		case get && c.Local() == "default":
			form := configForm(node.Default, s.server.opts.MaxItems)
			s.answer(q.Stanza, stanza.New(stanza.NSPubOwner, "pubsub").Add(stanza.New(stanza.NSPubOwner, "default").Add(form)).Bytes())
		case !get && c.Local() == "delete":
			s.deleteNode(q, c, false)
		case !get && c.Local() == "purge":
			s.deleteNode(q, c, true)
		case c.Local() == "subscriptions":
			s.fail(q.Stanza, unsupported("manage-subscriptions"))
		case c.Local() == "affiliations":
			s.fail(q.Stanza, unsupported("modify-affiliations"))
		default:
			s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, ""))
		}
		return
	}
	s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "nothing is asked for"))
}

// owns tells whether the client asks its own account; else it is told that
// it may not (XEP-0060, sections 7.1.3.1 and 8).
func (s *session) owns(q query) bool {
	if q.at == atSelf {
		return true
	}
	s.fail(q.Stanza, stanza.NewError(stanza.Forbidden, "the node is another's"))
	return false
}

// nodeName gives the node that an element names.
func nodeName(c stanza.Child) (string, error) {
	name := c.Attr("node")
	switch {
	case name == "":
		return "", pubsubError(stanza.BadRequest, "nodeid-required")
	case len(name) > maxNodeName:
		return "", stanza.NewError(stanza.NotAcceptable, "the node's name is too long")
	}
	return name, nil
}

// mayRead gives the error for a client that may not read the node, nil if it
// may. Of an account that it does not see all is the same but open nodes.
func (s *session) mayRead(q query, v *Viewed, there bool, access node.Access) error {
	if q.at == atSelf {
		if !there {
			return stanza.NewError(stanza.ItemNotFound, "")
		}
		return nil
	}
	admitted := s.admittedTo(v)
	switch {
	case v.Exists && !s.answersIQ(v, q.to):
		return stanza.NewError(stanza.ServiceUnavailable, "")
	case there && access.Allows(admitted):
		return nil
	case !admitted:
		return pubsubError(stanza.NotAuthorized, "presence-subscription-required")
	case !there:
		return stanza.NewError(stanza.ItemNotFound, "")
	}
	return pubsubError(stanza.NotAllowed, "closed-node")
}

// admittedTo tells whether the client may see the presence of an account that
// is not its own.
func (s *session) admittedTo(v *Viewed) bool {
	return v.Exists && v.Admitted && !privacy.Hides(v.Policy, "", s.jid())
}
