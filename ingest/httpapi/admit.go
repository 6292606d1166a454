package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/time/rate"
)

// admit tells whose key a request shows. It answers with what is wrong with the
// key, with its scopes, or with its pace.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, scope string) (*Key, error) {
	id, secret, wrong := credentials(r)
	if wrong != nil {
		challenge := `Bearer realm="rollcall"`
		if wrong.Code == BadKey {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		return nil, wrong
	}
	h, err := s.keys.find(r.Context(), id)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(secret))
	switch {
	case h == nil || subtle.ConstantTimeCompare(hash[:], h.hash) != 1:
		w.Header().Set("WWW-Authenticate", `Bearer realm="rollcall", error="invalid_token"`)
		return nil, problem(BadKey, "no key is like this one")
	case !h.key.Revoked.IsZero():
		w.Header().Set("WWW-Authenticate", `Bearer realm="rollcall", error="invalid_token"`)
		return nil, problem(RevokedKey, "the key %s was revoked at %s", h.key.ID, h.key.Revoked.UTC().Format(time.RFC3339))
	}
	key := h.key
	if wait := pause(h.pace); wait > 0 {
		return &key, limited(w, wait, "the key %s may ask %g times a second", key.ID, s.opts.Limits.Rate)
	}
	if !key.May(scope) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rollcall", error="insufficient_scope", scope="`+scope+`"`)
		return &key, problem(MissingScope, "the key %s has not the scope %s", key.ID, scope)
	}
	return &key, nil
}

var tokens = regexp.MustCompile(`^rk_([a-z0-9]{1,32})_([A-Za-z0-9_-]{1,128})$`)

// credentials reads the Authorization header (RFC 6750, section 2.1).
func credentials(r *http.Request) (id, secret string, wrong *Problem) {
	fields := r.Header.Values("Authorization")
	if len(fields) == 0 {
		return "", "", problem(NoKey, "send the header Authorization: Bearer rk_…")
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if len(fields) > 1 || !strings.EqualFold(scheme, "Bearer") {
		return "", "", problem(BadKey, "the header Authorization must be there once, and be Bearer rk_…")
	}
	parts := tokens.FindStringSubmatch(strings.TrimSpace(token))
	if parts == nil {
		return "", "", problem(BadKey, "no key is like this one")
	}
	return parts[1], parts[2], nil
}

// pause takes a request's share of a pace: 0, or how long to wait before the
// next try.
func pause(pace *rate.Limiter) time.Duration {
	now := time.Now()
	share := pace.ReserveN(now, 1)
	wait := share.DelayFrom(now)
	if wait > 0 {
		share.CancelAt(now)
	}
	return wait
}

func limited(w http.ResponseWriter, wait time.Duration, detail string, args ...any) *Problem {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	return problem(RateLimited, detail, args...)
}

// A keyring reads keys, and takes them for what they were for a moment, so that
// not every request asks Postgres.
type keyring struct {
	pool    *pgxpool.Pool
	limits  Limits
	strange *rate.Limiter // look-ups of keys that are not there

	mu   sync.Mutex
	held map[string]*heldKey // keys that exist, by id
}

// A heldKey is a key, its hash and its pace.
type heldKey struct {
	key  Key
	hash []byte
	at   time.Time // when it was read
	pace *rate.Limiter
}

func newKeyring(pool *pgxpool.Pool, limits Limits) *keyring {
	return &keyring{pool: pool, limits: limits, strange: rate.NewLimiter(100, 200), held: make(map[string]*heldKey)}
}

// find gives a key, also a revoked one; nil if there is none.
func (k *keyring) find(ctx context.Context, id string) (*heldKey, error) {
	k.mu.Lock()
	known := k.held[id]
	k.mu.Unlock()
	if known != nil && time.Since(known.at) < k.limits.KeyTTL {
		return known, nil
	}
	if known == nil && !k.strange.Allow() {
		// Whoever guesses keys keeps Postgres busy, but not too busy.
		return nil, problem(Unavailable, "too many keys are shown that are not known; try again")
	}
	at := time.Now()
	fresh := &heldKey{at: at}
	key := &fresh.key
	err := k.pool.QueryRow(ctx, `SELECT `+keyColumns+`, hash FROM run.api_key WHERE id = $1`, id).
		Scan(&key.ID, &key.Name, &key.Domain, &key.Scopes, &key.Senders, &key.Created, &key.Revoked, &fresh.hash)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == pgx.ErrNoRows {
		delete(k.held, id)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up key %s: %w", id, err)
	}
	if known := k.held[id]; known != nil {
		fresh.pace = known.pace
	} else {
		fresh.pace = rate.NewLimiter(rate.Limit(k.limits.Rate), k.limits.Burst)
	}
	k.held[id] = fresh
	return fresh, nil
}
