package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// pushes tells whether push services can be registered.
func (s *Server) pushes() bool { return s.opts.Push.Jobs != nil && len(s.opts.Components.Secrets) > 0 }

// enablePush registers a push service (XEP-0357, section 5).
func (s *session) enablePush(q query) {
	service, node, err := s.pushService(q)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	form, err := formIn(q.payload, stanza.NSPubOption)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	var options []byte
	if form != nil {
		if t, ok := field(form, "FORM_TYPE"); !ok || t != stanza.NSPubOption {
			s.fail(q.Stanza, stanza.NewError(stanza.BadRequest, "the form has no type"))
			return
		}
		options = form.Bytes()
	}
	if len(options) > s.server.opts.Push.MaxOptions {
		s.fail(q.Stanza, stanza.NewError(stanza.PolicyViolationStanza, "the publish options are too large"))
		return
	}
	s.request(q.Stanza, &event.Event{Kind: &event.Event_PushEnabled{PushEnabled: &event.PushEnabled{
		Service: service.String(), Node: node, Options: options, RequestId: q.ID, Resource: s.resource,
		MaxServices: uint32(s.server.opts.Push.MaxServices),
	}}}, nil)
}

// disablePush ends that (XEP-0357, section 6).
func (s *session) disablePush(q query) {
	service, node, err := s.pushAddress(q)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	s.request(q.Stanza, &event.Event{Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{
		Service: service.String(), Node: node, RequestId: q.ID, Resource: s.resource,
	}}}, nil)
}

// pushAddress gives the service and the node that a request names.
func (s *session) pushAddress(q query) (jid.JID, string, error) {
	name, node := q.payload.Attr("jid"), q.payload.Attr("node")
	if name == "" {
		return jid.JID{}, "", stanza.NewError(stanza.BadRequest, "a push service has a jid")
	}
	service, err := jid.Parse(name)
	switch {
	case err != nil:
		return jid.JID{}, "", err
	case len(service.String()) > maxAddress:
		return jid.JID{}, "", stanza.NewError(stanza.JIDMalformed, "too long")
	case len(node) > maxNodeName:
		return jid.JID{}, "", stanza.NewError(stanza.NotAcceptable, "the node's name is too long")
	}
	return service, node, nil
}

// pushService is pushAddress of a service that can be told something.
func (s *session) pushService(q query) (jid.JID, string, error) {
	service, node, err := s.pushAddress(q)
	switch {
	case err != nil:
	case service.Domain() == s.server.opts.Domain:
		err = stanza.NewError(stanza.ServiceUnavailable, "no push service")
	case !s.server.isComponent(service.Domain()):
		err = stanza.NewError(stanza.RemoteServerNotFound, "")
	}
	return service, node, err
}
