package edge

import (
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

var messageTypes = map[string]event.MessageType{
	"normal":    event.MessageType_MESSAGE_TYPE_NORMAL,
	"chat":      event.MessageType_MESSAGE_TYPE_CHAT,
	"headline":  event.MessageType_MESSAGE_TYPE_HEADLINE,
	"groupchat": event.MessageType_MESSAGE_TYPE_GROUPCHAT,
	"error":     event.MessageType_MESSAGE_TYPE_ERROR,
}

func typeName(t event.MessageType) string {
	for name, v := range messageTypes {
		if v == t && t != event.MessageType_MESSAGE_TYPE_NORMAL {
			return name
		}
	}
	return ""
}

// maxOriginID is how many bytes the id may have that a client gives its message
// (XEP-0359 names no limit; clients use UUIDs).
const maxOriginID = 256

// takeMessage appends the client's message to its recipient's history (RFC
// 6121, section 5; RFC 6120, section 10.3: without a to it is for oneself).
func (s *session) takeMessage(st *stanza.Stanza) {
	to, err := s.addressee(st)
	if err == nil && to.Local() == "" {
		err = stanza.NewError(stanza.ServiceUnavailable, "")
	}
	if err != nil {
		s.fail(st, err)
		return
	}
	inner := st.Inner
	content, claims := contentOf(inner)
	if claims {
		inner = stanza.Without(inner, func(c stanza.Child) bool { return s.mayNotSay(c, to.Bare()) })
	}
	if content.Copy {
		// A server alone makes copies (XEP-0280, section 11); and the error that
		// answers one must not reach who sent the message (section 10.3).
		s.fail(st, stanza.NewError(stanza.PolicyViolationStanza, "a client makes no copies of messages"))
		return
	}
	msg, err := messageOf(st, inner, content)
	if err != nil {
		s.fail(st, err)
		return
	}
	e := s.stamp(&event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: s.full, Resource: to.Resource(), Message: msg, MaxWaiting: s.server.opts.Limits.waiting(),
	}}})
	s.append(to.Bare(), e, func(err error) {
		if err != nil {
			s.fail(st, err)
		}
	})
}

// messageOf gives what the log has of a message with this inside.
func messageOf(st *stanza.Stanza, inner []byte, content message.Content) (*event.Message, error) {
	if len(content.OriginID) > maxOriginID {
		return nil, stanza.NewError(stanza.NotAcceptable, "the origin-id is longer than "+strconv.Itoa(maxOriginID)+" bytes")
	}
	m := st.Message()
	kind := messageTypes[m.Type]
	return &event.Message{
		Type: kind, Id: st.ID, Lang: st.Lang, Body: m.Body, Payload: inner,
		Storable: message.Storable(message.Type(kind), content),
		Copies:   event.Copies(message.Copied(message.Type(kind), content)),
		OriginId: content.OriginID, Archive: archiveOf(kind, content),
	}, nil
}

// deliverMessage gives the sessions of the account a message that was routed
// to them.
func (l *local) deliverMessage(b *batch, m *wire.Message) {
	accepted := m.GetAccepted()
	msg := accepted.GetMessage()
	var said *stanza.Prepared
	n, asleep := 0, false
	for _, raw := range m.GetBindings() {
		binding, err := uuid.FromBytes(raw)
		if err != nil {
			continue
		}
		s := l.bound(binding)
		if s != nil && s.inactive.Load() && !m.GetStored() && unimportant(msg) {
			continue
		}
		if s == nil || m.GetStored() && !l.take(m.GetOffset(), binding) {
			continue
		}
		if said == nil {
			said = l.prepareMessage(m, accepted.GetFrom(), msg)
		}
		to := l.bare
		if accepted.GetResource() != "" {
			to += "/" + accepted.GetResource()
		}
		var done receipt
		if m.GetStored() {
			done = func(written bool) { l.delivered(s, m.GetOffset(), written) }
		}
		if s.out.write(b, func(dst []byte) []byte { return said.AppendTo(dst, to) }, done) {
			n++
			asleep = asleep || m.GetStored() && s.out.apart()
		} else if m.GetStored() {
			l.forget(m.GetOffset(), binding)
		}
	}
	if asleep && !l.listens() {
		l.server.pusher.asleep(l, m.GetOffset())
	}
	l.server.metrics.deliveredSince(m.GetAt(), n)
}

// appendStanzaID appends the id under which the account's archive keeps the
// message at an offset of its history (XEP-0359; XEP-0313, section 4.1).
func (l *local) appendStanzaID(dst []byte, offset int64) []byte {
	return stanza.AppendStanzaID(dst, l.bare, strconv.FormatInt(offset, 10))
}

func (l *local) prepareMessage(m *wire.Message, from string, msg *event.Message) *stanza.Prepared {
	extra := l.appendStanzaID(nil, m.GetOffset())
	if m.GetDelayed() {
		extra = stanza.AppendDelay(extra, l.account.Domain(), time.UnixMicro(m.GetAt()))
	}
	h := stanza.Header{Type: typeName(msg.GetType()), ID: msg.GetId(), From: from, Lang: msg.GetLang()}
	said := stanza.PrepareMessage(h, msg.GetPayload(), extra)
	return &said
}

// bound gives the session of a binding, nil if it is not here.
func (l *local) bound(binding [16]byte) *session {
	for _, s := range l.sessions() {
		if s.binding == binding {
			return s
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.coming {
		if s.binding == binding {
			return s
		}
	}
	return nil
}

// delivered appends that the message was written to the client's socket, once
// for all sessions here. A crash before it is stored leaves the message in
// the inbox: it is delivered again.
func (l *local) delivered(s *session, offset int64, written bool) {
	if !written {
		l.forget(offset, s.binding)
		return
	}
	if !l.settle(offset) {
		return
	}
	e := s.stamp(&event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: offset, Resource: s.resource}}})
	l.server.append(l.account, e, func(topic.Position, error) {})
}
