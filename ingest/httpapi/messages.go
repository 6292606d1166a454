package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// messageRequest is the body of POST /v1/messages.
type messageRequest struct {
	content
	To recipients `json:"to"`
}

// recipients are one JID or several.
type recipients []string

// UnmarshalJSON takes a string or a list of them.
func (r *recipients) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil && string(b) != "null" {
		*r = recipients{one}
		return nil
	}
	var many []*string
	if err := json.Unmarshal(b, &many); err != nil {
		return errors.New("to is neither a JID nor a list of JIDs")
	}
	for _, to := range many {
		if to == nil {
			return errors.New("to has a null in it")
		}
		*r = append(*r, *to)
	}
	return nil
}

// messageAnswer is the answer, when a recipient at least has the message.
type messageAnswer struct {
	Accepted int      `json:"accepted"`
	Results  []result `json:"results"`
}

// The ends that a message can come to, for a recipient.
const (
	statusAccepted = "accepted" // it is in the log
	statusRefused  = "refused"  // the same request will never get it there
	statusFailed   = "failed"   // it is not known to be in the log; send the request again
)

// A result tells what came of one recipient.
type result struct {
	To      string `json:"to"` // as the request has it
	Status  string `json:"status"`
	ID      string `json:"id,omitempty"`      // as the recipient sees it (XEP-0359), the position in its history; accepted only
	Message string `json:"message,omitempty"` // the id of the event, the same on both sides; accepted only
	Code    Code   `json:"code,omitempty"`    // not accepted
	Detail  string `json:"detail,omitempty"`
}

func (r *result) refuse(code Code, detail string, args ...any) {
	r.Status, r.Code, r.Detail = statusRefused, code, fmt.Sprintf(detail, args...)
}

// A recipient is one that gets the message.
type recipient struct {
	place int // in results
	to    jid.JID
	id    uuid.UUID // of its event
}

// postMessages puts a message into the histories of its recipients, and answers
// once the log has it.
func (s *Server) postMessages(w http.ResponseWriter, r *http.Request, c *call) error {
	var request messageRequest
	if err := decode(c.body, &request); err != nil {
		return err
	}
	switch n := len(request.To); {
	case n == 0:
		return problem(InvalidField, "to names nobody")
	case n > s.opts.Limits.Recipients:
		return problem(TooManyRecipients, "to names %d, it may name %d", n, s.opts.Limits.Recipients)
	}
	accepted, err := s.accepted(c.key, &request.content, c.request)
	if err != nil {
		return err
	}
	results, those, err := s.resolve(r.Context(), c.key, request.To, c.request)
	if err != nil {
		return err
	}
	if c.again {
		// The first try may have come this far before its process died.
		if those, err = s.found(r.Context(), c, those, results); err != nil {
			return err
		}
	}
	s.append(those, accepted, results)
	return s.tell(w, results)
}

// tell answers with what came of the recipients.
func (s *Server) tell(w http.ResponseWriter, results []result) error {
	count := make(map[string]int)
	for _, r := range results {
		count[r.Status]++
		label := string(r.Code)
		if r.Status == statusAccepted {
			label = statusAccepted
		}
		s.metrics.messages.WithLabelValues(label).Inc()
	}
	var p *Problem
	switch {
	case count[statusFailed] > 0:
		p = problem(LogUnavailable, "%d of %d recipients are not known to have it; send the request again, with an Idempotency-Key", count[statusFailed], len(results))
	case count[statusAccepted] == 0:
		p = problem(NoRecipient, "each of %d recipients is refused", len(results))
	default:
		writeJSON(w, http.StatusOK, messageAnswer{count[statusAccepted], results})
		return nil
	}
	p.Results = results
	return p
}

// resolve tells which of the JIDs can get a message, and what is wrong with the
// others.
func (s *Server) resolve(ctx context.Context, key *Key, to []string, request uuid.UUID) ([]result, []recipient, error) {
	results := make([]result, len(to))
	var those []recipient
	named := make(map[jid.JID]bool)
	var accounts []string
	for i, text := range to {
		r := &results[i]
		r.To = text
		j, err := jid.Parse(text)
		switch {
		case err != nil:
			r.refuse(BadJID, "%s", err)
		case j.Domain() != key.Domain || j.Domain() != s.opts.Domain:
			r.refuse(UnknownDomain, "%s is not served here, or not for this key", j.Domain())
		case j.Local() == "":
			r.refuse(UnknownAccount, "%s is a domain, not an account", j)
		case named[j]:
			r.refuse(RepeatedRecipient, "%s is there twice", j)
		default:
			named[j] = true
			those = append(those, recipient{i, j, derivedID(request, j.String())})
			accounts = append(accounts, j.Bare().String())
		}
	}
	live, err := s.live(ctx, accounts)
	if err != nil {
		return nil, nil, err
	}
	n := 0
	for _, r := range those {
		if !live[r.to.Bare().String()] {
			results[r.place].refuse(UnknownAccount, "there is no account %s", r.to.Bare())
			continue
		}
		those[n] = r
		n++
	}
	return results, those[:n], nil
}

// live gives those of the accounts that exist.
func (s *Server) live(ctx context.Context, accounts []string) (map[string]bool, error) {
	live := make(map[string]bool)
	if len(accounts) == 0 {
		return live, nil
	}
	rows, err := s.opts.Postgres.Query(ctx, `SELECT account FROM auth.account WHERE account = ANY($1) AND live`, accounts)
	if err != nil {
		return nil, fmt.Errorf("look up accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var account string
		if err := rows.Scan(&account); err != nil {
			return nil, fmt.Errorf("look up accounts: %w", err)
		}
		live[account] = true
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look up accounts: %w", err)
	}
	return live, nil
}

// append puts the message into the histories of those, and returns when each
// append has come to its end.
func (s *Server) append(those []recipient, m *event.MessageAccepted, results []result) {
	type end struct {
		recipient
		at  topic.Position
		err error
	}
	// The appender's one goroutine must not wait.
	ends := make(chan end, len(those))
	for _, r := range those {
		e := &event.Event{Id: r.id[:], Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: m.From, Resource: r.to.Resource(), Message: m.Message, MaxWaiting: m.MaxWaiting,
		}}}
		s.writer.Append(r.to.Bare(), e, func(at topic.Position, err error) { ends <- end{r, at, err} })
	}
	for range those {
		switch e := <-ends; {
		case e.err == nil:
			results[e.place].accept(e.id, e.at.Offset)
		case errors.Is(e.err, eventlog.ErrRefused):
			results[e.place].refuse(BadPayload, "the message is too large for the log")
		default:
			s.opts.Logger.Warn("message not known to be stored", "account", e.to.Bare(), "err", e.err)
			results[e.place].Status, results[e.place].Code = statusFailed, LogUnavailable
			results[e.place].Detail = "the log did not say in time that it has the message; it may have it"
		}
	}
}

func (r *result) accept(id uuid.UUID, offset int64) {
	r.Status, r.ID, r.Message = statusAccepted, strconv.FormatInt(offset, 10), id.String()
}

// derivedID gives the id of the event that a request causes for a recipient:
// the same in every try. It is a UUIDv7 of the request's time.
func derivedID(request uuid.UUID, to string) (id uuid.UUID) {
	sum := sha256.Sum256(append(request[:], to...))
	copy(id[:], sum[:])
	copy(id[:6], request[:6])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
