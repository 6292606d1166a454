package stream

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"
)

// DefaultIterations is the iteration count of new keys (RFC 7677, section 4).
const DefaultIterations = 4096

// ErrNoAccount is Lookup's answer for an account that does not exist.
var ErrNoAccount = errors.New("no such account")

// Credentials knows the keys of accounts.
type Credentials interface {
	// Lookup gives the keys of an account, ErrNoAccount if there is none.
	// Any other error tells the client to try again later.
	Lookup(ctx context.Context, account jid.Bare) (Keys, error)
}

// Key is what a server keeps of a password for one hash (RFC 5802, section
// 3): enough to check a proof, not enough to log in elsewhere.
type Key struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// Keys is what a server keeps of a password.
type Keys struct{ SHA1, SHA256 Key }

// DeriveKeys makes the keys of a password with fresh salts. It returns an
// error for a password that SASLprep (RFC 4013) prohibits or makes empty.
func DeriveKeys(password string) (Keys, error) {
	prepared, err := preparePassword(password)
	if err != nil {
		return Keys{}, err
	}
	var salt [32]byte
	rand.Read(salt[:])
	k := Keys{}
	if k.SHA1, err = deriveKey(sha1.New, prepared, salt[:16], DefaultIterations); err != nil {
		return Keys{}, err
	}
	k.SHA256, err = deriveKey(sha256.New, prepared, salt[16:], DefaultIterations)
	return k, err
}

// preparePassword applies SASLprep, which RFC 5802, section 2.2, asks for.
func preparePassword(password string) (string, error) {
	p, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	if p == "" {
		return "", errors.New("password: empty")
	}
	return p, nil
}

func deriveKey(h func() hash.Hash, prepared string, salt []byte, iterations int) (Key, error) {
	salted, err := pbkdf2.Key(h, prepared, salt, iterations, h().Size())
	if err != nil {
		return Key{}, fmt.Errorf("derive key: %w", err)
	}
	stored := h()
	stored.Write(mac(h, salted, "Client Key"))
	return Key{Salt: salt, Iterations: iterations, StoredKey: stored.Sum(nil), ServerKey: mac(h, salted, "Server Key")}, nil
}

func mac(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// Verify tells whether the password is the one that the keys were made of.
// An error means that the keys cannot be used.
func (k Keys) Verify(password string) (bool, error) {
	prepared, err := preparePassword(password)
	if err != nil {
		prepared = "\x00" // matches nothing, and takes as long
	}
	got, err := deriveKey(sha256.New, prepared, k.SHA256.Salt, k.SHA256.Iterations)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got.StoredKey, k.SHA256.StoredKey) == 1, nil
}

// fakeKeys gives an account that does not exist keys that no password
// matches, the same each time, so that it looks like any other.
func fakeKeys(secret []byte, user string) Keys {
	part := func(name string, size int) []byte { return mac(sha256.New, secret, name+"\x00"+user)[:size] }
	return Keys{
		SHA1: Key{Salt: part("salt 1", 16), Iterations: DefaultIterations,
			StoredKey: part("stored 1", sha1.Size), ServerKey: part("server 1", sha1.Size)},
		SHA256: Key{Salt: part("salt 256", 16), Iterations: DefaultIterations,
			StoredKey: part("stored 256", sha256.Size), ServerKey: part("server 256", sha256.Size)},
	}
}

func (k Key) stored() scram.StoredCredentials {
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(k.Salt), Iters: k.Iterations},
		StoredKey:  k.StoredKey,
		ServerKey:  k.ServerKey,
	}
}
