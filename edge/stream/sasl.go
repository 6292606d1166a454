package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
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

// appendMechanisms appends the SASL feature, and which channel bindings
// there are (XEP-0440).
func (n *negotiation) appendMechanisms(out []byte) []byte {
	out = append(out, "<mechanisms xmlns='"+stanza.NSSASL+"'>"...)
	for _, name := range n.mechanisms() {
		out = append(out, "<mechanism>"+name+"</mechanism>"...)
	}
	out = append(out, "</mechanisms>"...)
	if b := n.bindings(); len(b) > 0 {
		out = append(out, "<sasl-channel-binding xmlns='"+stanza.NSChanBind+"'>"...)
		for _, cb := range b {
			out = append(out, "<channel-binding type='"+string(cb.Type)+"'/>"...)
		}
		out = append(out, "</sasl-channel-binding>"...)
	}
	return out
}

// bindings gives what ties an exchange to this TLS connection: tls-exporter
// for TLS 1.3 (RFC 9266), tls-unique below, and tls-server-end-point where
// it is plain which certificate the client saw (RFC 5929).
func (n *negotiation) bindings() []scram.ChannelBinding {
	if n.secure == nil {
		return nil
	}
	var all []scram.ChannelBinding
	if n.secure.Version >= tls.VersionTLS13 {
		if cb, err := scram.NewTLSExporterBinding(n.secure); err == nil {
			all = append(all, cb)
		}
	} else if len(n.secure.TLSUnique) > 0 {
		all = append(all, scram.NewTLSUniqueBinding(n.secure.TLSUnique))
	}
	if c := n.o.TLS; len(c.Certificates) == 1 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		if sum := endPoint(c.Certificates[0]); sum != nil {
			all = append(all, scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum})
		}
	}
	return all
}

// endPoint hashes the certificate as RFC 5929, section 4.1, asks.
func endPoint(c tls.Certificate) []byte {
	leaf := c.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil
		}
	}
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(leaf.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(leaf.Raw)
		return sum[:]
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil // undefined there
	}
	sum := sha256.Sum256(leaf.Raw)
	return sum[:]
}

// auth runs one exchange. done means that the client is known, or that the
// stream cannot go on.
func (n *negotiation) auth(ctx context.Context, st *stanza.Stanza) (done bool, err error) {
	account, final, err := n.exchange(ctx, st)
	var f saslFailure
	if errors.As(err, &f) {
		return false, n.failure(f)
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

// failure tells the client that an exchange failed; one too many ends the
// stream (RFC 6120, section 6.4.5).
func (n *negotiation) failure(f saslFailure) error {
	out := []byte("<failure xmlns='" + stanza.NSSASL + "'><" + string(f) + "/></failure>")
	if err := n.write(out); err != nil {
		return err
	}
	if n.failures++; n.failures >= n.o.MaxFailures {
		return &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "too many failed authentications"}
	}
	return nil
}

// exchange runs one mechanism. final is what the server says with success.
func (n *negotiation) exchange(ctx context.Context, st *stanza.Stanza) (account jid.Bare, final string, err error) {
	if !n.mayAuthenticate() {
		return account, "", encryptionRequired
	}
	name := st.Attr("mechanism")
	if name == "PLAIN" && n.secure == nil {
		return account, "", encryptionRequired
	}
	offered := false
	for _, m := range n.mechanisms() {
		offered = offered || m == name
	}
	if !offered {
		return account, "", invalidMechanism
	}
	var first string
	if len(st.Inner) == 0 { // no initial response: ask for it
		first, err = n.challenge("")
	} else {
		first, err = decode(st)
	}
	if err != nil {
		return account, "", err
	}
	if name == "PLAIN" {
		account, err = n.plain(ctx, first)
		return account, "", err
	}
	return n.scram(ctx, name, first)
}

// challenge sends data and gives the client's response.
func (n *negotiation) challenge(data string) (string, error) {
	out := []byte("<challenge xmlns='" + stanza.NSSASL + "'>")
	out = base64.StdEncoding.AppendEncode(out, []byte(data))
	if err := n.write(append(out, "</challenge>"...)); err != nil {
		return "", err
	}
	st, err := n.reader.Next()
	switch {
	case err != nil:
		return "", err
	case st.Is(stanza.NSSASL, "response"):
		return decode(st)
	case st.Is(stanza.NSSASL, "abort"):
		return "", aborted
	case st.Kind != stanza.Other:
		return "", &stanza.StreamError{Condition: stanza.StreamNotAuthorized, Text: "authenticate first"}
	}
	return "", malformedRequest
}

// decode reads the base64 of a SASL element; "=" stands for no bytes.
func decode(st *stanza.Stanza) (string, error) {
	text := st.Text()
	if text == "=" {
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
	account, err := jid.ParseBare(user + "@" + n.o.Domain)
	if err != nil || account.Local() == "" || account.Domain() != n.o.Domain {
		return jid.Bare{}, fakeKeys(n.o.Secret, user), nil
	}
	k, err := n.o.Credentials.Lookup(ctx, account)
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
func (n *negotiation) scram(ctx context.Context, name, first string) (account jid.Bare, final string, err error) {
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
	answer, err := n.challenge(reply)
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
