//go:build linux

package main

import (
	"context"
	"time"
)

type statusCommand struct {
	crowdFlags
	Rate   int           `help:"Status changes a second." default:"100"`
	Warmup time.Duration `help:"Changes before it is measured." default:"5s"`
	For    time.Duration `help:"How long it is measured." default:"30s"`
}

// Run makes status changes at fixed times, and measures until each contact's
// socket had them.
func (c *statusCommand) Run(ctx context.Context, e *environment) error {
	return c.steadily(ctx, e, steady{
		what: "status", event: "changes", reach: c.Friends, rate: c.Rate, warmup: c.Warmup, lasts: c.For,
		say: func(w *crowd, user, n int) error { return w.members[user].session.write(change(n)) },
	})
}
