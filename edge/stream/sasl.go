package stream

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/xdg-go/scram"
)

// Conditions of SASL failures (RFC 6120, section 6.5). As errors they are
// what an exchange ended with; the client may try again.
type saslFailure string

func (f saslFailure) Error() string { return "SASL failure: " + string(f) }

const (
	aborted              saslFailure = "aborted"
	credentialsExpired   saslFailure = "credentials-expired"
	encryptionRequired   saslFailure = "encryption-required"
	incorrectEncoding    saslFailure = "incorrect-encoding"
	invalidAuthzid       saslFailure = "invalid-authzid"
	invalidMechanism     saslFailure = "invalid-mechanism"
	malformedRequest     saslFailure = "malformed-request"
	notAuthorized        saslFailure = "not-authorized"
	temporaryAuthFailure saslFailure = "temporary-auth-failure"
)

// mechanisms gives the names that are offered, the strongest first.
func (n *negotiation) mechanisms() []string {
	var names []string
	if len(n.bindings()) > 0 {
		names = append(names, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")
	}
	names = append(names, "SCRAM-SHA-256", "SCRAM-SHA-1")
	if n.secure != nil {
		names = append(names, "PLAIN")
	}
	return names
}

// appendMechanisms appends the SASL features, and which channel bindings
// there are (XEP-0440).
func (n *negotiation) appendMechanisms(out []byte) []byte {
	names := n.mechanisms()
	out = append(out, "<mechanisms xmlns='"+stanza.NSSASL+"'>"...)
	out = appendNames(out, names)
	out = append(out, "</mechanisms><authentication xmlns='"+stanza.NSSASL2+"'>"...)
	out = appendNames(out, names)
	out = n.appendInline(out)
	out = append(out, "</authentication>"...)
	if b := n.bindings(); len(b) > 0 {
		out = append(out, "<sasl-channel-binding xmlns='"+stanza.NSChanBind+"'>"...)
		for _, cb := range b {
			out = append(out, "<channel-binding type='"+string(cb.Type)+"'/>"...)
		}
		out = append(out, "</sasl-channel-binding>"...)
	}
	return out
}

func appendNames(out []byte, mechanisms []string) []byte {
	for _, name := range mechanisms {
		out = append(out, "<mechanism>"+name+"</mechanism>"...)
	}
	return out
}

// auth runs one exchange of RFC 6120. done means that the client is known, or
// that the stream cannot go on.
func (n *negotiation) auth(ctx context.Context, st *stanza.Stanza) (done bool, err error) {
	account, final, err := n.classic(ctx, st)
	for again := new(anotherAuth); errors.As(err, &again); {
		if n.failures++; n.failures >= n.o.MaxFailures {
			return true, tooManyFailures
		}
		account, final, err = n.classic(ctx, again.st)
	}
	// Section 6.4.6: the stream's from, if it came under TLS, is who that is.
	if err == nil && n.secure != nil && !n.from.IsZero() && n.from != account {
		err = invalidAuthzid
	}
	var f saslFailure
	if errors.As(err, &f) {
		return false, n.failure(classic, f)
	}
	if err != nil {
		return true, err
	}
	n.account = account
	out := []byte("<success xmlns='" + stanza.NSSASL + "'")
	if final == "" {
		out = append(out, "/>"...)
	} else {
		out = append(out, '>')
		out = base64.StdEncoding.AppendEncode(out, []byte(final))
		out = append(out, "</success>"...)
	}
	return true, n.write(out)
}

// anotherAuth is an <auth/> that came while an exchange was under way: it takes
// that one's place (RFC 6120, section 6.4.2).
type anotherAuth struct{ st *stanza.Stanza }

func (*anotherAuth) Error() string { return "SASL exchange begun anew" }

var tooManyFailures = &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "too many failed authentications"}

// classic runs the exchange that <auth/> begins.
func (n *negotiation) classic(ctx context.Context, st *stanza.Stanza) (account jid.Bare, final string, err error) {
	name := st.Attr("mechanism")
	if err := n.offers(name); err != nil {
		return account, "", err
	}
	if len(st.Inner) == 0 {
		return n.exchange(ctx, classic, name, nil)
	}
	first, err := classic.decode(st.Text())
	if err != nil {
		return account, "", err
	}
	return n.exchange(ctx, classic, name, &first)
}

// profile is how SASL is put into XML: its namespace.
type profile string

const (
	classic profile = stanza.NSSASL  // RFC 6120, section 6
	sasl2   profile = stanza.NSSASL2 // XEP-0388
)

// failure tells the client that an exchange failed; one too many ends the
// stream (RFC 6120, section 6.4.5).
func (n *negotiation) failure(p profile, f saslFailure) error {
	condition := "<" + string(f) + "/>"
	if p == sasl2 {
		condition = "<" + string(f) + " xmlns='" + stanza.NSSASL + "'/>"
	}
	n.say([]byte("<failure xmlns='" + string(p) + "'>" + condition + "</failure>"))
	if n.tried.Reason = string(f); n.o.Refused != nil {
		n.o.Refused(n.tried)
	}
	n.tried = Refusal{}
	if n.failures++; n.failures >= n.o.MaxFailures {
		return tooManyFailures
	}
	return nil
}

// offers tells whether a client may use the mechanism now.
func (n *negotiation) offers(name string) error {
	n.tried.Mechanism = name
	if !n.mayAuthenticate() || name == "PLAIN" && n.secure == nil {
		return encryptionRequired
	}
	if !slices.Contains(n.mechanisms(), name) {
		return invalidMechanism
	}
	return nil
}

// exchange runs one mechanism, which is offered. first is the client's
// initial response, nil if it sent none; final is what the server says with
// success.
func (n *negotiation) exchange(ctx context.Context, p profile, name string, first *string) (account jid.Bare, final string, err error) {
	if first == nil {
		asked, err := n.challenge(p, "")
		if err != nil {
			return account, "", err
		}
		first = &asked
	}
	if name == "PLAIN" {
		account, err = n.plain(ctx, *first)
		return account, "", err
	}
	return n.scram(ctx, p, name, *first)
}

// challenge sends data and gives the client's response.
func (n *negotiation) challenge(p profile, data string) (string, error) {
	out := []byte("<challenge xmlns='" + string(p) + "'>")
	out = base64.StdEncoding.AppendEncode(out, []byte(data))
	n.say(append(out, "</challenge>"...))
	st, err := n.reader.Next()
	switch {
	case err != nil:
		return "", err
	case st.Is(string(p), "response"):
		return p.decode(st.Text())
	case st.Is(string(p), "abort"):
		return "", aborted
	case p == classic && st.Is(string(p), "auth"):
		return "", &anotherAuth{st}
	case st.Kind != stanza.Other, p == sasl2: // XEP-0388, section 2.4
		return "", &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
	}
	return "", malformedRequest
}

// decode reads the base64 of an element. In RFC 6120 "=" stands for no bytes;
// in XEP-0388 an empty element does, and its examples have white space around.
func (p profile) decode(text string) (string, error) {
	if p == sasl2 {
		text = strings.Trim(text, " \t\r\n")
	} else if text == "=" {
		return "", nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return "", incorrectEncoding
	}
	return string(b), nil
}

// keys looks up a username as it was sent.
func (n *negotiation) keys(ctx context.Context, user string) (jid.Bare, Keys, error) {
	return n.lookUp(user, func(account jid.Bare) (Keys, error) { return n.o.Credentials.Lookup(ctx, account) })
}

// lookUp gives the account of a username and its keys; for one that does not
// exist they are made up. Where it cannot exist the account is zero.
func (n *negotiation) lookUp(user string, keys func(jid.Bare) (Keys, error)) (jid.Bare, Keys, error) {
	account, err := jid.ParseBare(user + "@" + n.o.Domain)
	if err != nil || account.Local() == "" || account.Domain() != n.o.Domain {
		return jid.Bare{}, fakeKeys(n.o.Secret, user), nil
	}
	n.tried.Account = account
	k, err := keys(account)
	if errors.Is(err, ErrNoAccount) {
		return account, fakeKeys(n.o.Secret, account.Local()), nil
	}
	if err != nil {
		return account, Keys{}, temporaryAuthFailure
	}
	return account, k, nil
}

// mayActAs tells whether the account may take the authorization identity.
func mayActAs(account jid.Bare, authzid string) bool {
	if authzid == "" {
		return true
	}
	other, err := jid.ParseBare(authzid)
	return err == nil && other == account
}

// plain checks RFC 4616: authzid NUL authcid NUL password.
func (n *negotiation) plain(ctx context.Context, msg string) (jid.Bare, error) {
	parts := bytes.Split([]byte(msg), []byte{0})
	if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.ValidString(msg) {
		return jid.Bare{}, malformedRequest
	}
	account, k, err := n.keys(ctx, string(parts[1]))
	if err != nil {
		return jid.Bare{}, err
	}
	ok, err := k.Verify(string(parts[2]))
	switch {
	case err != nil:
		return jid.Bare{}, temporaryAuthFailure
	case !ok || account.IsZero():
		return jid.Bare{}, notAuthorized
	case !mayActAs(account, string(parts[0])):
		return jid.Bare{}, invalidAuthzid
	}
	return account, nil
}

// scram runs RFC 5802 and RFC 7677, with or without channel binding.
func (n *negotiation) scram(ctx context.Context, p profile, name, first string) (account jid.Bare, final string, err error) {
	sha := scram.SHA256
	if strings.HasPrefix(name, "SCRAM-SHA-1") {
		sha = scram.SHA1
	}
	var lookupErr error
	server, err := sha.NewServer(func(user string) (scram.StoredCredentials, error) {
		var k Keys
		if account, k, lookupErr = n.keys(ctx, user); lookupErr != nil {
			return scram.StoredCredentials{}, lookupErr
		}
		key := k.SHA256
		if strings.HasPrefix(name, "SCRAM-SHA-1") {
			key = k.SHA1
		}
		return key.stored(), nil
	})
	if err != nil {
		return account, "", err
	}
	var binding scram.ChannelBinding
	flag, _, _ := strings.Cut(first, ",")
	for _, cb := range n.bindings() {
		if !binding.IsSupported() || flag == "p="+string(cb.Type) {
			binding = cb
		}
	}
	if plus := strings.HasSuffix(name, "-PLUS"); plus != strings.HasPrefix(flag, "p=") {
		return account, "", malformedRequest
	}
	talk := server.NewConversationWithChannelBinding(binding)
	reply, err := talk.Step(first)
	if lookupErr != nil {
		return account, "", lookupErr
	}
	if err != nil {
		if strings.HasPrefix(reply, "e=") { // well-formed, and refused
			return account, "", notAuthorized
		}
		return account, "", malformedRequest
	}
	answer, err := n.challenge(p, reply)
	if err != nil {
		return account, "", err
	}
	final, err = talk.Step(answer)
	switch {
	case err != nil && final == "":
		return account, "", malformedRequest
	case err != nil || !talk.Valid() || account.IsZero():
		return account, "", notAuthorized
	case !mayActAs(account, talk.AuthzID()):
		return account, "", invalidAuthzid
	}
	return account, final, nil
}
