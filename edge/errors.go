package edge

import (
	"context"
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// errNotHeld tells that an event is stored, but that the edge could not say
// so while its lease was valid.
var errNotHeld = errors.New("edge: lease not valid")

// errNotThere tells that there is no session to resume.
var errNotThere = errors.New("edge: no such session")

// stanzaError is the one place where errors become stanza errors (RFC 6120,
// section 8.3.3).
func stanzaError(err error) *stanza.Error {
	var bad *stanza.Error
	var malformed *jid.Error
	switch {
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &malformed):
		return stanza.NewError(stanza.JIDMalformed, "the "+malformed.Part+" "+malformed.Why)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNotHeld):
		return &stanza.Error{Type: stanza.Wait, Condition: stanza.ResourceConstraint}
	}
	// Most of all: the log did not take an event. It may next time.
	return &stanza.Error{Type: stanza.Wait, Condition: stanza.InternalServerError}
}

// Longest addresses that the read models can hold, in bytes.
const (
	maxAddress  = 1024
	maxResource = 512
)

// addressee gives whom a stanza is for: a local account, or the server itself
// where it has no localpart.
func (s *session) addressee(st *stanza.Stanza) (jid.JID, error) {
	if st.To == "" {
		return s.local.account.JID(), nil
	}
	to, err := jid.Parse(st.To)
	if err != nil {
		return jid.JID{}, err
	}
	if len(to.Resource()) > maxResource {
		return jid.JID{}, stanza.NewError(stanza.JIDMalformed, "the resourcepart is too long")
	}
	if len(to.String()) > maxAddress {
		return jid.JID{}, stanza.NewError(stanza.JIDMalformed, "the address is too long")
	}
	if to.Domain() != s.server.opts.Domain {
		return jid.JID{}, stanza.NewError(stanza.RemoteServerNotFound, "")
	}
	if err := s.refused(st, to); err != nil {
		return jid.JID{}, err
	}
	return to, nil
}
