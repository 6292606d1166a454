package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/schema/jid"
)

// The scopes: what a key may be for.
const (
	SendMessages = "messages:send"
	Broadcast    = "broadcast:send"
	ReadPresence = "read:presence" // who is online, rosters
	ReadHistory  = "read:history"  // archives and counters
	ReadEvents   = "read:events"   // the stream of events
	AdminScope   = "admin"         // all of them
)

// Scopes are all that there are.
var Scopes = []string{SendMessages, Broadcast, ReadPresence, ReadHistory, ReadEvents, AdminScope}

// A Key is an API key without its secret, which is shown once and kept only as
// a hash.
type Key struct {
	ID     string
	Name   string   // for people
	Domain string   // whose accounts it is for
	Scopes []string // of Scopes
	// Senders are the bare JIDs that it may send as, besides Domain itself;
	// AnySender: every account of it.
	Senders []string
	Created time.Time
	Revoked time.Time // zero: it is not
}

// AnySender stands for every account of a key's domain.
const AnySender = "*"

// May tells whether the key has a scope.
func (k *Key) May(scope string) bool {
	return slices.Contains(k.Scopes, scope) || slices.Contains(k.Scopes, AdminScope)
}

// check tells what is wrong with a key that is to be made; it makes its JIDs
// canonical.
func (k *Key) check() error {
	domain, err := jid.ParseBare(k.Domain)
	if err != nil || domain.Local() != "" {
		return fmt.Errorf("%q is no domain", k.Domain)
	}
	k.Domain = domain.String()
	if len(k.Scopes) == 0 {
		return fmt.Errorf("a key needs a scope: %s", strings.Join(Scopes, ", "))
	}
	for _, scope := range k.Scopes {
		if !slices.Contains(Scopes, scope) {
			return fmt.Errorf("there is no scope %q; there are %s", scope, strings.Join(Scopes, ", "))
		}
	}
	for i, sender := range k.Senders {
		if sender == AnySender {
			continue
		}
		from, err := jid.ParseBare(sender)
		if err != nil {
			return err
		}
		if from.Domain() != k.Domain {
			return fmt.Errorf("the sender %s is not of %s", from, k.Domain)
		}
		k.Senders[i] = from.String()
	}
	if len(k.Name) > 200 || strings.ContainsFunc(k.Name, func(r rune) bool { return r < ' ' }) {
		return errors.New("a name is a line of at most 200 bytes")
	}
	return nil
}

// maySendAs tells whether the key may send as a JID.
func (k *Key) maySendAs(from jid.JID) bool {
	bare := from.Bare()
	if bare.Domain() != k.Domain {
		return false
	}
	return bare.Local() == "" || slices.Contains(k.Senders, AnySender) || slices.Contains(k.Senders, bare.String())
}

// The form of a key as clients show it: rk_ID_SECRET.
const tokenPrefix = "rk_"

// AddKey makes a key and gives it as its holder must show it; it is not kept.
// ID and times are set here.
func AddKey(ctx context.Context, pool *pgxpool.Pool, k Key) (token string, made Key, err error) {
	if err := k.check(); err != nil {
		return "", Key{}, err
	}
	secret := make([]byte, 32)
	rand.Read(secret)
	k.ID = strings.ToLower(rand.Text()[:12])
	text := base64.RawURLEncoding.EncodeToString(secret)
	hash := sha256.Sum256([]byte(text))
	if k.Senders == nil {
		k.Senders = []string{}
	}
	err = pool.QueryRow(ctx, `INSERT INTO run.api_key (id, hash, name, domain, scopes, senders)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING created_at`, k.ID, hash[:], k.Name, k.Domain, k.Scopes, k.Senders).Scan(&k.Created)
	if err != nil {
		return "", Key{}, fmt.Errorf("add a key: %w", err)
	}
	return tokenPrefix + k.ID + "_" + text, k, nil
}

const keyColumns = `id, name, domain, scopes, senders, created_at, coalesce(revoked_at, '0001-01-01T00:00:00Z')`

// Keys gives all keys, the oldest first.
func Keys(ctx context.Context, pool *pgxpool.Pool) ([]Key, error) {
	rows, err := pool.Query(ctx, `SELECT `+keyColumns+` FROM run.api_key ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Key])
}

// ErrNoKey tells that there is no such key.
var ErrNoKey = errors.New("httpapi: there is no such key")

// RevokeKey ends a key: servers take it no longer than Limits.KeyTTL. It gives
// ErrNoKey if there is none, and nothing is changed if it is revoked already.
func RevokeKey(ctx context.Context, pool *pgxpool.Pool, id string) error {
	tag, err := pool.Exec(ctx, `UPDATE run.api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("revoke key %s: %w", id, err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNoKey
	}
	return nil
}
