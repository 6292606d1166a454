package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/topic"
)

type statsView struct {
	Domain   string     `json:"domain"`
	Accounts int64      `json:"accounts"`
	Online   onlineView `json:"online"`
	Edges    []edgeView `json:"edges"`
	Lag      lagView    `json:"lag"`
	Position string     `json:"position"`
}

// onlineView counts what contacts may see: available, and not invisible.
type onlineView struct {
	Accounts  int64 `json:"accounts"`
	Resources int64 `json:"resources"`
}

type edgeView struct {
	Edge      string `json:"edge"`      // that is there, or whose sessions are not ended yet
	Connected int64  `json:"connected"` // resources, available or not
	Online    int64  `json:"online"`    // resources
}

// lagView tells how many records of the log, of every domain, are not read yet.
type lagView struct {
	Projector int64 `json:"projector"`
	History   int64 `json:"history"`
}

// getStats tells how much there is of the key's domain.
func (s *Server) getStats(w http.ResponseWriter, r *http.Request, c *call) error {
	ctx, cancel := context.WithTimeout(r.Context(), readTime)
	defer cancel()
	out := statsView{Domain: c.key.Domain, Edges: []edgeView{}}
	read := make(map[string]map[int32]int64)
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.opts.Postgres, options, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(`SELECT count(*) FROM views.account WHERE split_part(account, '@', 2) = $1`, out.Domain).QueryRow(func(row pgx.Row) error { return row.Scan(&out.Accounts) })
		const visible = `available AND NOT EXISTS (SELECT FROM views.hidden h WHERE h.account = r.account AND h.resource = r.resource AND h.viewer = '')`
		b.Queue(`SELECT count(DISTINCT account), count(*) FROM views.resource r WHERE split_part(account, '@', 2) = $1 AND `+visible, out.Domain).
			QueryRow(func(row pgx.Row) error { return row.Scan(&out.Online.Accounts, &out.Online.Resources) })
		b.Queue(`SELECT edge, sum(connected)::bigint, sum(online)::bigint FROM (
	SELECT edge, 1 AS connected, (`+visible+`)::int AS online FROM views.resource r WHERE split_part(account, '@', 2) = $1
	UNION ALL SELECT id, 0, 0 FROM run.lease WHERE kind = 'edge' AND domain = $1 AND NOT lost AND expires_at > now()
) AS of_edge GROUP BY edge ORDER BY edge`, out.Domain).Query(func(rows pgx.Rows) error {
			var e edgeView
			_, err := pgx.ForEachRow(rows, []any{&e.Edge, &e.Connected, &e.Online}, func() error { out.Edges = append(out.Edges, e); return nil })
			return err
		})
		for _, name := range []string{"views.projected", "run.history"} {
			next := make(map[int32]int64)
			read[name] = next
			b.Queue(`SELECT partition, next_offset FROM ` + name).Query(func(rows pgx.Rows) error {
				var n int32
				var offset int64
				_, err := pgx.ForEachRow(rows, []any{&n, &offset}, func() error { next[n] = offset; return nil })
				return err
			})
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return s.asked(w, r, c, err)
	}
	ends, err := s.opts.Offsets.Ends(ctx, topic.Account)
	if err != nil {
		s.opts.Logger.Warn("a read failed", "request", c.id, "err", fmt.Errorf("find the end of the log: %w", err))
		return away(w, "the log does not answer; try again")
	}
	position := make(feed.Vector)
	for n, end := range ends {
		position[n] = feed.Mark{Offset: read["views.projected"][n] - 1}
		out.Lag.Projector += max(0, end-read["views.projected"][n])
		out.Lag.History += max(0, end-read["run.history"][n])
	}
	out.Position = position.String()
	writeJSON(w, http.StatusOK, out)
	return nil
}
