package accounts

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
)

// client is a client of an account, by its id as a user agent (XEP-0388).
type client struct {
	account string
	id      uuid.UUID
}

// marked is what a login by a token needs.
type marked struct {
	keys stream.Keys
	mark stream.Mark
}

// LookupClient implements stream.Tokens.
func (s *Store) LookupClient(ctx context.Context, account jid.Bare, id uuid.UUID) (stream.Keys, stream.Mark, error) {
	m, err := s.clients.Ask(ctx, client{account.String(), id})
	switch {
	case err != nil:
		return stream.Keys{}, stream.Mark{}, fmt.Errorf("keys of %s: %w", account, err)
	case m == nil:
		return stream.Keys{}, stream.Mark{}, stream.ErrNoAccount
	}
	return m.keys, m.mark, nil
}

func (s *Store) loadClients(ctx context.Context, clients []client) ([]*marked, error) {
	accounts, ids := make([]string, len(clients)), make([]uuid.UUID, len(clients))
	for i, c := range clients {
		accounts[i], ids[i] = c.account, c.id
	}
	rows, err := s.pool.Query(ctx, `SELECT q.place, coalesce(m.generation, 0), coalesce(m.period, 0), `+keyColumns+`
FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS q (account, client, place)
JOIN auth.account a ON a.account = q.account AND a.live
LEFT JOIN auth.token_mark m ON m.account = q.account AND m.client = q.client`, accounts, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make([]*marked, len(clients))
	for rows.Next() {
		var (
			place int64
			m     marked
		)
		if err := rows.Scan(append([]any{&place, &m.mark.Generation, &m.mark.Period}, places(&m.keys)...)...); err != nil {
			return nil, err
		}
		found[place-1] = &m
	}
	return found, rows.Err()
}

// SetMark implements stream.Tokens. It forgets the account's clients whose
// last tokens are over since long.
func (s *Store) SetMark(ctx context.Context, account jid.Bare, id uuid.UUID, m stream.Mark) error {
	// One statement: a crash leaves all of it or nothing.
	_, err := s.pool.Exec(ctx, `WITH gone AS (
	DELETE FROM auth.token_mark WHERE account = $1 AND client <> $2 AND period < $4 - 3
)
INSERT INTO auth.token_mark AS m (account, client, generation, period) VALUES ($1, $2, $3, $4)
ON CONFLICT (account, client) DO UPDATE SET
	generation = greatest(m.generation, excluded.generation), period = greatest(m.period, excluded.period)`,
		account.String(), id, m.Generation, m.Period)
	if err != nil {
		return fmt.Errorf("mark a client of %s: %w", account, err)
	}
	return nil
}
