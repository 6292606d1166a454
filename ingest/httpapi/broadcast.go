package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// broadcastRequest is the body of POST /v1/broadcast.
type broadcastRequest struct {
	content
	Audience string `json:"audience"`  // online or all
	RosterOf string `json:"roster_of"` // of this account's contacts alone
	Group    string `json:"group"`     // of those in this group of its roster alone
}

// The states of a broadcast.
const (
	running    = "running"
	cancelling = "cancelling" // what is under way is still counted
	cancelled  = "cancelled"
	done       = "done"
)

// A broadcastStatus tells how far a broadcast has come.
type broadcastStatus struct {
	ID       uuid.UUID  `json:"id"`
	State    string     `json:"state"`
	Audience string     `json:"audience"`
	RosterOf string     `json:"roster_of,omitempty"`
	Group    string     `json:"group,omitempty"`
	Total    int64      `json:"total"` // recipients
	Sent     int64      `json:"sent"`  // recipients whose message is in the log: exact once it has ended, at least so many before
	Created  time.Time  `json:"created_at"`
	Ended    *time.Time `json:"ended_at,omitempty"`
}

const statusColumns = `id, state, audience, coalesce(roster_of, ''), coalesce(roster_group, ''), total, sent, created_at, ended_at`

func scanStatus(row pgx.Row) (b broadcastStatus, err error) {
	err = row.Scan(&b.ID, &b.State, &b.Audience, &b.RosterOf, &b.Group, &b.Total, &b.Sent, &b.Created, &b.Ended)
	return b, err
}

// postBroadcast notes a broadcast and whom it is for; then it is worked on.
func (s *Server) postBroadcast(w http.ResponseWriter, r *http.Request, c *call) error {
	var request broadcastRequest
	if err := decode(c.body, &request); err != nil {
		return err
	}
	if request.Audience != "online" && request.Audience != "all" {
		return problem(InvalidField, "audience is %s; it may be online or all", quoted(request.Audience))
	}
	owner, err := s.rosterOf(r.Context(), c.key, &request)
	if err != nil {
		return err
	}
	accepted, err := s.accepted(c.key, &request.content, c.request)
	if err != nil {
		return err
	}
	status, err := s.noteBroadcast(r.Context(), c, &request, owner, accepted)
	if err != nil {
		return err
	}
	s.kickWork()
	w.Header().Set("Location", "/v1/broadcast/"+status.ID.String())
	writeJSON(w, http.StatusAccepted, status)
	return nil
}

// rosterOf gives the account whose contacts are meant, "" for the whole domain.
func (s *Server) rosterOf(ctx context.Context, key *Key, r *broadcastRequest) (string, error) {
	if strings.ContainsFunc(r.Group, notXML) || len(r.Group) > 1023 {
		return "", problem(InvalidField, "group is no name of a roster group")
	}
	if r.RosterOf == "" {
		if r.Group != "" {
			return "", problem(InvalidField, "group needs roster_of")
		}
		if key.Domain != s.opts.Domain {
			return "", problem(DomainNotAllowed, "the key %s is for %s, which is not served here", key.ID, key.Domain)
		}
		return "", nil
	}
	owner, err := jid.ParseBare(r.RosterOf)
	if err != nil {
		return "", problem(BadJID, "roster_of: %s", err)
	}
	if owner.Domain() != key.Domain || owner.Domain() != s.opts.Domain {
		return "", problem(DomainNotAllowed, "the key %s may not read the roster of %s", key.ID, owner)
	}
	live, err := s.live(ctx, []string{owner.String()})
	if err == nil && !live[owner.String()] {
		err = problem(UnknownAccount, "there is no account %s", owner)
	}
	return owner.String(), err
}

// audiences select the accounts of a domain ($2), or the contacts of an account
// ($3) or of a group of its roster ($4).
var audiences = map[string]string{
	"all":    `SELECT a.account FROM auth.account a WHERE a.live AND split_part(a.account, '@', 2) = $2` + inRoster,
	"online": `SELECT DISTINCT a.account FROM auth.account a JOIN views.resource r ON r.account = a.account AND r.available WHERE a.live AND split_part(a.account, '@', 2) = $2` + inRoster,
}

const inRoster = ` AND ($3 = '' OR EXISTS (SELECT FROM views.roster_item i
	WHERE i.account = $3 AND i.contact = a.account AND NOT i.removed AND ($4 = '' OR $4 = ANY(i.groups))))`

// noteBroadcast writes a broadcast down with its recipients, once. A crash after it
// leaves a broadcast that nobody works on: whoever looks next does.
func (s *Server) noteBroadcast(ctx context.Context, c *call, r *broadcastRequest, owner string, m *event.MessageAccepted) (status broadcastStatus, err error) {
	message, err := proto.Marshal(m)
	if err != nil {
		return status, fmt.Errorf("encode a broadcast: %w", err)
	}
	err = pgx.BeginFunc(ctx, s.opts.Postgres, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `INSERT INTO run.broadcast (id, api_key, domain, audience, roster_of, roster_group, accepted, state, total)
VALUES ($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), $7, 'running', 0) ON CONFLICT (id) DO NOTHING`,
			c.request, c.key.ID, c.key.Domain, r.Audience, owner, r.Group, message)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 1 { // else an earlier try of the request has come so far
			tag, err := tx.Exec(ctx, `INSERT INTO run.broadcast_recipient (broadcast, n, account)
SELECT $1, row_number() OVER (ORDER BY q.account) - 1, q.account FROM (`+audiences[r.Audience]+`) q`, c.request, c.key.Domain, owner, r.Group)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `UPDATE run.broadcast SET total = $2 WHERE id = $1`, c.request, tag.RowsAffected()); err != nil {
				return err
			}
		}
		status, err = scanStatus(tx.QueryRow(ctx, `SELECT `+statusColumns+` FROM run.broadcast WHERE id = $1`, c.request))
		return err
	})
	if err != nil {
		return status, fmt.Errorf("note a broadcast: %w", err)
	}
	return status, nil
}

// getBroadcast tells how far a broadcast has come.
func (s *Server) getBroadcast(w http.ResponseWriter, r *http.Request, c *call) error {
	status, err := s.broadcast(r, c, `SELECT `+statusColumns+` FROM run.broadcast WHERE id = $1 AND domain = $2`)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, status)
	return nil
}

// deleteBroadcast ends a broadcast that runs. Who has the message keeps it.
func (s *Server) deleteBroadcast(w http.ResponseWriter, r *http.Request, c *call) error {
	status, err := s.broadcast(r, c, `UPDATE run.broadcast SET state = CASE state WHEN 'running' THEN 'cancelling' ELSE state END
WHERE id = $1 AND domain = $2 RETURNING `+statusColumns)
	if err != nil {
		return err
	}
	s.kickWork()
	code := http.StatusAccepted
	if status.Ended != nil {
		code = http.StatusOK
	}
	writeJSON(w, code, status)
	return nil
}

func (s *Server) broadcast(r *http.Request, c *call, sql string) (broadcastStatus, error) {
	id, err := uuid.Parse(r.PathValue("id"))
	if err != nil || len(r.PathValue("id")) != 36 {
		return broadcastStatus{}, problem(InvalidParameter, "%s is not the id of a broadcast", quoted(r.PathValue("id")))
	}
	status, err := scanStatus(s.opts.Postgres.QueryRow(r.Context(), sql, id, c.key.Domain))
	if err == pgx.ErrNoRows {
		return status, problem(NotFound, "there is no broadcast %s", id)
	}
	if err != nil {
		return status, fmt.Errorf("read broadcast %s: %w", id, err)
	}
	return status, nil
}
