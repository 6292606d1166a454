package edgetest

import (
	"strings"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/subscription"
	"github.com/rollcall/rollcall/schema/wire"
)

// route makes the frames of one record, as a fan-out worker does. before is
// the account's resources before it was folded; audience tells what it lets
// through now.
func (h *House) route(p int32, offset int64, s *account.State, before map[string]presence.Resource, audience func(), e *event.Event) {
	bare := s.Account.String()
	for contact := range s.Changes.Items {
		h.tell(p, &wire.Frame{What: &wire.Frame_Admission{Admission: &wire.Admission{
			Account: bare, Follower: contact.String(), Offset: offset, Admitted: sees(s, contact),
		}}})
	}
	for name := range s.Changes.Resources {
		was, now := before[name], s.Resources[name]
		if was.Binding != now.Binding && was.Name != "" && now.Name != "" {
			h.tell(p, &wire.Frame{What: &wire.Frame_Superseded{Superseded: &wire.Superseded{Account: bare, Binding: was.Binding[:]}}})
		}
		if (was.Available || now.Available) && (was.Version != now.Version || was.Available != now.Available) {
			said := saidIn(e)
			if now.Available {
				said = contentOf(now.Content)
			}
			h.tell(p, &wire.Frame{What: &wire.Frame_Presence{Presence: &wire.Presence{
				Account: bare, Resource: name, Version: offset, Available: now.Available, Presence: said, At: e.GetAt(),
			}}})
		}
		if was.Name != "" && was.Binding != now.Binding && h.undone(s, was.Binding) || now.Takes() && !was.Takes() {
			h.routeWaiting(p, s)
		}
	}
	if n := wire.NewsOf(bare, offset, e); n != nil {
		if kept, there := s.Nodes[n.GetNode()]; there {
			n.Access = event.Access(kept.Access)
		}
		h.tell(p, &wire.Frame{What: &wire.Frame_NodeNews{NodeNews: n}})
	}
	audience()
	switch kind := e.GetKind().(type) {
	case *event.Event_DirectedReceived:
		d := kind.DirectedReceived
		h.directedToComponent(s.Account, d)
		h.tell(p, &wire.Frame{What: &wire.Frame_Directed{Directed: &wire.Directed{
			Account: bare, Resource: d.GetResource(), From: d.GetFrom(), Version: d.GetVersion(),
			Available: d.GetAvailable(), Presence: d.GetPresence(), Offset: offset,
		}}})
	case *event.Event_MessageAccepted:
		m := kind.MessageAccepted
		if _, kept := s.Inbox[offset]; m.GetMessage().GetStorable() && !kept {
			return // refused, or a copy
		}
		d := s.Policy().Route(message.Type(m.GetMessage().GetType()), m.GetResource(), jid.FromCanonical(m.GetFrom()), s.Resources)
		if s.Exists && (d.Action == message.Deliver || d.Action == message.Store) {
			defer h.copyReceived(p, offset, s, e, m, d)
		}
		if !s.Exists || d.Action != message.Deliver {
			return
		}
		f := &wire.Message{Account: bare, Offset: offset, Accepted: m, At: e.GetAt(), Stored: m.GetMessage().GetStorable()}
		for _, name := range d.To {
			binding := s.Resources[name].Binding
			f.Bindings = append(f.Bindings, binding[:])
			h.choose(s, offset, binding)
		}
		h.tell(p, &wire.Frame{What: &wire.Frame_Message{Message: f}})
	case *event.Event_Delivered:
		delete(h.chosen[s.Account], kind.Delivered.GetOffset())
	case *event.Event_MessageSent:
		h.copySent(p, offset, s, e, kind.MessageSent)
	}
}

// sees tells whether a contact sees the account's presence.
func sees(s *account.State, contact jid.Bare) bool {
	it, ok := s.Roster[contact]
	return ok && !it.Removed && it.State&subscription.From != 0
}

// directs tells whether a resource has sent directed presence to a full JID, or
// to its bare JID, and not withdrawn it.
func directs(s *account.State, resource string, to jid.JID) bool {
	targets := s.Directed[resource]
	_, full := targets[to.String()]
	_, bare := targets[to.Bare().String()]
	return full || bare
}

// saidIn gives what an event says with an end of presence.
func saidIn(e *event.Event) *event.Presence { return e.GetPresenceUnavailable().GetPresence() }

func contentOf(c presence.Content) *event.Presence {
	return &event.Presence{Show: c.Show, Status: c.Status, Priority: int32(c.Priority), Payload: []byte(c.Payload), Lang: c.Lang, Id: c.ID}
}

// Sees gives what the log's fold says that an account, or one full JID of it,
// sees: the show of each available full JID, its own too.
func (h *House) Sees(name string) map[string]string {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	name, resource, _ := strings.Cut(name, "/")
	account := jid.MustBare(name + "@" + h.domain)
	viewer := account.JID()
	if resource != "" {
		viewer = account.WithCanonical(resource).JID()
	}
	lets := h.state(account).Policy()
	all := make(map[string]string)
	for bare, s := range h.states {
		if bare != account && !sees(s, account) {
			continue
		}
		for _, r := range s.Resources {
			full := bare.WithCanonical(r.Name)
			if r.Available && !s.Policy().Hides(r.Name, viewer) && lets.Allows(privacy.PresenceIn, resource, full.JID()) {
				all[full.String()] = r.Show
			}
		}
	}
	return all
}
