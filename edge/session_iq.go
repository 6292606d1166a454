package edge

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// takeIQ acts on the client's iq (RFC 6120, section 8.2.3; RFC 6121, section 8.5).
func (s *session) takeIQ(st *stanza.Stanza) {
	payload, err := st.Payload()
	if err != nil {
		s.fail(st, err)
		return
	}
	asked := st.Type == "get" || st.Type == "set"
	to, err := s.addressee(st)
	switch {
	case err != nil:
		s.fail(st, err)
	case to.Local() != "" && to.IsFull():
		s.forward(st, to)
	case !asked:
		// The answer to a roster push or to a ping of ours: nothing hangs on it.
		s.takeCaps(st, payload)
	case to.IsFull():
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
	default:
		s.serve(query{Stanza: st, payload: payload, to: to.Bare(), at: s.placeOf(to.Bare())})
	}
}

// answer sends a result once all that the client sent before is settled.
func (s *session) answer(st *stanza.Stanza, payload []byte) {
	h := stanza.Header{Type: "result", ID: st.ID, To: s.full, From: st.To}
	s.order.then(func() {
		s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) })
	})
}

// register changes or ends the client's own account (XEP-0077, sections 3.2 and 3.3).
func (s *session) register(q query) {
	st, payload, get := q.Stanza, q.payload, q.Type == "get"
	accounts := s.server.opts.Accounts
	if accounts == nil {
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
		return
	}
	if get {
		fields := stanza.New(stanza.NSRegister, "query").Add(stanza.New(stanza.NSRegister, "registered"))
		s.answer(st, fields.AddText("username", s.local.account.Local()).AddText("password", "").Bytes())
		return
	}
	r, ok := stream.ParseRegistration(payload)
	var do func(context.Context) error
	switch {
	case ok && r.Remove:
		do = func(ctx context.Context) error { return accounts.Delete(ctx, s.local.account) }
	case !ok || r.Password == "":
		s.fail(st, stanza.NewError(stanza.BadRequest, "username and password are needed"))
		return
	default:
		if name, err := jid.ParseBare(r.Username + "@" + s.server.opts.Domain); err != nil || name != s.local.account {
			s.fail(st, stanza.NewError(stanza.NotAllowed, "only the password can be changed"))
			return
		}
		do = func(ctx context.Context) error { return accounts.SetPassword(ctx, s.local.account, r.Password) }
	}
	s.order.then(func() {
		go func() {
			ctx, cancel := s.server.context(s.server.opts.AnswerIn)
			defer cancel()
			err := do(ctx)
			s.post(func() {
				if err != nil {
					s.fail(st, err)
					return
				}
				s.answer(st, nil)
				if r.Remove {
					s.server.accountDeleted(s.local.account)
				}
			})
		}()
	})
}

// forward hands an iq to the session it is for (RFC 6121, section 8.5.3.1), after
// all that the client sent before it.
func (s *session) forward(st *stanza.Stanza, to jid.JID) {
	s.order.then(func() {
		partition := topic.Partition(to.Bare(), s.server.opts.Partitions)
		after := int64(0)
		if at, ok := s.positions[partition]; ok {
			after = at
		}
		iq := &wire.Iq{
			Partition: partition, To: to.String(), From: s.full, Type: st.Type, Id: st.ID, Lang: st.Lang, Payload: st.Inner, After: after,
		}
		if st.Type == "get" || st.Type == "set" {
			if s.asksTooMuch() {
				s.fail(st, tooManyRequests())
				return
			}
			s.server.asked.add(iq, time.Now().Add(s.server.opts.AnswerIn), s)
		}
		if !s.server.opts.Links.SendIq(iq) {
			s.server.asked.take(iq.GetTo(), iq.GetFrom(), iq.GetId())
			s.fail(st, &stanza.Error{Type: stanza.Wait, Condition: stanza.RemoteServerTimeout})
		}
	})
}

// deliverIQ gives the client an iq of another.
func (s *session) deliverIQ(b *batch, iq *wire.Iq) bool {
	h := stanza.Header{Type: iq.GetType(), ID: iq.GetId(), From: iq.GetFrom(), To: s.full, Lang: iq.GetLang()}
	return s.out.write(b, func(dst []byte) []byte { return stanza.AppendStanza(dst, stanzaKind(iq), h, iq.GetPayload()) }, nil)
}

var resourceNames = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newResource makes a resourcepart for a client that names none; nobody can
// guess it.
func newResource() string {
	var b [10]byte
	rand.Read(b[:])
	return resourceNames.EncodeToString(b[:])
}
