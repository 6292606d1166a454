package stream

import (
	"context"
	"encoding/base64"
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// success is what a client that has authenticated by SASL2 will be told,
// together with what became of its other requests.
type success struct {
	final  string // of the mechanism; empty: nothing
	failed []byte // why its stream is not resumed, as <failed/>; nil: not asked, or not known yet
	token  []byte // a new <token/> of XEP-0484; nil: none
}

// appendInline appends what can be asked for together with the
// authentication (XEP-0388, section 2.1).
func (n *negotiation) appendInline(out []byte) []byte {
	out = append(out, "<inline>"...)
	if names := n.fastMechanisms(); len(names) > 0 {
		out = append(out, "<fast xmlns='"+stanza.NSFAST+"'>"...)
		out = appendNames(out, names)
		out = append(out, "</fast>"...)
	}
	out = append(out, "<bind xmlns='"+stanza.NSBind2+"'>"...)
	features := len(out)
	for _, f := range []struct {
		on   bool
		name string
	}{{n.o.Carbons, stanza.NSCarbons}, {n.o.CSI, stanza.NSCSI}, {n.o.SM, stanza.NSSM}} {
		if f.on && len(out) == features {
			out = append(out, "<inline>"...)
		}
		if f.on {
			out = append(out, "<feature var='"+f.name+"'/>"...)
		}
	}
	if len(out) > features {
		out = append(out, "</inline>"...)
	}
	out = append(out, "</bind>"...)
	if n.o.SM {
		out = append(out, "<sm xmlns='"+stanza.NSSM+"'/>"...)
	}
	return append(out, "</inline>"...)
}

// authenticate2 runs one exchange of SASL2. done means that the client is
// known, or that the stream cannot go on. The success is not said yet: what
// the client asked for besides comes first (XEP-0388, section 2.6.1).
func (n *negotiation) authenticate2(ctx context.Context, st *stanza.Stanza, s *Stream) (done bool, err error) {
	a, err := parseAuthenticate(st)
	var account jid.Bare
	var said *success
	if err == nil {
		account, said, err = n.known(ctx, a)
	}
	var f saslFailure
	if errors.As(err, &f) {
		return false, n.failure(sasl2, f)
	}
	if err != nil {
		return true, err
	}
	n.account, s.success = account, said
	s.agent, s.bind2, s.resume = a.agent, a.bind, a.resume
	if a.badResume {
		s.success.failed = appendSMFailed(nil, stanza.BadRequest)
	} else if s.resume != nil && !n.o.SM {
		s.resume, s.success.failed = nil, appendSMFailed(nil, stanza.FeatureNotImplemented)
	}
	if s.bind2 != nil {
		s.resource = n.clientResource(a.bind.Tag, a.agent.ID)
	}
	return true, nil
}

// known finds out who the client is, and makes the token that it is due.
func (n *negotiation) known(ctx context.Context, a authenticate) (account jid.Bare, s *success, err error) {
	s = new(success)
	var used *tokenUsed
	if a.fast != nil {
		account, used, err = n.fast(ctx, a)
	} else if err = n.offers(a.mechanism); err == nil {
		var first *string
		if first, err = a.first(); err == nil {
			account, s.final, err = n.exchange(ctx, sasl2, a.mechanism, first)
		}
	}
	if err != nil {
		return account, nil, err
	}
	// XEP-0388, section 2.3: without an authorization string the client acts
	// as itself, so this counts for those, too.
	if !n.from.IsZero() && n.from != account {
		return account, nil, invalidAuthzid
	}
	if used != nil {
		s.final = used.final
	}
	s.token, err = n.dueToken(ctx, account, a, used)
	return account, s, err
}

// first gives the initial response, nil if there is none.
func (a *authenticate) first() (*string, error) {
	if a.initial == nil {
		return nil, nil
	}
	text, err := sasl2.decode(*a.initial)
	return &text, err
}

// appendSuccess appends the success of SASL2 with what became of the other
// requests. It is said once.
func (s *Stream) appendSuccess(dst []byte, identity string, became []byte) []byte {
	dst = append(dst, "<success xmlns='"+stanza.NSSASL2+"'>"...)
	if s.success.final != "" {
		dst = append(dst, "<additional-data>"...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(s.success.final))
		dst = append(dst, "</additional-data>"...)
	}
	dst = append(dst, "<authorization-identifier>"...)
	dst = stanza.AppendText(dst, identity)
	dst = append(dst, "</authorization-identifier>"...)
	dst = append(dst, s.success.failed...)
	dst = append(dst, became...)
	dst = append(dst, s.success.token...)
	s.success = nil
	return append(dst, "</success>"...)
}
