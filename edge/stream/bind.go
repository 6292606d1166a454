package stream

import (
	"context"
	"errors"
	"strconv"

	"github.com/rollcall/rollcall/edge/stanza"
)

// maxUnbound is how often a client may try to bind, or to resume, in vain.
const maxUnbound = 10

// awaitBind reads until the client asks for a valid resource (RFC 6120,
// section 7) or to resume a stream. A fault in the request is answered, and the client may try again.
func (n *negotiation) awaitBind(ctx context.Context, s *Stream) error {
	if err := n.restartTimer(ctx); err != nil {
		return err
	}
	for ; ; n.unbound++ {
		if n.unbound > maxUnbound { // section 7.7.3
			return &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "too many requests for a resource"}
		}
		st, err := n.reader.Next()
		if err != nil {
			return err
		}
		if st.Space == stanza.NSSM {
			resume, condition := askedResume(st)
			if condition == "" {
				s.resume = resume
				return nil
			}
			if err := n.write(appendSMFailed(nil, condition)); err != nil {
				return err
			}
			continue
		}
		bind, ok := stanza.Find(st.Inner, stanza.NSBind, "bind")
		if st.Kind != stanza.IQ || !ok {
			return &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "bind a resource first"}
		}
		resource, err := n.askedResource(st, bind)
		if err == nil {
			s.resource, s.bindID = resource, st.ID
			return nil
		}
		var serr *stanza.Error
		if !errors.As(err, &serr) {
			return err
		}
		if err := n.write(stanza.AppendError(nil, stanza.IQ, stanza.Header{ID: st.ID}, serr)); err != nil {
			return err
		}
	}
}

// askedResource gives the resourcepart asked for, in its canonical form.
func (n *negotiation) askedResource(st *stanza.Stanza, bind stanza.Child) (string, error) {
	if _, err := st.Payload(); err != nil {
		return "", err
	}
	if st.Type != "set" {
		return "", stanza.NewError(stanza.BadRequest, "bind must be a set")
	}
	e, err := bind.Element()
	if err != nil {
		return "", stanza.NewError(stanza.BadRequest, "")
	}
	asked := e.ChildText(stanza.NSBind, "resource")
	if asked == "" {
		return "", nil
	}
	full, err := n.account.WithResource(asked)
	if err != nil {
		return "", stanza.NewError(stanza.BadRequest, "not a valid resource")
	}
	return full.Resource(), nil
}

// askedResume reads <resume/> (XEP-0198, section 5); condition tells what is
// wrong with it, or with any other element of stream management here.
func askedResume(st *stanza.Stanza) (r *ResumeRequest, condition stanza.Condition) {
	if st.Local != "resume" {
		return nil, stanza.UnexpectedRequest // enable comes after bind
	}
	return resumeRequest(st.Attr("previd"), st.Attr("h"))
}

func resumeRequest(previd, h string) (*ResumeRequest, stanza.Condition) {
	n, err := strconv.ParseUint(h, 10, 32)
	if err != nil || previd == "" {
		return nil, stanza.BadRequest
	}
	return &ResumeRequest{Previd: previd, H: uint32(n)}, ""
}

func appendSMFailed(dst []byte, c stanza.Condition) []byte {
	return append(dst, "<failed xmlns='"+stanza.NSSM+"'><"+string(c)+" xmlns='"+stanza.NSStanzas+"'/></failed>"...)
}
