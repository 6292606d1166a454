package main

import (
	"context"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/schema/topic"
)

type projectorCommand struct{ roleFlags }

// Run projects until ctx ends.
func (c *projectorCommand) Run(ctx context.Context) error {
	r, err := c.begin(ctx, 6)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

func (c *projectorCommand) serve(ctx context.Context, r *role) error {
	tail, err := r.tail(topic.Account)
	if err != nil {
		return err
	}
	member, err := r.member("rollcall-projector", topic.Account)
	if err != nil {
		return err
	}
	p, err := projector.New(projector.Options{
		Postgres: r.pool, Partitions: r.partitions, Tail: projectorTail{tail}, Appender: projectorAppender{r.appender}, Member: member,
		Logger: r.log, Registerer: r.admin.registry,
	})
	if err != nil {
		return err
	}
	r.started()
	return p.Run(ctx)
}
