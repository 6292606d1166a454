package stream

import (
	"context"
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
)

// awaitBind reads until the client asks for a valid resource (RFC 6120,
// section 7). A fault in the request is answered, and the client may try again.
func (n *negotiation) awaitBind(ctx context.Context, s *Stream) error {
	if err := n.restartTimer(ctx); err != nil {
		return err
	}
	for {
		st, err := n.reader.Next()
		if err != nil {
			return err
		}
		if st.Space == stanza.NSSM && (st.Local == "resume" || st.Local == "enable") {
			// XEP-0198: nothing to resume here; enable comes after bind.
			condition := "item-not-found"
			if st.Local == "enable" {
				condition = "unexpected-request"
			}
			if err := n.write([]byte("<failed xmlns='" + stanza.NSSM + "'><" + condition + " xmlns='" + stanza.NSStanzas + "'/></failed>")); err != nil {
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

// AppendBindResult appends the answer to a request for a resource.
func AppendBindResult(dst []byte, id, full string) []byte {
	payload := append([]byte("<bind xmlns='"+stanza.NSBind+"'><jid>"), stanza.AppendText(nil, full)...)
	return stanza.AppendIQ(dst, stanza.Header{Type: "result", ID: id}, append(payload, "</jid></bind>"...))
}
