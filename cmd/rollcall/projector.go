package main

import (
	"context"
	"time"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/schema/topic"
)

type projectorCommand struct {
	roleFlags

	MessageExpiry time.Duration `help:"How long a message waits for somebody to take it; negative: for ever." default:"720h"`
}

// Run projects until ctx ends.
func (c *projectorCommand) Run(ctx context.Context) error {
	if c.MessageExpiry == 0 {
		return zeroError("message-expiry")
	}
	r, err := c.begin(ctx, 6)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

func (c *projectorCommand) serve(ctx context.Context, r *role) error {
	tail, err := r.tail(topic.Account, projectorPace)
	if err != nil {
		return err
	}
	member, err := r.member("rollcall-projector", topic.Account)
	if err != nil {
		return err
	}
	p, err := projector.New(projector.Options{
		Postgres: r.pool, Partitions: r.partitions, Tail: projectorTail{tail}, Appender: projectorAppender{r.appender}, Member: member,
		MessageExpiry: c.MessageExpiry, Logger: r.log, Registerer: r.admin.registry,
	})
	if err != nil {
		return err
	}
	r.started()
	return p.Run(ctx)
}
