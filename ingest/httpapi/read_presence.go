package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/subscription"
)

// resourceView is an available resource.
type resourceView struct {
	Contact  string    `json:"contact,omitempty"` // in a list of contacts
	Resource string    `json:"resource"`
	Show     string    `json:"show,omitempty"`
	Status   string    `json:"status,omitempty"`
	Priority int       `json:"priority"`
	Since    time.Time `json:"since"`
}

type presenceView struct {
	Account   string         `json:"account"`
	Available bool           `json:"available"`
	Resources []resourceView `json:"resources"`
	Left      *leftView      `json:"left,omitempty"` // of who is not available and was before
	Position  string         `json:"position"`
}

type leftView struct {
	At     time.Time `json:"at"`
	Status string    `json:"status,omitempty"`
}

// getPresence tells what an account is, as contacts see it.
func (s *Server) getPresence(w http.ResponseWriter, r *http.Request, c *call) error {
	account, err := s.account(r, c)
	if err != nil {
		return err
	}
	out := presenceView{Account: account.String(), Resources: []resourceView{}}
	out.Position, err = s.view(w, r, c, account, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT resource, show, status, priority, since FROM views.resource r WHERE account = $1 AND available
AND NOT EXISTS (SELECT FROM views.hidden h WHERE h.account = r.account AND h.resource = r.resource AND h.viewer = '')
ORDER BY priority DESC, resource`, account.String())
		if err != nil {
			return err
		}
		var one resourceView
		if _, err := pgx.ForEachRow(rows, []any{&one.Resource, &one.Show, &one.Status, &one.Priority, &one.Since}, func() error {
			one.Since = one.Since.UTC()
			out.Resources = append(out.Resources, one)
			return nil
		}); err != nil {
			return err
		}
		if out.Available = len(out.Resources) > 0; out.Available {
			return nil
		}
		var at *time.Time
		var status string
		err = tx.QueryRow(ctx, `SELECT left_at, left_status FROM views.account WHERE account = $1`, account.String()).Scan(&at, &status)
		if at != nil {
			out.Left = &leftView{at.UTC(), status}
		}
		return err
	})
	if err == nil {
		writeJSON(w, http.StatusOK, out)
	}
	return err
}

type friendsView struct {
	Account  string         `json:"account"`
	Friends  []resourceView `json:"friends"`
	Next     string         `json:"next,omitempty"` // cursor of the next page
	Position string         `json:"position"`
}

// getFriends tells whom an account sees online.
func (s *Server) getFriends(w http.ResponseWriter, r *http.Request, c *call) error {
	account, err := s.account(r, c)
	if err != nil {
		return err
	}
	most, err := limit(r)
	if err != nil {
		return err
	}
	from, err := after(r, "friends", 2)
	if err != nil {
		return err
	}
	out := friendsView{Account: account.String(), Friends: []resourceView{}}
	out.Position, err = s.view(w, r, c, account, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT contact, resource, show, status, priority, since FROM views.online_friends
WHERE owner = $1 AND (contact, resource) > ($2, $3) ORDER BY contact, resource LIMIT $4`, account.String(), from[0], from[1], most+1)
		if err != nil {
			return err
		}
		var one resourceView
		_, err = pgx.ForEachRow(rows, []any{&one.Contact, &one.Resource, &one.Show, &one.Status, &one.Priority, &one.Since}, func() error {
			one.Since = one.Since.UTC()
			out.Friends = append(out.Friends, one)
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	if len(out.Friends) > most {
		out.Friends = out.Friends[:most]
		out.Next = cursor("friends", out.Friends[most-1].Contact, out.Friends[most-1].Resource)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

type rosterView struct {
	Account  string     `json:"account"`
	Items    []itemView `json:"items"`
	Next     string     `json:"next,omitempty"` // cursor of the next page
	Position string     `json:"position"`
}

// itemView is an item of a roster (RFC 6121, section 2.1.2).
type itemView struct {
	Contact      string   `json:"contact"`
	Name         string   `json:"name,omitempty"`
	Groups       []string `json:"groups"`
	Subscription string   `json:"subscription"` // none, to, from or both
	Ask          bool     `json:"ask"`          // a request to subscribe waits for the contact's answer
	Approved     bool     `json:"approved"`     // the contact is approved before it asks
	Version      int64    `json:"version"`
}

// getRoster tells whom an account has in its roster.
func (s *Server) getRoster(w http.ResponseWriter, r *http.Request, c *call) error {
	account, err := s.account(r, c)
	if err != nil {
		return err
	}
	most, err := limit(r)
	if err != nil {
		return err
	}
	from, err := after(r, "roster", 1)
	if err != nil {
		return err
	}
	out := rosterView{Account: account.String(), Items: []itemView{}}
	out.Position, err = s.view(w, r, c, account, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT contact, name, groups, state, version FROM views.roster_item
WHERE account = $1 AND NOT removed AND contact > $2 ORDER BY contact LIMIT $3`, account.String(), from[0], most+1)
		if err != nil {
			return err
		}
		for rows.Next() {
			one := itemView{}
			var state subscription.State
			if err := rows.Scan(&one.Contact, &one.Name, &one.Groups, &state, &one.Version); err != nil {
				return err
			}
			if one.Groups == nil {
				one.Groups = []string{}
			}
			one.Subscription = [...]string{"none", "to", "from", "both"}[state&(subscription.To|subscription.From)]
			one.Ask, one.Approved = state&subscription.PendingOut != 0, state&subscription.Approved != 0
			out.Items = append(out.Items, one)
		}
		return rows.Err()
	})
	if err != nil {
		return err
	}
	if len(out.Items) > most {
		out.Items = out.Items[:most]
		out.Next = cursor("roster", out.Items[most-1].Contact)
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}
