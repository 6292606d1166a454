package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/google/uuid"
)

// tokens makes and reads the ids by which clients resume sessions (XEP-0198,
// section 5). Each names a resource and the binding that began its session,
// and is signed, so that any edge can tell it from what somebody made up.
type tokens struct{ key []byte }

const tokenSum = 16 // bytes

// newTokens derives the key from the secret that all edges share.
func newTokens(secret []byte) tokens {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("rollcall: ids of resumable streams"))
	return tokens{key: m.Sum(nil)}
}

func (t tokens) sum(account, resource string, began uuid.UUID) []byte {
	m := hmac.New(sha256.New, t.key)
	m.Write(began[:])
	m.Write([]byte(account + "/" + resource))
	return m.Sum(nil)[:tokenSum]
}

// make gives the id of a session of the account.
func (t tokens) make(account, resource string, began uuid.UUID) string {
	b := append(began[:], t.sum(account, resource, began)...)
	return base64.RawURLEncoding.EncodeToString(append(b, resource...))
}

// read gives what the id of a session of the account says.
func (t tokens) read(account, id string) (resource string, began uuid.UUID, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) <= len(began)+tokenSum {
		return "", uuid.UUID{}, false
	}
	copy(began[:], b)
	resource = string(b[len(began)+tokenSum:])
	return resource, began, hmac.Equal(b[len(began):len(began)+tokenSum], t.sum(account, resource, began))
}
