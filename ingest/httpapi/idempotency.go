package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// How long answers are kept, and how long a try may take before another one is
// let in although its process lives.
const (
	keptFor = 24 * time.Hour
	tryTime = time.Minute
)

// A claim is the right to do a request, or what was answered to it.
type claim struct {
	request uuid.UUID // the same in every try
	again   bool      // an earlier try was broken off: it may have done something
	began   time.Time // when the first try began
	last    time.Time // when the last one before this began

	status         int // of the answer; 0: there is none
	kind, location string
	answer         []byte
}

// once has rt answer a request, whose effect happens at most once if it has an
// Idempotency-Key: a success is answered again as it was. After an answer of 500
// or more the request may be sent again, and the parts that were done are not
// done twice; one that was refused has done nothing, and leaves nothing. See
// draft-ietf-httpapi-idempotency-key-header, section 2.
func (s *Server) once(rt *route, c *call, w http.ResponseWriter, r *http.Request) error {
	key, err := idempotencyKey(r)
	if err != nil {
		return err
	}
	if key == "" {
		c.request = uuid.Must(uuid.NewV7())
		return rt.handle(w, r, c)
	}
	held, err := s.claim(r.Context(), c.key.ID, key, hashOf(r, c))
	if err != nil {
		return err
	}
	if held.status != 0 {
		w.Header().Set("Idempotency-Replayed", "true")
		replay(w, held)
		return nil
	}
	c.request, c.again, c.began, c.last = held.request, held.again, held.began, held.last
	kept := &keptAnswer{header: make(http.Header)}
	defer func() { s.settle(c.key.ID, key, kept) }() // also when a handler panics
	if err := rt.handle(kept, r, c); err != nil {
		s.fail(&answer{ResponseWriter: kept}, r, c, err)
	}
	// A crash before this is settled leaves a claim of a process that is gone:
	// the next try takes it.
	for name, values := range kept.header {
		w.Header()[name] = values
	}
	w.WriteHeader(kept.status)
	_, _ = w.Write(kept.body.Bytes())
	return nil
}

// hashOf tells requests apart.
func hashOf(r *http.Request, c *call) []byte {
	hash := sha256.Sum256(bytes.Join([][]byte{[]byte(r.Method), []byte(r.URL.Path), c.body}, []byte{0}))
	return hash[:]
}

// replay answers as before.
func replay(w http.ResponseWriter, c *claim) {
	w.Header().Set("Content-Type", c.kind)
	if c.location != "" {
		w.Header().Set("Location", c.location)
	}
	w.WriteHeader(c.status)
	_, _ = w.Write(c.answer)
}

// A keptAnswer is an answer that is kept before it is given.
type keptAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keptAnswer) Header() http.Header         { return k.header }
func (k *keptAnswer) WriteHeader(status int)      { k.status = status }
func (k *keptAnswer) Write(b []byte) (int, error) { return k.body.Write(b) }

// idempotencyKey reads the header, a string of RFC 8941 or a bare word; "" if
// there is none.
func idempotencyKey(r *http.Request) (string, error) {
	fields := r.Header.Values("Idempotency-Key")
	if len(fields) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(fields[0])
	if strings.HasPrefix(key, `"`) {
		inner, ok := strings.CutSuffix(key[1:], `"`)
		if !ok || strings.ContainsAny(inner, `"\`) {
			key = ""
		} else {
			key = inner
		}
	}
	bad := func(r rune) bool { return r < ' ' || r > '~' }
	if len(fields) > 1 || key == "" || len(key) > 255 || strings.ContainsFunc(key, bad) {
		return "", problem(BadIdempotencyKey, "give one Idempotency-Key of 1 to 255 printable ASCII characters, without backslashes")
	}
	return key, nil
}

// liveOwner is whether the process that owns the row o still holds its lease.
const liveOwner = `EXISTS (SELECT FROM run.lease l WHERE l.kind = 'http' AND l.id = o.owner AND l.epoch = o.epoch AND NOT l.lost AND l.expires_at > clock_timestamp())`

// claim takes the right to do a request. It gives a problem if another try is
// under way, or the key was used for another request.
func (s *Server) claim(ctx context.Context, apiKey, key string, hash []byte) (*claim, error) {
	c := &claim{request: uuid.Must(uuid.NewV7())}
	tag, err := s.opts.Postgres.Exec(ctx, `INSERT INTO run.idempotency (api_key, key, request, hash, owner, epoch)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (api_key, key) DO NOTHING`, apiKey, key, c.request, hash, s.opts.ID, int64(s.opts.Epoch))
	if err != nil {
		return nil, fmt.Errorf("claim an idempotency key: %w", err)
	}
	if tag.RowsAffected() == 1 {
		return c, nil
	}
	err = pgx.BeginFunc(ctx, s.opts.Postgres, func(tx pgx.Tx) error {
		var known []byte
		var busy bool
		err := tx.QueryRow(ctx, `SELECT o.request, o.hash, coalesce(o.status, 0), coalesce(o.kind, ''), coalesce(o.location, ''), coalesce(o.answer, ''),
	o.owner IS NOT NULL AND o.tried_at > now() - $3::bigint * interval '1 microsecond' AND `+liveOwner+`, o.created_at, o.tried_at
FROM run.idempotency o WHERE o.api_key = $1 AND o.key = $2 FOR UPDATE`, apiKey, key, tryTime.Microseconds()).
			Scan(&c.request, &known, &c.status, &c.kind, &c.location, &c.answer, &busy, &c.began, &c.last)
		switch {
		case err == pgx.ErrNoRows: // its day is over, just now
			return problem(IdempotencyConflict, "the key's time has ended; try again")
		case err != nil:
			return err
		case !bytes.Equal(known, hash):
			return problem(IdempotencyReused, "this Idempotency-Key came with another method, path or body before")
		case c.status != 0:
			return nil
		case busy:
			return problem(IdempotencyConflict, "the first request with this Idempotency-Key is not answered yet")
		}
		c.again = true
		_, err = tx.Exec(ctx, `UPDATE run.idempotency SET owner = $3, epoch = $4, tried_at = now() WHERE api_key = $1 AND key = $2`,
			apiKey, key, s.opts.ID, int64(s.opts.Epoch))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("claim an idempotency key: %w", err)
	}
	return c, nil
}

// settle keeps an answer that is a success, and gives the claim back otherwise.
func (s *Server) settle(apiKey, key string, k *keptAnswer) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	const mine = ` WHERE api_key = $1 AND key = $2 AND owner = $3 AND epoch = $4`
	args := []any{apiKey, key, s.opts.ID, int64(s.opts.Epoch)}
	var err error
	switch {
	case k.status == 0 || k.status >= http.StatusInternalServerError:
		_, err = s.opts.Postgres.Exec(ctx, `UPDATE run.idempotency SET owner = NULL`+mine, args...)
	case k.status >= http.StatusBadRequest:
		_, err = s.opts.Postgres.Exec(ctx, `DELETE FROM run.idempotency`+mine, args...)
	default:
		_, err = s.opts.Postgres.Exec(ctx, `UPDATE run.idempotency SET status = $5, kind = $6, location = $7, answer = $8`+mine,
			append(args, k.status, k.header.Get("Content-Type"), k.header.Get("Location"), k.body.Bytes())...)
	}
	if err != nil {
		// The next try finds the claim too old, and then what is in the log.
		s.opts.Logger.Warn("answer not kept for its idempotency key", "err", err)
	}
}
