package httpapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/awaited"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// history runs read on ClickHouse, for an account that is there, once the
// history has passed the request's min_position, and gives where that stood
// before: it may have more by now.
func (s *Server) history(w http.ResponseWriter, r *http.Request, c *call, account jid.Bare, read func(context.Context) error) (position string, err error) {
	if s.opts.Reads.History == nil {
		return "", away(w, "this server has no history to ask")
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	tell := func(ctx context.Context, until map[int32]int64) error {
		return awaited.Tell(ctx, s.opts.Postgres, until)
	}
	if err := s.reach(ctx, w, r, account, `SELECT partition, next_offset FROM run.history WHERE partition = ANY($1)`, tell); err != nil {
		return "", s.asked(w, r, c, err)
	}
	n := topic.Partition(account, s.opts.Partitions)
	var next int64
	err = s.opts.Postgres.QueryRow(ctx, `SELECT coalesce(h.next_offset, 0) FROM views.account a LEFT JOIN run.history h ON h.partition = $2 WHERE a.account = $1`,
		account.String(), n).Scan(&next)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", missing(account)
	}
	if err != nil {
		return "", s.asked(w, r, c, err)
	}
	position = feed.Vector{n: {Offset: next - 1}}.String()
	err = read(ctx)
	var said *clickhouse.Exception
	var p *Problem
	switch {
	case err == nil, errors.As(err, &p), r.Context().Err() != nil:
		return position, err
	case errors.As(err, &said) && !overloaded(said.Code):
		return "", err // a fault of ours
	}
	s.opts.Logger.Warn("a read failed", "request", c.id, "err", err)
	return "", away(w, "the history does not answer; try again")
}

// overloaded tells ClickHouse's errors that pass: too slow, too many queries,
// memory, shutting down.
func overloaded(code int32) bool {
	switch code {
	case 159, 160, 202, 209, 210, 241, 394, 439, 745:
		return true
	}
	return false
}

type countersView struct {
	Account string          `json:"account"`
	From    string          `json:"from"` // days, both included
	To      string          `json:"to"`
	Totals  counts          `json:"totals"`
	Unread  uint64          `json:"unread"` // messages that no resource has taken, now
	Days    []countersOfDay `json:"days,omitempty"`
	Peers   []countersOf    `json:"peers,omitempty"`
	Next    string          `json:"next,omitempty"` // cursor of the next page

	Position string `json:"position"`
}

type counts struct {
	Sent     uint64 `json:"messages_sent"`
	Received uint64 `json:"messages_received"`
	Changes  uint64 `json:"presence_changes"`
	Logins   uint64 `json:"logins"`
	Roster   uint64 `json:"roster_changes"`
}

type countersOfDay struct {
	Day string `json:"day"`
	counts
}

type countersOf struct {
	Peer     string `json:"peer"`
	Sent     uint64 `json:"messages_sent"`
	Received uint64 `json:"messages_received"`
}

const dayLayout = "2006-01-02"

// getCounters tells how much an account did, in all and by day or by peer.
func (s *Server) getCounters(w http.ResponseWriter, r *http.Request, c *call) error {
	account, err := s.account(r, c)
	if err != nil {
		return err
	}
	by, err := choice(r, "by", "day", "peer")
	if err != nil {
		return err
	}
	from, err := moment(r, "from", dayLayout, dayLayout)
	if err != nil {
		return err
	}
	to, err := moment(r, "to", dayLayout, dayLayout)
	if err != nil {
		return err
	}
	if to.IsZero() {
		to = time.Now().UTC().Truncate(24 * time.Hour)
	}
	if from.IsZero() {
		from = to.AddDate(0, 0, -29)
	}
	if from.After(to) || to.Year() > 2148 { // the days that ClickHouse has
		return problem(InvalidParameter, "from is a day before to, and to is before the year 2149")
	}
	most, err := limit(r)
	if err != nil {
		return err
	}
	last, err := after(r, "counters by "+by, 1)
	if err != nil {
		return err
	}
	out := countersView{Account: account.String(), From: from.Format(dayLayout), To: to.Format(dayLayout)}
	out.Position, err = s.history(w, r, c, account, func(ctx context.Context) error {
		t := &out.Totals
		if err := s.opts.Reads.History.QueryRow(ctx, `SELECT sum(messages_sent), sum(messages_received), sum(presence_changes), sum(logins), sum(roster_changes)
FROM account_counters WHERE account = ? AND day BETWEEN toDate(?) AND toDate(?)`, out.Account, out.From, out.To).
			Scan(&t.Sent, &t.Received, &t.Changes, &t.Logins, &t.Roster); err != nil {
			return err
		}
		if err := s.opts.Reads.History.QueryRow(ctx, `SELECT sum(messages) FROM unread WHERE account = ?`, out.Account).Scan(&out.Unread); err != nil {
			return err
		}
		if by == "peer" {
			return s.countPeers(ctx, &out, last[0], most)
		}
		return s.countDays(ctx, &out, last[0], most)
	})
	if err == nil {
		writeJSON(w, http.StatusOK, out)
	}
	return err
}

func (s *Server) countDays(ctx context.Context, out *countersView, last string, most int) error {
	if last == "" {
		last = "1970-01-01"
	} else if _, err := time.Parse(dayLayout, last); err != nil {
		return problem(InvalidParameter, "cursor is not one that this list gave")
	}
	rows, err := s.opts.Reads.History.Query(ctx, `SELECT toString(day), messages_sent, messages_received, presence_changes, logins, roster_changes
FROM account_counters WHERE account = ? AND day BETWEEN toDate(?) AND toDate(?) AND day > toDate(?) ORDER BY day LIMIT ?`, out.Account, out.From, out.To, last, most+1)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var d countersOfDay
		if err := rows.Scan(&d.Day, &d.Sent, &d.Received, &d.Changes, &d.Logins, &d.Roster); err != nil {
			return err
		}
		out.Days = append(out.Days, d)
	}
	if len(out.Days) > most {
		out.Days = out.Days[:most]
		out.Next = cursor("counters by day", out.Days[most-1].Day)
	}
	return rows.Err()
}

func (s *Server) countPeers(ctx context.Context, out *countersView, last string, most int) error {
	rows, err := s.opts.Reads.History.Query(ctx, `SELECT peer, sum(messages_sent) AS sent, sum(messages_received) AS received
FROM pair_counters WHERE account = ? AND day BETWEEN toDate(?) AND toDate(?) AND peer > ? GROUP BY peer ORDER BY peer LIMIT ?`,
		out.Account, out.From, out.To, last, most+1)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p countersOf
		if err := rows.Scan(&p.Peer, &p.Sent, &p.Received); err != nil {
			return err
		}
		out.Peers = append(out.Peers, p)
	}
	if len(out.Peers) > most {
		out.Peers = out.Peers[:most]
		out.Next = cursor("counters by peer", out.Peers[most-1].Peer)
	}
	return rows.Err()
}

type historyView struct {
	Account  string        `json:"account"`
	Messages []messageView `json:"messages"`
	Next     string        `json:"next,omitempty"` // cursor of the next page
	Position string        `json:"position"`
}

// messageView is a message of an archive.
type messageView struct {
	ID           string    `json:"id"` // the stanza id that the account's clients see (XEP-0359), and its archive's (XEP-0313)
	At           time.Time `json:"at"`
	Direction    string    `json:"direction"` // received or sent
	Peer         string    `json:"peer"`
	PeerResource string    `json:"peer_resource,omitempty"`
	Resource     string    `json:"resource,omitempty"`
	Type         string    `json:"type"`
	Message      uuid.UUID `json:"message"` // the same in both archives
	MessageID    string    `json:"message_id,omitempty"`
	Body         string    `json:"body,omitempty"`
}

// getHistory tells what an account's archive holds.
func (s *Server) getHistory(w http.ResponseWriter, r *http.Request, c *call) error {
	account, err := s.account(r, c)
	if err != nil {
		return err
	}
	order, err := choice(r, "order", "newest", "oldest")
	if err != nil {
		return err
	}
	query := `SELECT id, at, toString(direction), peer, peer_resource, resource, message_type, message, message_id, body FROM archive_of(owner = ?) WHERE true`
	arguments := []any{account.String()}
	where := func(clause string, values ...any) {
		query += " AND " + clause
		arguments = append(arguments, values...)
	}
	if r.URL.Query().Has("with") {
		with, err := jid.Parse(r.URL.Query().Get("with"))
		if err != nil {
			return problem(InvalidParameter, "with is no JID: %v", err)
		}
		where("peer = ?", with.Bare().String())
		if with.IsFull() {
			where("peer_resource = ?", with.Resource())
		}
	}
	for name, clause := range map[string]string{"from": "at >= fromUnixTimestamp64Micro(?)", "to": "at < fromUnixTimestamp64Micro(?)"} {
		at, err := moment(r, name, time.RFC3339, "2026-11-24T18:00:00Z")
		if err != nil {
			return err
		}
		if !at.IsZero() {
			where(clause, at.UnixMicro())
		}
	}
	most, err := limit(r)
	if err != nil {
		return err
	}
	list := "history, " + order
	last, err := after(r, list, 1)
	if err != nil {
		return err
	}
	if last[0] != "" {
		id, err := strconv.ParseUint(last[0], 10, 63)
		if err != nil {
			return problem(InvalidParameter, "cursor is not one that this list gave")
		}
		where(map[string]string{"newest": "id < ?", "oldest": "id > ?"}[order], id)
	}
	query += map[string]string{"newest": " ORDER BY id DESC LIMIT ?", "oldest": " ORDER BY id LIMIT ?"}[order]
	arguments = append(arguments, most+1)
	out := historyView{Account: account.String(), Messages: []messageView{}}
	out.Position, err = s.history(w, r, c, account, func(ctx context.Context) error {
		rows, err := s.opts.Reads.History.Query(ctx, query, arguments...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m messageView
			id := uint64(math.MaxUint64)
			if err := rows.Scan(&id, &m.At, &m.Direction, &m.Peer, &m.PeerResource, &m.Resource, &m.Type, &m.Message, &m.MessageID, &m.Body); err != nil {
				return err
			}
			m.ID, m.At = strconv.FormatUint(id, 10), m.At.UTC()
			out.Messages = append(out.Messages, m)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	if len(out.Messages) > most {
		out.Messages = out.Messages[:most]
		out.Next = cursor(list, out.Messages[most-1].ID)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}
