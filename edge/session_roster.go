package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Bounds of a roster item (RFC 6121, sections 2.3.3 and 2.1.2).
const (
	maxName   = 1023 // bytes
	maxGroup  = 1023 // bytes
	maxGroups = 100
)

// takeRoster acts on a roster get, set or removal (RFC 6121, section 2).
func (s *session) takeRoster(st *stanza.Stanza, payload stanza.Child, get bool) {
	query, err := payload.Element()
	if err != nil {
		s.fail(st, stanza.NewError(stanza.BadRequest, ""))
		return
	}
	if get {
		if len(query.Children) > 0 {
			s.fail(st, stanza.NewError(stanza.BadRequest, "a roster get has no items"))
			return
		}
		s.order.then(func() { s.getRoster(st, query) })
		return
	}
	e, err := s.rosterSet(st, query)
	if err != nil {
		s.fail(st, err)
		return
	}
	s.request(st, e, nil)
}

// rosterSet makes the event of a roster set (RFC 6121, sections 2.3 and 2.5).
func (s *session) rosterSet(st *stanza.Stanza, query *stanza.Element) (*event.Event, error) {
	if len(query.Children) != 1 || !query.Children[0].Is(stanza.NSRoster, "item") {
		return nil, stanza.NewError(stanza.BadRequest, "a roster set has exactly one item")
	}
	item := query.Children[0]
	if item.Attr("jid") == "" {
		return nil, stanza.NewError(stanza.BadRequest, "item without a jid")
	}
	to, err := jid.Parse(item.Attr("jid"))
	if err != nil {
		return nil, err
	}
	contact := to.Bare()
	if len(contact.String()) > maxAddress {
		return nil, stanza.NewError(stanza.JIDMalformed, "the address is too long")
	}
	if contact == s.local.account {
		return nil, stanza.NewError(stanza.NotAllowed, "nobody is on their own roster")
	}
	if item.Attr("subscription") == "remove" {
		removed := &event.RosterItemRemoved{Contact: contact.String(), RequestId: st.ID, Resource: s.resource}
		return &event.Event{Kind: &event.Event_RosterItemRemoved{RosterItemRemoved: removed}}, nil
	}
	set := &event.RosterItemSet{Contact: contact.String(), Name: item.Attr("name"), RequestId: st.ID, Resource: s.resource, MaxItems: s.server.opts.Limits.items()}
	if len(set.Name) > maxName {
		return nil, stanza.NewError(stanza.NotAcceptable, "name too long")
	}
	seen := make(map[string]bool)
	for _, g := range item.Children {
		if !g.Is(stanza.NSRoster, "group") {
			continue
		}
		switch {
		case seen[g.Text]:
			return nil, stanza.NewError(stanza.BadRequest, "group given twice")
		case g.Text == "":
			return nil, stanza.NewError(stanza.NotAcceptable, "group without a name")
		case len(g.Text) > maxGroup:
			return nil, stanza.NewError(stanza.NotAcceptable, "name of a group too long")
		case len(seen) == maxGroups:
			return nil, stanza.NewError(stanza.NotAcceptable, "too many groups")
		}
		seen[g.Text] = true
		set.Groups = append(set.Groups, g.Text)
	}
	return &event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: set}}, nil
}

// getRoster reads the roster and answers. The session counts as interested
// from before the reading, so that no push is missed; those that come while
// it lasts wait.
func (s *session) getRoster(st *stanza.Stanza, query *stanza.Element) {
	if s.reading {
		s.fail(st, &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint, Text: "the roster is being read"})
		return
	}
	s.interested, s.reading = true, true
	after := s.rosterAfter
	go func() {
		ctx, cancel := s.server.context(s.server.opts.ReadIn)
		defer cancel()
		r, err := s.server.opts.Rosters.Roster(ctx, s.local.account, s.local.partition, after)
		if err == nil {
			s.took(r)
		} else {
			s.server.log.Warn("roster not read", "account", s.local.bare, "err", err)
		}
		s.post(func() { s.giveRoster(st, query, r, err) })
	}()
}

func (s *session) giveRoster(st *stanza.Stanza, query *stanza.Element, r *Roster, err error) {
	s.reading = false
	early := s.early
	s.early = nil
	if s.ended {
		return
	}
	if err != nil {
		s.interested = s.rosterTag != "" // an earlier answer counts on
		s.fail(st, &stanza.Error{Type: stanza.Wait, Condition: stanza.InternalServerError, Text: "the roster cannot be read now"})
	} else {
		s.asOf, s.rosterTag = r.NextOffset, r.tag()
		s.answerRoster(st, query.Attr("ver"), r)
	}
	for _, p := range early {
		s.pushRoster(p)
	}
}

// answerRoster gives the whole roster, or an empty result and then, as pushes,
// what changed since the version that the client has (RFC 6121, section 2.6.3).
func (s *session) answerRoster(st *stanza.Stanza, ver string, r *Roster) {
	h := stanza.Header{Type: "result", ID: st.ID, To: s.full, From: st.To}
	changed, ok := r.since(ver)
	var payload []byte
	if !ok {
		payload = r.whole()
	}
	s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) })
	for _, it := range changed {
		s.sendPush(it.RosterItem, it.Version)
	}
}

// rosterItem encodes an item (RFC 6121, section 2.1.2).
func rosterItem(it *event.RosterItem) *stanza.Element {
	e := stanza.New(stanza.NSRoster, "item", "jid", it.GetContact(), "name", it.GetName())
	switch {
	case it.GetRemoved():
		return stanza.New(stanza.NSRoster, "item", "jid", it.GetContact(), "subscription", "remove")
	case it.GetTo() && it.GetFrom():
		e.Set("subscription", "both")
	case it.GetTo():
		e.Set("subscription", "to")
	case it.GetFrom():
		e.Set("subscription", "from")
	default:
		e.Set("subscription", "none")
	}
	if it.GetPendingOut() {
		e.Set("ask", "subscribe")
	}
	if it.GetApproved() {
		e.Set("approved", "true")
	}
	for _, g := range it.GetGroups() {
		e.AddText("group", g)
	}
	return e
}

// pushRoster tells an interested client of a changed item (RFC 6121, section
// 2.1.6), unless the roster that it got has it already.
func (s *session) pushRoster(p *event.RosterPush) {
	switch {
	case s.ended || !s.interested || p.GetItem().GetHidden():
	case s.reading:
		s.early = append(s.early, p)
	case p.GetVersion() >= s.asOf:
		s.sendPush(p.GetItem(), p.GetVersion())
	}
}

func (s *session) sendPush(it *event.RosterItem, version int64) {
	q := stanza.New(stanza.NSRoster, "query", "ver", versionText(version, s.rosterTag)).Add(rosterItem(it))
	h := stanza.Header{Type: "set", ID: s.nextPush(), To: s.full}
	s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, q.Bytes()) })
}
