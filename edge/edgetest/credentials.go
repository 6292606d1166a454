package edgetest

import (
	"context"
	"sync"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Password is that of every account that was made by House.Create.
const Password = "secret"

// quickKeys are the keys of Password with a single iteration, so that ten
// thousand clients can log in to a test.
var quickKeys = sync.OnceValue(func() stream.Keys {
	key := func(h scram.HashGeneratorFcn) stream.Key {
		c, err := h.NewClient("user", Password, "")
		if err != nil {
			panic(err)
		}
		const salt = "0123456789abcdef"
		stored, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: salt, Iters: 1})
		if err != nil {
			panic(err)
		}
		return stream.Key{Salt: []byte(salt), Iterations: 1, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}
	}
	return stream.Keys{SHA1: key(scram.SHA1), SHA256: key(scram.SHA256)}
})

// credentials are the accounts that can log in.
type credentials struct {
	house *House
	mu    sync.Mutex
	keys  map[jid.Bare]bool
	marks map[string]stream.Mark // by account and client
}

func (c *credentials) add(account jid.Bare) {
	c.mu.Lock()
	c.keys[account] = true
	c.mu.Unlock()
}

// Lookup implements stream.Credentials.
func (c *credentials) Lookup(_ context.Context, account jid.Bare) (stream.Keys, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keys[account] {
		return stream.Keys{}, stream.ErrNoAccount
	}
	return quickKeys(), nil
}

// SetPassword implements edge.Accounts; only Password is accepted.
func (c *credentials) SetPassword(_ context.Context, _ jid.Bare, password string) error {
	if password != Password {
		return stanza.NewError(stanza.NotAcceptable, "")
	}
	return nil
}

// Delete implements edge.Accounts.
func (c *credentials) Delete(_ context.Context, account jid.Bare) error {
	c.mu.Lock()
	delete(c.keys, account)
	c.mu.Unlock()
	c.house.fold(account, &event.Event{Id: make([]byte, 16), At: 1, Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	c.house.do(func() {})
	return nil
}

// registrar makes accounts for whoever asks.
type registrar struct{ house *House }

// Register implements stream.Registrar.
func (r registrar) Register(_ context.Context, username, password string) error {
	if password != Password {
		return stream.ErrNotAcceptable
	}
	account := jid.MustBare(username + "@" + r.house.domain)
	if _, err := r.house.credentials.Lookup(context.Background(), account); err == nil {
		return stream.ErrConflict
	}
	r.house.Create(username)
	return nil
}
