package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// Reads is what the routes need that only ask.
type Reads struct {
	History driver.Conn // ClickHouse; nil: what needs it is not available here
	Feed    *feed.Hub   // it runs elsewhere; nil: there are no streams of events here

	Streams   int           // of events, that a key may have open in this process; 10
	Heartbeat time.Duration // after which a stream on which nothing came says where it stands; 15 s
	Patience  time.Duration // that a stream's client may take for what is written at once, before it is cut; 10 s
}

func (o *Reads) check() {
	setDefault(&o.Streams, 10)
	setDefault(&o.Heartbeat, 15*time.Second)
	setDefault(&o.Patience, 10*time.Second)
}

// readRoutes are those that only ask.
func (s *Server) readRoutes() []*route {
	const here = "/v1/accounts/{jid}"
	return []*route{
		{method: http.MethodGet, path: here + "/presence", scope: ReadPresence, query: []string{"min_position"}, handle: s.getPresence},
		{method: http.MethodGet, path: here + "/friends/online", scope: ReadPresence, query: []string{"limit", "cursor", "min_position"}, handle: s.getFriends},
		{method: http.MethodGet, path: here + "/roster", scope: ReadPresence, query: []string{"limit", "cursor", "min_position"}, handle: s.getRoster},
		{method: http.MethodGet, path: here + "/counters", scope: ReadHistory, query: []string{"by", "from", "to", "limit", "cursor", "min_position"}, handle: s.getCounters},
		{method: http.MethodGet, path: here + "/history", scope: ReadHistory,
			query: []string{"with", "from", "to", "order", "limit", "cursor", "min_position"}, handle: s.getHistory},
		{method: http.MethodGet, path: "/v1/stats", scope: ReadPresence, handle: s.getStats},
		{method: http.MethodGet, path: "/v1/events", scope: ReadEvents, query: []string{"account", "domain", "messages", "after"}, handle: s.getEvents},
	}
}

// How long a request may take that reads, and wait for what it must see.
const (
	readTime = 10 * time.Second
	readWait = 5 * time.Second
)

// account gives the account that a path names, if the key is for its domain.
func (s *Server) account(r *http.Request, c *call) (jid.Bare, error) {
	return ownAccount(r.PathValue("jid"), c)
}

func ownAccount(text string, c *call) (jid.Bare, error) {
	b, err := jid.ParseBare(text)
	switch {
	case err != nil:
		return b, problem(BadJID, "%s is no bare JID: %v", quoted(text), err)
	case b.Local() == "":
		return b, problem(BadJID, "%s is a domain, not an account", quoted(text))
	case b.Domain() != c.key.Domain:
		return b, problem(DomainNotAllowed, "the key %s is for accounts of %s", c.key.ID, c.key.Domain)
	}
	return b, nil
}

// missing tells that there is no such account.
func missing(account jid.Bare) *Problem {
	return problem(NotFound, "there is no account %s", quoted(account.String()))
}

// away tells that something that answers reads does not, and when to try again.
func away(w http.ResponseWriter, detail string, args ...any) *Problem {
	w.Header().Set("Retry-After", "5")
	return problem(Unavailable, detail, args...)
}

// asked tells a read's failure: where Postgres does not answer the client is
// to try again.
func (s *Server) asked(w http.ResponseWriter, r *http.Request, c *call, err error) error {
	var p *Problem
	if err == nil || errors.As(err, &p) || r.Context().Err() != nil {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || isConnectionError(err) {
		s.opts.Logger.Warn("a read failed", "request", c.id, "err", err)
		return away(w, "the projection does not answer; try again")
	}
	return err
}

// view runs read in one snapshot of the projection, in which account is there
// and which has passed the request's min_position, and gives where it stands.
func (s *Server) view(w http.ResponseWriter, r *http.Request, c *call, account jid.Bare, read func(context.Context, pgx.Tx) error) (position string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	if err := s.reach(ctx, w, r, account, `SELECT partition, next_offset FROM views.projected WHERE partition = ANY($1)`, nil); err != nil {
		return "", s.asked(w, r, c, err)
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, s.opts.Postgres, options, func(tx pgx.Tx) error {
		n := topic.Partition(account, s.opts.Partitions)
		var next int64
		err := tx.QueryRow(ctx, `SELECT p.next_offset FROM views.account a JOIN views.projected p ON p.partition = $2 WHERE a.account = $1`,
			account.String(), n).Scan(&next)
		if errors.Is(err, pgx.ErrNoRows) {
			return missing(account)
		}
		if err != nil {
			return err
		}
		position = feed.Vector{n: {Offset: next - 1}}.String()
		return read(ctx, tx)
	})
	return position, s.asked(w, r, c, err)
}

// reach waits, for a while, until what a request about account reads has passed
// its min_position; an offset alone is one of the account's partition. The
// query gives the next offset of the partitions in $1; tell, unless it is nil,
// is told once what is waited for, as the offsets below which all is.
func (s *Server) reach(ctx context.Context, w http.ResponseWriter, r *http.Request, account jid.Bare, query string, tell func(context.Context, map[int32]int64) error) error {
	text := r.URL.Query().Get("min_position")
	if text == "" {
		return nil
	}
	if !strings.Contains(text, ":") {
		text = fmt.Sprintf("%d:%s", topic.Partition(account, s.opts.Partitions), text)
	}
	wanted, err := feed.ParseVector(text, s.opts.Partitions)
	if err != nil {
		return problem(InvalidParameter, "min_position: %s", plain(err))
	}
	var partitions []int32
	until := make(map[int32]int64)
	for n, m := range wanted {
		partitions = append(partitions, n)
		until[n] = m.Offset + 1
	}
	late := time.After(readWait)
	for tries := 0; ; tries++ {
		behind, err := s.behind(ctx, query, partitions, wanted)
		if err != nil || !behind {
			return err
		}
		if tries == 0 {
			if err := s.inLog(ctx, wanted); err != nil {
				return err
			}
			if tell != nil {
				if err := tell(ctx, until); err != nil {
					return err
				}
			}
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-late:
			w.Header().Set("Retry-After", "1")
			return problem(Behind, "what is read here has not reached %s yet", quoted(text))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// behind tells that a partition has not passed what is wanted of it.
func (s *Server) behind(ctx context.Context, query string, partitions []int32, wanted feed.Vector) (bool, error) {
	rows, err := s.opts.Postgres.Query(ctx, query, partitions)
	if err != nil {
		return false, err
	}
	passed := 0
	var n int32
	var next int64
	_, err = pgx.ForEachRow(rows, []any{&n, &next}, func() error {
		if next > wanted[n].Offset {
			passed++
		}
		return nil
	})
	return passed < len(wanted), err
}

// inLog refuses a position that the log has not reached itself.
func (s *Server) inLog(ctx context.Context, wanted feed.Vector) error {
	ends, err := s.opts.Offsets.Ends(ctx, topic.Account)
	if err != nil {
		return err
	}
	for n, m := range wanted {
		if m.Offset >= ends[n] {
			return problem(InvalidParameter, "min_position: the log has no offset %d in partition %d", m.Offset, n)
		}
	}
	return nil
}

// Pages: how many entries one has, unless the request says so, and at most.
const (
	pageUsual = 100
	pageMost  = 1000
)

func limit(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" && !r.URL.Query().Has("limit") {
		return pageUsual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > pageMost {
		return 0, problem(InvalidParameter, "limit is a number from 1 to %d", pageMost)
	}
	return n, nil
}

// A cursor is where a page ends: the key of its last entry, under the name of
// the list that it is of. Clients take it as it is.
func cursor(list string, key ...string) string {
	text, _ := json.Marshal(append([]string{list}, key...)) // strings can be marshalled
	return base64.RawURLEncoding.EncodeToString(text)
}

// after reads the request's cursor: of a key with that many parts, all empty
// if there is none.
func after(r *http.Request, list string, parts int) ([]string, error) {
	key := make([]string, parts)
	if !r.URL.Query().Has("cursor") {
		return key, nil
	}
	var read []string
	text, err := base64.RawURLEncoding.Strict().DecodeString(r.URL.Query().Get("cursor"))
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil || len(read) != parts+1 || read[0] != list {
		return nil, problem(InvalidParameter, "cursor is not one that this list gave")
	}
	return read[1:], nil
}

// choice gives a parameter that is one of few words; the first is the usual one.
func choice(r *http.Request, name string, words ...string) (string, error) {
	if !r.URL.Query().Has(name) {
		return words[0], nil
	}
	for _, word := range words {
		if r.URL.Query().Get(name) == word {
			return word, nil
		}
	}
	return "", problem(InvalidParameter, "%s is one of %q", name, words)
}

// moment reads a parameter in a layout of package time, zero if it is not there.
func moment(r *http.Request, name, layout, example string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if !r.URL.Query().Has(name) {
		return time.Time{}, nil
	}
	at, err := time.Parse(layout, text)
	if err != nil || at.Year() < 1970 || at.Year() > 2261 { // what ClickHouse can compare
		return time.Time{}, problem(InvalidParameter, "%s is written as %s, from the year 1970 on", name, example)
	}
	return at.UTC(), nil
}
