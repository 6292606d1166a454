package stream

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/schema/jid"
)

// Tokens to log in with (XEP-0484) are not stored. A token is an HMAC, by a
// key that only edges have, of the account, the client's id, the mechanism
// that it was asked for, the number of the period in which it was made, what
// is stored of the account's password, and how often the client has ended its
// tokens. A server knows it again by making those that may still count.
//
// What that means to who attacks:
//
//   - Whoever reads the database gets no token; whoever reads Secret gets all.
//   - A new password, or an account made anew, ends every token. A stolen one
//     is ended by its client's invalidate, too, but no sooner: it can be used,
//     and replaced when its time comes, as by its owner.
//   - A token for HT-SHA-256-EXPR, -UNIQ or -ENDP proves nothing by
//     HT-SHA-256-NONE. Who strips a client's offers of channel bindings before
//     it asks for a token stands between it and its server already; that
//     SCRAM's -PLUS mechanisms notice.
//   - What goes over the line is no token, but without a binding it is as
//     good as one to whoever reads it: so there is none of this without TLS.
//   - Early data of TLS, which can be replayed, is not taken.
//   - An account that does not exist is looked up, computed and refused like
//     any other with a wrong token. Who holds an expired token is told so.
type Tokens interface {
	// LookupClient is what Credentials.Lookup is, with the client's mark, the
	// zero Mark if none was set.
	LookupClient(ctx context.Context, account jid.Bare, client uuid.UUID) (Keys, Mark, error)
	// SetMark raises the mark of a client: neither field ever falls. A mark
	// whose Period is more than three behind that of another one of its
	// account means nothing any more and may be forgotten.
	SetMark(ctx context.Context, account jid.Bare, client uuid.UUID, m Mark) error
}

// Mark is what ends a client's tokens before their time.
type Mark struct {
	Generation int64 // how often it has ended all its tokens
	Period     int64 // of the newest token that it has used: older ones are over
}

// Beside the present period's, tokens of these count: the next one's, which an
// edge may have made whose clock is ahead, and the last one's. Those of two
// more are known, to tell that they are expired.
const (
	periodsAhead   = 1
	periodsValid   = 1
	periodsExpired = 3
)

// tokenUsed tells by which token a client came in.
type tokenUsed struct {
	final  string
	period int64
	keys   Keys
	mark   Mark
}

// fastMechanisms gives the mechanisms for tokens, the strongest first.
func (n *negotiation) fastMechanisms() []string {
	if n.o.Tokens == nil || n.secure == nil {
		return nil
	}
	var names []string
	for _, cb := range n.bindings() {
		names = append(names, "HT-SHA-256-"+bindingSuffix[cb.Type])
	}
	return append(names, "HT-SHA-256-NONE")
}

var bindingSuffix = map[scram.ChannelBindingType]string{
	scram.ChannelBindingTLSExporter:       "EXPR",
	scram.ChannelBindingTLSUnique:         "UNIQ",
	scram.ChannelBindingTLSServerEndpoint: "ENDP",
}

// binding gives the data of a mechanism's channel binding.
func (n *negotiation) binding(mechanism string) []byte {
	for _, cb := range n.bindings() {
		if strings.HasSuffix(mechanism, "-"+bindingSuffix[cb.Type]) {
			return cb.Data
		}
	}
	return nil
}

// fast checks the proof of a token: username NUL HMAC(token, "Initiator" and
// the channel binding), as draft-schmaus-kitten-sasl-ht-09 has it.
func (n *negotiation) fast(ctx context.Context, a authenticate) (account jid.Bare, used *tokenUsed, err error) {
	n.tried.Mechanism = a.mechanism
	if n.secure == nil {
		return account, nil, encryptionRequired
	}
	if !slices.Contains(n.fastMechanisms(), a.mechanism) {
		return account, nil, invalidMechanism
	}
	first, err := a.first()
	if err != nil {
		return account, nil, err
	}
	if first == nil || a.agent.ID == (uuid.UUID{}) {
		return account, nil, malformedRequest
	}
	user, proof, _ := strings.Cut(*first, "\x00")
	if user == "" || len(proof) != sha256.Size || !utf8.ValidString(user) {
		return account, nil, malformedRequest
	}
	var mark Mark
	account, keys, err := n.lookUp(user, func(account jid.Bare) (k Keys, err error) {
		k, mark, err = n.o.Tokens.LookupClient(ctx, account, a.agent.ID)
		return k, err
	})
	if err != nil {
		return account, nil, err
	}
	now, cb := n.period(), n.binding(a.mechanism)
	for p := now + periodsAhead; p >= now-periodsExpired; p-- { // all of them, whichever it is
		token := n.token(account, a.agent.ID, a.mechanism, keys, mark.Generation, p)
		if hmac.Equal(hashToken(token, "Initiator", cb), []byte(proof)) {
			used = &tokenUsed{final: string(hashToken(token, "Responder", cb)), period: p, keys: keys, mark: mark}
		}
	}
	switch {
	case used == nil || account.IsZero():
		return account, nil, notAuthorized
	case used.period < max(now-periodsValid, mark.Period):
		return account, nil, credentialsExpired
	}
	used.mark.Period = max(mark.Period, used.period)
	if a.fast.invalidate {
		used.mark.Generation++
	}
	if used.mark != mark {
		if err := n.o.Tokens.SetMark(ctx, account, a.agent.ID, used.mark); err != nil {
			return account, nil, temporaryAuthFailure
		}
	}
	return account, used, nil
}

// dueToken gives the <token/> that the client asks for, or that replaces the
// one that it came in by; nil if none is due. Who asks twice in one period
// gets the same token.
func (n *negotiation) dueToken(ctx context.Context, account jid.Bare, a authenticate, used *tokenUsed) ([]byte, error) {
	now, mechanism := n.period(), a.token
	if mechanism == "" && used != nil && !a.fast.invalidate && used.period < now {
		mechanism = a.mechanism
	}
	if a.agent.ID == (uuid.UUID{}) || !slices.Contains(n.fastMechanisms(), mechanism) {
		return nil, nil
	}
	if used == nil {
		used = new(tokenUsed)
		var err error
		if used.keys, used.mark, err = n.o.Tokens.LookupClient(ctx, account, a.agent.ID); errors.Is(err, ErrNoAccount) {
			return nil, notAuthorized // it was deleted just now
		} else if err != nil {
			return nil, temporaryAuthFailure
		}
	}
	period := max(now, used.mark.Period)
	token := n.token(account, a.agent.ID, mechanism, used.keys, used.mark.Generation, period)
	expiry := time.Unix(0, 0).Add(time.Duration(period+periodsValid+1) * n.o.TokenPeriod).UTC().Format(time.RFC3339)
	return []byte("<token xmlns='urn:xmpp:fast:0' expiry='" + expiry + "' token='" + token + "'/>"), nil
}

// period gives the number of the present period.
func (n *negotiation) period() int64 {
	return n.o.now().UnixNano() / int64(n.o.TokenPeriod)
}

// token makes the token of a client.
func (n *negotiation) token(account jid.Bare, client uuid.UUID, mechanism string, k Keys, generation, period int64) string {
	m := hmac.New(sha256.New, mac(sha256.New, n.o.Secret, "token"))
	m.Write(client[:])
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(generation)))
	m.Write(binary.BigEndian.AppendUint64(nil, uint64(period)))
	m.Write([]byte(account.String() + "\x00" + mechanism + "\x00"))
	m.Write(k.SHA256.StoredKey)
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// hashToken is what one side proves its token by.
func hashToken(token, side string, binding []byte) []byte {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte(side))
	m.Write(binding)
	return m.Sum(nil)
}
