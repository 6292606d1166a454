package edge

import (
	"context"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

// takePresence acts on the client's presence (RFC 6121, sections 3 and 4).
func (s *session) takePresence(st *stanza.Stanza) {
	p, err := st.Presence()
	if err != nil {
		s.fail(st, err)
		return
	}
	said := &event.Presence{Show: p.Show, Status: p.Status, Priority: int32(p.Priority), Payload: p.Payload, Lang: st.Lang, Id: st.ID}
	switch st.Type {
	case "error":
		return // answers nobody
	case "probe":
		s.probe(st)
		return
	case "", "unavailable":
		if st.To == "" {
			s.broadcast(st, said)
			return
		}
	}
	to, err := s.addressee(st)
	if err != nil {
		s.fail(st, err)
		return
	}
	if to.Local() == "" {
		// The server itself has no roster and takes no presence (RFC 6121,
		// section 3.1.2: who asks hears of it).
		if st.Type == "subscribe" {
			s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
		}
		return
	}
	e := s.stamp(&event.Event{})
	switch st.Type {
	case "", "unavailable":
		e.Kind = &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{
			Resource: s.resource, To: to.String(), Available: st.Type == "", Presence: said, MaxTargets: s.server.opts.Limits.targets(),
		}}
	default:
		if to.Bare() == s.local.account {
			return // nobody subscribes to oneself
		}
		e.Kind = &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{
			Contact: to.Bare().String(), Verb: verbs[st.Type], Presence: said, Resource: s.resource,
			MaxItems: s.server.opts.Limits.items(), MaxRequests: s.server.opts.Limits.requests(),
		}}
	}
	s.append(s.local.account, e, func(err error) {
		if err != nil {
			s.fail(st, err)
		}
	})
}

var verbs = map[string]event.Verb{
	"subscribe":    event.Verb_VERB_SUBSCRIBE,
	"subscribed":   event.Verb_VERB_SUBSCRIBED,
	"unsubscribe":  event.Verb_VERB_UNSUBSCRIBE,
	"unsubscribed": event.Verb_VERB_UNSUBSCRIBED,
}

// verbTypes are the types of presence that verbs are.
var verbTypes = map[event.Verb]string{
	event.Verb_VERB_SUBSCRIBE:    "subscribe",
	event.Verb_VERB_SUBSCRIBED:   "subscribed",
	event.Verb_VERB_UNSUBSCRIBE:  "unsubscribe",
	event.Verb_VERB_UNSUBSCRIBED: "unsubscribed",
}

// broadcast appends presence for all who are subscribed (RFC 6121, sections
// 4.2, 4.4 and 4.5).
func (s *session) broadcast(st *stanza.Stanza, said *event.Presence) {
	s.spoke = true
	if st.Type == "unavailable" {
		s.presence = nil
		s.forgetGiven()
		if s.available.Swap(false) {
			s.echo.Store(true)
		}
		gone := &event.PresenceUnavailable{Resource: s.resource, Presence: said}
		s.append(s.local.account, s.stamp(&event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: gone}}), nil)
		return
	}
	s.echo.Store(false)
	s.hearCaps(said.GetPayload())
	available := &event.PresenceAvailable{Resource: s.resource, Presence: said}
	s.presence = s.stamp(&event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: available}})
	s.appendPresence(func(err error) { s.fail(st, err) })
}

// appendPresence appends what the session wants to be seen as. What the log
// refuses is kept, the newest alone, and tried again.
func (s *session) appendPresence(failed func(error)) {
	e := s.presence
	s.append(s.local.account, e, func(err error) {
		switch {
		case err == nil && s.presence != nil:
			s.becomeAvailable()
		case err != nil && s.presence == e:
			failed(err)
			if s.retrying {
				return
			}
			s.retrying = true
			time.AfterFunc(s.server.opts.RetryEvery, func() { s.post(s.retryPresence) })
		case err != nil:
			failed(err)
		}
	})
}

func (s *session) retryPresence() {
	s.retrying = false
	if s.ended || s.presence == nil {
		return
	}
	// A new event: the one that failed may be stored late, and is then older.
	s.presence = s.stamp(&event.Event{Kind: s.presence.GetKind()})
	s.appendPresence(func(error) {})
}

// becomeAvailable gives the session what an available resource gets at first
// (RFC 6121, section 4.2.2): the presence of those it may see, its own, and
// unanswered requests.
func (s *session) becomeAvailable() {
	if s.available.Load() {
		return
	}
	s.local.mu.Lock()
	s.asked = false
	s.local.mu.Unlock()
	s.availableSince.Store(s.positions[s.local.partition])
	s.server.followed[s.local.partition].enter(s)
	if s.local.loaded() {
		s.local.showAll(s)
		s.giveLast()
		return
	}
	go func() {
		ctx, cancel := s.server.context(s.server.opts.ReadIn)
		defer cancel()
		s.loadContacts(ctx)
	}()
}

// loadContacts reads the roster for a session that did not ask for it.
func (s *session) loadContacts(ctx context.Context) {
	r, err := s.server.opts.Rosters.Roster(ctx, s.local.account, s.local.partition, 0)
	if err == nil {
		s.took(r)
		s.post(func() {
			if s.available.Load() {
				s.local.showAll(s)
				s.giveLast()
			}
		})
		return
	}
	s.server.log.Warn("roster not read, will be tried again", "account", s.local.bare, "err", err)
	time.AfterFunc(s.server.opts.RetryEvery, func() {
		if !s.available.Load() {
			return
		}
		ctx, cancel := s.server.context(s.server.opts.ReadIn)
		defer cancel()
		s.loadContacts(ctx)
	})
}

// subscription gives the client a subscription verb of a contact (RFC 6121,
// section 3).
func (s *session) subscription(b *batch, from string, v event.Verb, p *event.Presence) {
	h := stanza.Header{From: from, To: s.local.bare, Type: verbTypes[v], ID: p.GetId(), Lang: p.GetLang()}
	d := presenceData(p)
	s.out.write(b, func(dst []byte) []byte { return stanza.AppendPresence(dst, h, d) }, nil)
}

func presenceData(p *event.Presence) stanza.PresenceData {
	return stanza.PresenceData{Show: p.GetShow(), Status: p.GetStatus(), Priority: int8(p.GetPriority()), Payload: p.GetPayload()}
}

// preparePresence encodes a presence for all its receivers.
func preparePresence(from string, available bool, p *event.Presence) *stanza.Prepared {
	h := stanza.Header{From: from, ID: p.GetId(), Lang: p.GetLang()}
	d := presenceData(p)
	if !available {
		h.Type, d.Show, d.Priority = "unavailable", "", 0
	}
	said := stanza.PreparePresence(h, d)
	return &said
}
