package edgetest

import (
	"context"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
)

// LookupClient implements stream.Tokens.
func (c *credentials) LookupClient(ctx context.Context, account jid.Bare, client uuid.UUID) (stream.Keys, stream.Mark, error) {
	keys, err := c.Lookup(ctx, account)
	c.mu.Lock()
	defer c.mu.Unlock()
	return keys, c.marks[account.String()+client.String()], err
}

// SetMark implements stream.Tokens.
func (c *credentials) SetMark(_ context.Context, account jid.Bare, client uuid.UUID, m stream.Mark) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := account.String() + client.String()
	if c.marks == nil {
		c.marks = make(map[string]stream.Mark)
	}
	was := c.marks[key]
	c.marks[key] = stream.Mark{Generation: max(was.Generation, m.Generation), Period: max(was.Period, m.Period)}
	return nil
}
