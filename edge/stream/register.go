package stream

import (
	"context"
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
)

// What Register may answer; any other error is internal-server-error to the
// client. The text of XEP-0077, section 3.1, decides which is meant.
var (
	ErrConflict           = errors.New("the account exists")
	ErrNotAcceptable      = errors.New("username or password not acceptable")
	ErrNotAllowed         = errors.New("registration is closed")
	ErrResourceConstraint = errors.New("too many registrations; try later")
)

// Registrar makes accounts (XEP-0077).
type Registrar interface {
	// Register makes the account; username is a valid localpart in its
	// canonical form, and SASLprep allows the password. When it returns nil
	// the account can log in.
	Register(ctx context.Context, username, password string) error
}

// A Registration is what an iq set in jabber:iq:register asks for.
type Registration struct {
	Remove   bool
	Username string
	Password string
}

// ParseRegistration reads the payload of an iq set. ok is false if it is
// not in jabber:iq:register.
func ParseRegistration(c stanza.Child) (r Registration, ok bool) {
	if !c.Is(stanza.NSRegister, "query") {
		return r, false
	}
	e, err := c.Element()
	if err != nil {
		return r, false
	}
	r.Remove = e.Child(stanza.NSRegister, "remove") != nil
	r.Username = e.ChildText(stanza.NSRegister, "username")
	r.Password = e.ChildText(stanza.NSRegister, "password")
	return r, true
}

const registrationForm = "<query xmlns='" + stanza.NSRegister + "'><instructions>Choose a username and a password.</instructions><username/><password/></query>"

// register answers an iq of an unauthenticated client. Only registration is
// open to it.
func (n *negotiation) register(ctx context.Context, st *stanza.Stanza) error {
	payload, bad := st.Payload()
	answer := stanza.Header{From: n.o.Domain, ID: st.ID, Type: "result"}
	if bad != nil {
		var serr *stanza.Error
		if !errors.As(bad, &serr) || st.ID == "" {
			return &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
		}
		return n.write(stanza.AppendError(nil, stanza.IQ, answer, serr))
	}
	r, ok := ParseRegistration(payload)
	if !ok || st.Type != "get" && st.Type != "set" {
		return &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
	}
	if st.Type == "get" {
		return n.write(stanza.AppendIQ(nil, answer, []byte(registrationForm)))
	}
	if err := n.makeAccount(ctx, r); err != nil {
		return n.write(stanza.AppendError(nil, stanza.IQ, answer, err))
	}
	n.meter.left = n.o.AuthBytes
	if err := n.restartTimer(ctx); err != nil {
		return err
	}
	return n.write(stanza.AppendIQ(nil, answer, nil))
}

func (n *negotiation) makeAccount(ctx context.Context, r Registration) *stanza.Error {
	if r.Remove { // XEP-0077, section 3.2: who is not authenticated cannot ask for it
		return stanza.NewError(stanza.UnexpectedRequest, "")
	}
	if r.Username == "" || r.Password == "" {
		return stanza.NewError(stanza.NotAcceptable, "username and password are needed")
	}
	account, err := jid.ParseBare(r.Username + "@" + n.o.Domain)
	if err != nil || account.Local() == "" || account.Domain() != n.o.Domain {
		return stanza.NewError(stanza.NotAcceptable, "not a valid username")
	}
	if _, err := preparePassword(r.Password); err != nil {
		return stanza.NewError(stanza.NotAcceptable, "not a valid password")
	}
	return RegistrationError(n.o.Registrar.Register(ctx, account.Local(), r.Password))
}

// RegistrationError gives the stanza error for what a Registrar returned,
// nil for nil.
func RegistrationError(err error) *stanza.Error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrConflict):
		return stanza.NewError(stanza.Conflict, "")
	case errors.Is(err, ErrNotAcceptable):
		return stanza.NewError(stanza.NotAcceptable, "")
	case errors.Is(err, ErrNotAllowed):
		return stanza.NewError(stanza.NotAllowed, "")
	case errors.Is(err, ErrResourceConstraint):
		return stanza.NewError(stanza.ResourceConstraint, "")
	}
	return stanza.NewError(stanza.InternalServerError, "")
}
