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
	case to.Local() != "" && to.Bare() != s.local.account:
		// RFC 6121, section 8.5.2.2.3, and nothing is answered for the account
		// that would tell whether it exists.
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
	case to.Local() == "" && to.IsFull():
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
	default:
		s.serve(st, payload, to.Local() == "")
	}
}

// serve answers what is for the server, or for it on the account's behalf.
func (s *session) serve(st *stanza.Stanza, payload stanza.Child, server bool) {
	get := st.Type == "get"
	switch {
	case payload.Is(stanza.NSRoster, "query") && !(server && st.To != ""):
		s.takeRoster(st, payload, get)
	case payload.Is(stanza.NSPing, "ping") && get:
		s.answer(st, nil)
	case payload.Is(stanza.NSSession, "session") && !get:
		s.answer(st, nil)
	case payload.Is(stanza.NSDiscoInfo, "query") && get:
		s.disco(st, payload, server)
	case payload.Is(stanza.NSDiscoItem, "query") && get:
		s.answer(st, stanza.New(stanza.NSDiscoItem, "query", "node", payload.Attr("node")).Bytes())
	case payload.Is(stanza.NSRegister, "query"):
		s.register(st, payload, get)
	case payload.Is(stanza.NSBind, "bind"):
		s.fail(st, stanza.NewError(stanza.NotAllowed, "one resource for each stream"))
	default:
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
	}
}

// answer sends a result once all that the client sent before is settled.
func (s *session) answer(st *stanza.Stanza, payload []byte) {
	h := stanza.Header{Type: "result", ID: st.ID, To: s.full, From: st.To}
	s.order.then(func() {
		s.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) })
	})
}

// features are what disco#info tells of the server and of an account
// (XEP-0030), in order.
var (
	serverFeatures  = []string{stanza.NSDiscoInfo, stanza.NSDiscoItem, stanza.NSRegister, stanza.NSRoster, stanza.NSPing, "msgoffline"}
	accountFeatures = []string{stanza.NSDiscoInfo, stanza.NSDiscoItem, stanza.NSPing, stanza.NSStanzaID}
)

func (s *session) disco(st *stanza.Stanza, payload stanza.Child, server bool) {
	if payload.Attr("node") != "" {
		s.fail(st, stanza.NewError(stanza.ItemNotFound, ""))
		return
	}
	q := stanza.New(stanza.NSDiscoInfo, "query")
	features := accountFeatures
	if server {
		features = serverFeatures
		q.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "server", "type", "im", "name", "Rollcall"))
	} else {
		q.Add(stanza.New(stanza.NSDiscoInfo, "identity", "category", "account", "type", "registered"))
	}
	for _, f := range features {
		if f == stanza.NSRegister && s.server.opts.Accounts == nil {
			continue
		}
		q.Add(stanza.New(stanza.NSDiscoInfo, "feature", "var", f))
	}
	s.answer(st, q.Bytes())
}

// register changes or ends the client's own account (XEP-0077, sections 3.2 and 3.3).
func (s *session) register(st *stanza.Stanza, payload stanza.Child, get bool) {
	accounts := s.server.opts.Accounts
	if accounts == nil {
		s.fail(st, stanza.NewError(stanza.ServiceUnavailable, ""))
		return
	}
	if get {
		q := stanza.New(stanza.NSRegister, "query").Add(stanza.New(stanza.NSRegister, "registered"))
		s.answer(st, q.AddText("username", s.local.account.Local()).AddText("password", "").Bytes())
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
			after = at + 1
		}
		iq := &wire.Iq{
			Partition: partition, To: to.String(), From: s.full, Type: st.Type, Id: st.ID, Lang: st.Lang, Payload: st.Inner, After: after,
		}
		if st.Type == "get" || st.Type == "set" {
			s.server.asked.add(iq, time.Now().Add(s.server.opts.AnswerIn))
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
	return s.out.write(b, func(dst []byte) []byte { return stanza.AppendIQ(dst, h, iq.GetPayload()) }, nil)
}

var resourceNames = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newResource makes a resourcepart for a client that names none; nobody can
// guess it.
func newResource() string {
	var b [10]byte
	rand.Read(b[:])
	return resourceNames.EncodeToString(b[:])
}
