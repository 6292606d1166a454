package stream

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Bind2Request is a request to bind a resource that came with the
// authentication (XEP-0386). Bind2 gives only what Options offer.
type Bind2Request struct {
	Tag      string    // what the client calls itself; Stream.Resource has it already
	Carbons  bool      // enable XEP-0280
	SM       *EnableSM // enable XEP-0198; nil: not asked for
	Inactive bool      // begin inactive (XEP-0352)
}

// EnableSM is <enable/> of XEP-0198, section 3.
type EnableSM struct {
	Resume bool // the client wants to be able to resume
	Max    int  // seconds that it would like to; 0: the server's choice
}

// ResumeRequest is <resume/> of XEP-0198, section 5, sent before a resource is
// bound or together with the authentication (XEP-0198, section 9.2).
type ResumeRequest struct {
	Previd string
	H      uint32 // stanzas that the client has handled
}

// Bind2 gives the request that came with the authentication; nil where the
// client binds by an iq, and where Resume asks for a resumption and nothing
// else.
func (s *Stream) Bind2() *Bind2Request {
	if s.bind2 == nil {
		return nil
	}
	o, b := s.n.o, *s.bind2
	b.Carbons, b.Inactive = b.Carbons && o.Carbons, b.Inactive && o.CSI
	if !o.SM {
		b.SM = nil
	}
	return &b
}

// Resume gives the stream that the client wants to go on with; nil if none.
// While it is not nil nothing else may be answered than this: either
// AppendResumed or RefuseResume.
func (s *Stream) Resume() *ResumeRequest { return s.resume }

// UserAgent gives what the client said of itself.
func (s *Stream) UserAgent() UserAgent { return s.agent }

// RefuseResume tells the client that its stream is not resumed; failed is the
// whole <failed/>. When it returns nil there is another request: Resume's, if
// that is not nil, else one for a resource. When it fails the connection is
// closed, and the client was told why.
func (s *Stream) RefuseResume(ctx context.Context, failed []byte) error {
	s.resume = nil
	if s.success == nil {
		s.n.say(failed)
		return s.AwaitBind(ctx)
	}
	s.success.failed = failed
	if s.bind2 != nil {
		return nil
	}
	s.n.say(s.appendSuccess(nil, s.account.String(), nil))
	s.n.say(s.n.featuresAfter(false))
	return s.AwaitBind(ctx)
}

// AppendResumed appends the answer to a client whose stream is resumed;
// resumed is the whole <resumed/>, full the JID of the session. It is made
// once, and goes out before anything else. With SASL2 it is the success, and
// no features follow (XEP-0198, section 9.2).
func (s *Stream) AppendResumed(dst []byte, full string, resumed []byte) []byte {
	dst = s.n.take(dst)
	s.resume, s.bind2 = nil, nil
	if s.success == nil {
		return append(dst, resumed...)
	}
	return s.appendSuccess(dst, full, resumed)
}

// AppendBound appends the answer to a client whose resource is bound. It is
// made once, and goes out before anything else. With Bind 2 it is the success
// and the features that are left, and inner is what <bound/> holds: the
// <enabled/> or <failed/> of XEP-0198, where Bind2's SM asks for it. Without,
// it is the result of the iq, which holds nothing of inner.
func (s *Stream) AppendBound(dst []byte, full string, inner []byte) []byte {
	dst = s.n.take(dst)
	if s.bind2 == nil {
		payload := append([]byte("<bind xmlns='"+stanza.NSBind+"'><jid>"), stanza.AppendText(nil, full)...)
		return stanza.AppendIQ(dst, stanza.Header{Type: "result", ID: s.bindID}, append(payload, "</jid></bind>"...))
	}
	features := s.n.featuresAfter(true)
	switch {
	case s.bind2.SM == nil:
	case !s.n.o.SM:
		inner = appendSMFailed(inner, stanza.FeatureNotImplemented)
	default: // what is enabled is not offered: there are clients that take the offer
		features = bytes.Replace(features, []byte("<sm xmlns='"+stanza.NSSM+"'/>"), nil, 1)
	}
	s.bind2 = nil
	bound := append([]byte("<bound xmlns='"+stanza.NSBind2+"'>"), inner...)
	dst = s.appendSuccess(dst, full, append(bound, "</bound>"...))
	return append(dst, features...)
}

// refuseBind2 ends the stream of a client whose resource cannot be bound.
// XEP-0386 has no word for it, and a failure of SASL would have the client
// throw its token away.
func (s *Stream) refuseBind2(c stanza.Condition) error {
	serr := &stanza.StreamError{Condition: stanza.StreamInternalError, Text: "the resource cannot be bound: " + string(c)}
	switch c {
	case stanza.ResourceConstraint:
		serr.Condition = stanza.StreamConstraint
	case stanza.Conflict:
		serr.Condition = stanza.StreamConflict
	}
	return errors.Join(serr, s.CloseWith(serr))
}

// maxTag is the longest tag that is taken into a resource, in bytes.
const maxTag = 128

// clientResource makes the resource of XEP-0386, section 3.2.1: the tag, if it
// is one for a resourcepart, and what is the same whenever this client comes,
// but tells nobody its id. A client without an id is another one each time.
func (n *negotiation) clientResource(tag string, client uuid.UUID) string {
	var id [9]byte
	if client == (uuid.UUID{}) {
		rand.Read(id[:])
	} else {
		m := hmac.New(sha256.New, mac(sha256.New, n.o.Secret, "resource"))
		m.Write(client[:])
		m.Write([]byte(n.account.String()))
		copy(id[:], m.Sum(nil))
	}
	text := base64.RawURLEncoding.EncodeToString(id[:])
	if tag == "" || len(tag) > maxTag {
		return text
	}
	full, err := n.account.WithResource(tag + "/" + text)
	if err != nil {
		return text
	}
	return full.Resource()
}
