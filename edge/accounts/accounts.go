// Package accounts keeps who may log in: SCRAM keys in Postgres, in the schema
// auth. No password is kept, and nothing of this is in the log: the log has
// AccountCreated and AccountDeleted.
package accounts

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/edge/gather"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// Log appends to the histories of accounts.
type Log interface {
	// AppendWait stores e in account's history and returns when it is stored.
	AppendWait(ctx context.Context, account jid.Bare, e *event.Event) (topic.Position, error)
}

// A Store keeps the accounts of one domain. It may be used by any goroutine.
type Store struct {
	pool    *pgxpool.Pool
	domain  string
	log     Log
	lookup  *gather.Gatherer[string, *stream.Keys]
	clients *gather.Gatherer[client, *marked]
	derive  chan struct{} // a token for each password that is being hashed
}

// An Account is a line of a list.
type Account struct {
	JID     string
	Created time.Time
	Live    bool // its AccountCreated is in the log: it can log in
}

// Loads of keys at a time, and accounts of a load.
const (
	parallelLoads = 2
	mostAccounts  = 500
)

// New gives a Store of the accounts of domain.
func New(pool *pgxpool.Pool, domain string, log Log) *Store {
	s := &Store{pool: pool, domain: domain, log: log, derive: make(chan struct{}, runtime.GOMAXPROCS(0))}
	s.lookup = gather.New(parallelLoads, mostAccounts, s.load)
	s.clients = gather.New(parallelLoads, mostAccounts, s.loadClients)
	return s
}

const keyColumns = `sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,
	sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key`

// Lookup gives the keys of a live account, or stream.ErrNoAccount.
func (s *Store) Lookup(ctx context.Context, account jid.Bare) (stream.Keys, error) {
	keys, err := s.lookup.Ask(ctx, account.String())
	switch {
	case err != nil:
		return stream.Keys{}, fmt.Errorf("keys of %s: %w", account, err)
	case keys == nil:
		return stream.Keys{}, stream.ErrNoAccount
	}
	return *keys, nil
}

func (s *Store) load(ctx context.Context, accounts []string) ([]*stream.Keys, error) {
	rows, err := s.pool.Query(ctx, `SELECT q.place, `+keyColumns+`
FROM unnest($1::text[]) WITH ORDINALITY AS q (account, place)
JOIN auth.account a ON a.account = q.account AND a.live`, accounts)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make([]*stream.Keys, len(accounts))
	for rows.Next() {
		var (
			place int64
			k     stream.Keys
		)
		if err := rows.Scan(append([]any{&place}, places(&k)...)...); err != nil {
			return nil, err
		}
		found[place-1] = &k
	}
	return found, rows.Err()
}

// places are where keyColumns go.
func places(k *stream.Keys) []any {
	return []any{&k.SHA1.Salt, &k.SHA1.Iterations, &k.SHA1.StoredKey, &k.SHA1.ServerKey,
		&k.SHA256.Salt, &k.SHA256.Iterations, &k.SHA256.StoredKey, &k.SHA256.ServerKey}
}

// Register makes the account username@domain (XEP-0077); its errors are those
// of stream.Registrar.
func (s *Store) Register(ctx context.Context, username, password string) error {
	account, err := jid.ParseBare(username + "@" + s.domain)
	if err != nil {
		return fmt.Errorf("%w: %v", stream.ErrNotAcceptable, err)
	}
	return s.Create(ctx, account, password)
}

// Create makes an account and returns when it can log in. It gives
// stream.ErrConflict if it exists and stream.ErrNotAcceptable for a password
// that SASLprep prohibits. One whose creation was interrupted can be created.
func (s *Store) Create(ctx context.Context, account jid.Bare, password string) error {
	keys, err := s.keys(ctx, password)
	if err != nil {
		return err
	}
	// A crash after this leaves a row that is not live: it cannot log in, and
	// the next Create overwrites it.
	tag, err := s.pool.Exec(ctx, `INSERT INTO auth.account (account, live, `+keyColumns+`)
VALUES ($1, false, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (account) DO UPDATE SET live = false, created_at = now(),
	sha1_salt = $2, sha1_iterations = $3, sha1_stored_key = $4, sha1_server_key = $5,
	sha256_salt = $6, sha256_iterations = $7, sha256_stored_key = $8, sha256_server_key = $9
WHERE NOT auth.account.live`, append([]any{account.String()}, values(keys)...)...)
	if err != nil {
		return fmt.Errorf("create %s: %w", account, err)
	}
	if tag.RowsAffected() == 0 {
		return stream.ErrConflict
	}
	created := &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}}
	if _, err := s.log.AppendWait(ctx, account, created); err != nil {
		return fmt.Errorf("create %s: %w", account, err)
	}
	// Of two that create it at once the later one's keys are there.
	tag, err = s.pool.Exec(ctx, `UPDATE auth.account SET live = true WHERE account = $1 AND sha256_salt = $2`,
		account.String(), keys.SHA256.Salt)
	if err != nil {
		return fmt.Errorf("create %s: %w", account, err)
	}
	if tag.RowsAffected() == 0 {
		return stream.ErrConflict
	}
	return nil
}

// keys hashes a password, on as many cores as there are at a time.
func (s *Store) keys(ctx context.Context, password string) (stream.Keys, error) {
	select {
	case s.derive <- struct{}{}:
		defer func() { <-s.derive }()
	case <-ctx.Done():
		return stream.Keys{}, ctx.Err()
	}
	keys, err := stream.DeriveKeys(password)
	if err != nil {
		return stream.Keys{}, fmt.Errorf("%w: %v", stream.ErrNotAcceptable, err)
	}
	return keys, nil
}

func values(k stream.Keys) []any {
	return []any{k.SHA1.Salt, k.SHA1.Iterations, k.SHA1.StoredKey, k.SHA1.ServerKey,
		k.SHA256.Salt, k.SHA256.Iterations, k.SHA256.StoredKey, k.SHA256.ServerKey}
}

// SetPassword changes the password of a live account. A *stanza.Error in what
// it returns tells a client what was wrong; stream.ErrNoAccount if there is
// no such account.
func (s *Store) SetPassword(ctx context.Context, account jid.Bare, password string) error {
	keys, err := s.keys(ctx, password)
	if errors.Is(err, stream.ErrNotAcceptable) {
		return stanza.NewError(stanza.NotAcceptable, "this password is not allowed")
	}
	if err != nil {
		return err
	}
	tag, err := s.pool.Exec(ctx, `UPDATE auth.account SET
	sha1_salt = $2, sha1_iterations = $3, sha1_stored_key = $4, sha1_server_key = $5,
	sha256_salt = $6, sha256_iterations = $7, sha256_stored_key = $8, sha256_server_key = $9
WHERE account = $1 AND live`, append([]any{account.String()}, values(keys)...)...)
	if err != nil {
		return fmt.Errorf("set password of %s: %w", account, err)
	}
	if tag.RowsAffected() == 0 {
		return stream.ErrNoAccount
	}
	return nil
}

// Delete ends an account and returns when the log has AccountDeleted;
// stream.ErrNoAccount if there is none.
func (s *Store) Delete(ctx context.Context, account jid.Bare) error {
	// A crash after this leaves an account that cannot log in: Delete again.
	tag, err := s.pool.Exec(ctx, `UPDATE auth.account SET live = false WHERE account = $1`, account.String())
	if err != nil {
		return fmt.Errorf("delete %s: %w", account, err)
	}
	if tag.RowsAffected() == 0 {
		return stream.ErrNoAccount
	}
	deleted := &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}}
	if _, err := s.log.AppendWait(ctx, account, deleted); err != nil {
		return fmt.Errorf("delete %s: %w", account, err)
	}
	if _, err := s.pool.Exec(ctx, `DELETE FROM auth.account WHERE account = $1 AND NOT live`, account.String()); err != nil {
		return fmt.Errorf("delete %s: %w", account, err)
	}
	return nil
}

// List gives every account of the domain, by its JID.
func (s *Store) List(ctx context.Context) ([]Account, error) {
	rows, err := s.pool.Query(ctx, `SELECT account, created_at, live FROM auth.account
WHERE account LIKE '%@' || $1 ORDER BY account`, s.domain)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Account])
}
