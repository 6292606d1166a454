package edge

import (
	"context"
	"slices"
	"strconv"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
)

// getPrivacyLists answers with the names of the lists, or with one of them
// (XEP-0016, section 2.3).
func (s *session) getPrivacyLists(q query) {
	asked, err := q.payload.Element()
	if err != nil || len(asked.Children) > 1 || len(asked.Children) == 1 && !asked.Children[0].Is(stanza.NSPrivacy, "list") {
		s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "the names of the lists, or one list"))
		return
	}
	var after int64
	s.order.then(func() { after = s.rosterAfter })
	read := func(ctx context.Context) (*event.Privacy, error) {
		return s.server.opts.Rosters.Privacy(ctx, s.local.account, s.local.partition, after)
	}
	ask(s, q.Stanza, read, func(p *event.Privacy) {
		if len(asked.Children) == 0 {
			s.answer(q.Stanza, privacyNames(p, s.resource).Bytes())
		} else {
			s.givePrivacyList(q, p, asked.Children[0].Attr("name"))
		}
	})
}

// privacyNames gives the lists of an account, before them what a session and
// the account use of these.
func privacyNames(p *event.Privacy, resource string) *stanza.Element {
	e := stanza.New(stanza.NSPrivacy, "query")
	for _, x := range p.GetSessions() {
		if x.GetResource() == resource && x.GetActive() != "" {
			e.Add(stanza.New(stanza.NSPrivacy, "active", "name", x.GetActive()))
		}
	}
	if p.GetDefaultList() != "" {
		e.Add(stanza.New(stanza.NSPrivacy, "default", "name", p.GetDefaultList()))
	}
	for _, l := range p.GetLists() {
		e.Add(stanza.New(stanza.NSPrivacy, "list", "name", l.GetName()))
	}
	return e
}

func (s *session) givePrivacyList(q query, p *event.Privacy, name string) {
	i := slices.IndexFunc(p.GetLists(), func(l *event.PrivacyList) bool { return l.GetName() == name })
	if i < 0 {
		s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
		return
	}
	list := stanza.New(stanza.NSPrivacy, "list", "name", name)
	for _, it := range p.GetLists()[i].GetItems() {
		action := "deny"
		if it.GetAllow() {
			action = "allow"
		}
		e := stanza.New(stanza.NSPrivacy, "item", "type", it.GetType(), "value", it.GetValue(),
			"action", action, "order", strconv.FormatUint(uint64(it.GetOrder()), 10))
		for _, kind := range []struct {
			on   bool
			name string
		}{{it.GetMessage(), "message"}, {it.GetIq(), "iq"}, {it.GetPresenceIn(), "presence-in"}, {it.GetPresenceOut(), "presence-out"}} {
			if kind.on {
				e.Add(stanza.New(stanza.NSPrivacy, kind.name))
			}
		}
		list.Add(e)
	}
	s.answer(q.Stanza, stanza.New(stanza.NSPrivacy, "query").Add(list).Bytes())
}

// setPrivacyLists sets a list, or chooses the active or the default one
// (XEP-0016, sections 2.4 to 2.8).
func (s *session) setPrivacyLists(q query) {
	asked, err := q.payload.Element()
	if err != nil || len(asked.Children) != 1 {
		s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "exactly one of active, default and list"))
		return
	}
	what := asked.Children[0]
	name := what.Attr("name")
	if len(name) > privacy.MaxName {
		s.fail(q.Stanza, stanza.NewError(stanza.NotAcceptable, "name too long"))
		return
	}
	switch {
	case what.Is(stanza.NSPrivacy, "active"), what.Is(stanza.NSPrivacy, "default"):
		s.request(q.Stanza, &event.Event{Kind: &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{
			Name: name, Default: what.Local == "default", RequestId: q.ID, Resource: s.resource,
		}}}, nil)
	case what.Is(stanza.NSPrivacy, "list") && name != "":
		s.setPrivacyList(q, name, what)
	default:
		s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "exactly one of active, default and list"))
	}
}

func (s *session) setPrivacyList(q query, name string, list *stanza.Element) {
	items, err := privacyItems(list)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	e := &event.Event{Kind: &event.Event_PrivacyListChanged{PrivacyListChanged: &event.PrivacyListChanged{
		Name: name, Items: items, RequestId: q.ID, Resource: s.resource,
	}}}
	groups := privacy.Groups(items)
	if len(groups) == 0 {
		s.request(q.Stanza, e, nil)
		return
	}
	// Of a group that is not in the roster XEP-0016, section 2.1, wants an
	// error. Until that is known nothing that the client sends is taken, for
	// it may count on the list.
	end := s.pause()
	var after int64
	s.order.then(func() { after = s.rosterAfter })
	type answer struct {
		roster *Roster
		err    error
	}
	read := func(ctx context.Context) (answer, error) {
		r, err := s.server.opts.Rosters.Roster(ctx, s.local.account, s.local.partition, after)
		return answer{r, err}, nil
	}
	inTurn(s, q.Stanza, read, func(t *turn, a answer) {
		defer end()
		switch {
		case a.err != nil:
			s.server.log.Warn("roster not read", "account", s.local.bare, "err", a.err)
			t.refuse(&stanza.Error{Type: stanza.Wait, Condition: stanza.InternalServerError, Text: "the roster cannot be read now"})
		case !a.roster.hasGroups(groups):
			t.refuse(stanza.NewError(stanza.ItemNotFound, "a group that is not in the roster"))
		default:
			t.append(e, nil)
		}
	})
}

// hasGroups tells that each group has an item in the roster.
func (r *Roster) hasGroups(groups []string) bool {
	missing := make(map[string]struct{}, len(groups))
	for _, g := range groups {
		missing[g] = struct{}{}
	}
	for _, it := range r.Items {
		if !it.GetRemoved() {
			for _, g := range it.GetGroups() {
				delete(missing, g)
			}
		}
	}
	return len(missing) == 0
}

// privacyItems reads the items of a list (XEP-0016, section 2.1).
func privacyItems(list *stanza.Element) (items []*event.PrivacyItem, err error) {
	for _, e := range list.Children {
		if !e.Is(stanza.NSPrivacy, "item") {
			return nil, stanza.NewError(stanza.BadRequest, "a list has items")
		}
		order, err := strconv.ParseUint(e.Attr("order"), 10, 32)
		if err != nil {
			return nil, stanza.NewError(stanza.BadRequest, "order is no unsigned integer")
		}
		it := &event.PrivacyItem{Type: e.Attr("type"), Value: e.Attr("value"), Allow: e.Attr("action") == "allow", Order: uint32(order)}
		if !it.Allow && e.Attr("action") != "deny" {
			return nil, stanza.NewError(stanza.BadRequest, "action is neither allow nor deny")
		}
		if it.Type == "jid" {
			j, err := jid.Parse(it.Value)
			if err != nil {
				return nil, err
			}
			it.Value = j.String()
		}
		for _, kind := range e.Children {
			switch {
			case kind.Is(stanza.NSPrivacy, "message"):
				it.Message = true
			case kind.Is(stanza.NSPrivacy, "iq"):
				it.Iq = true
			case kind.Is(stanza.NSPrivacy, "presence-in"):
				it.PresenceIn = true
			case kind.Is(stanza.NSPrivacy, "presence-out"):
				it.PresenceOut = true
			default:
				return nil, stanza.NewError(stanza.BadRequest, "no such kind of stanza")
			}
		}
		items = append(items, it)
	}
	if privacy.CheckItems(items) != "" {
		return nil, stanza.NewError(stanza.BadRequest, "items with the same order, or of no known type and value")
	}
	return items, nil
}

// pushPrivacyList tells a client of a changed list (XEP-0016, section 2.6).
func (s *session) pushPrivacyList(p *event.PrivacyListPush) {
	if !s.ended {
		s.push(stanza.New(stanza.NSPrivacy, "query").Add(stanza.New(stanza.NSPrivacy, "list", "name", p.GetName())))
	}
}
