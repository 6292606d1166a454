package edge

import (
	"context"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

// maxStorageName bounds the name of private XML in bytes.
const maxStorageName = 1024

// getVCard answers with an account's vCard. Of another account that has none,
// is not there or does not answer this client the answer is the same
// (XEP-0054, sections 3.1 and 3.3).
func (s *session) getVCard(q query) {
	ask(s, q.Stanza, func(ctx context.Context) (*Stored, error) {
		return s.server.opts.Published.Stored(ctx, s.asks(q), event.StorageSet_SPACE_VCARD, "")
	}, func(v *Stored) {
		switch {
		case v.Payload != nil && s.answersIQ(&v.Viewed, q.to):
			s.answer(q.Stanza, v.Payload)
		case q.at == atSelf:
			s.fail(q.Stanza, stanza.NewError(stanza.ItemNotFound, ""))
		default:
			s.fail(q.Stanza, stanza.NewError(stanza.ServiceUnavailable, ""))
		}
	})
}

// setVCard replaces the client's own vCard (XEP-0054, section 3.2).
func (s *session) setVCard(q query) {
	if q.at != atSelf {
		s.fail(q.Stanza, stanza.NewError(stanza.Forbidden, "this vCard is another's"))
		return
	}
	s.store(q, event.StorageSet_SPACE_VCARD, "", q.payload)
}

// getPrivate answers with private XML, or with the element as it was asked for
// (XEP-0049).
func (s *session) getPrivate(q query) {
	name, element, err := s.private(q)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	ask(s, q.Stanza, func(ctx context.Context) (*Stored, error) {
		return s.server.opts.Published.Stored(ctx, s.asks(q), event.StorageSet_SPACE_PRIVATE, name)
	}, func(v *Stored) {
		inside := v.Payload
		if inside == nil {
			inside = stanza.New(element.Space(), element.Local()).Bytes()
		}
		answer := append([]byte("<query xmlns='"+stanza.NSPrivate+"'>"), inside...)
		s.answer(q.Stanza, append(answer, "</query>"...))
	})
}

// setPrivate replaces private XML of one name (XEP-0049).
func (s *session) setPrivate(q query) {
	name, element, err := s.private(q)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	s.store(q, event.StorageSet_SPACE_PRIVATE, name, element)
}

// private gives the one element of a query for private XML, and its name.
func (s *session) private(q query) (string, stanza.Child, error) {
	if q.at != atSelf {
		return "", stanza.Child{}, stanza.NewError(stanza.Forbidden, "private XML is its owner's")
	}
	var element stanza.Child
	n := 0
	for c := range q.payload.Children() {
		element = c
		n++
	}
	space := element.Space()
	name := "{" + space + "}" + element.Local()
	switch {
	case n != 1:
		return "", element, stanza.NewError(stanza.NotAcceptable, "exactly one element at a time")
	case space == stanza.NSPrivate || space == stanza.NSClient:
		return "", element, stanza.NewError(stanza.NotAcceptable, "the element needs a namespace of its own")
	case len(name) > maxStorageName:
		return "", element, stanza.NewError(stanza.NotAcceptable, "the element's name is too long")
	}
	return name, element, nil
}

// store keeps an element for the account, within its bounds.
func (s *session) store(q query, space event.StorageSet_Space, name string, element stanza.Child) {
	payload := element.Declared()
	if len(payload) > s.server.opts.MaxPayload {
		s.fail(q.Stanza, stanza.NewError(stanza.NotAcceptable, "too large to be kept"))
		return
	}
	inTurn(s, q.Stanza, func(ctx context.Context) (*Stored, error) {
		return s.server.opts.Published.Stored(ctx, s.asks(q), space, name)
	}, func(t *turn, v *Stored) {
		if v.Payload == nil && v.Entries >= s.server.opts.MaxStored {
			t.refuse(stanza.NewError(stanza.ResourceConstraint, "too much is kept for this account"))
			return
		}
		t.append(s.stamp(&event.Event{Kind: &event.Event_StorageSet{StorageSet: &event.StorageSet{
			Space: space, Name: name, Payload: payload, RequestId: q.ID, Resource: s.resource,
		}}}), nil)
	})
}
