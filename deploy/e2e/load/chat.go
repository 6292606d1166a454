//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

type chatCommand struct {
	crowdFlags
	Rate   int           `help:"Messages a second." default:"1000"`
	Warmup time.Duration `help:"Messages before it is measured." default:"5s"`
	For    time.Duration `help:"How long it is measured." default:"30s"`
}

// Run has users write to their friends at fixed times, and measures until the
// friend's socket had the message.
func (c *chatCommand) Run(ctx context.Context, e *environment) error {
	return c.steadily(ctx, e, steady{
		what: "chat", event: "messages", reach: 1, rate: c.Rate, warmup: c.Warmup, lasts: c.For,
		say: func(w *crowd, user, n int) error {
			to := w.name(w.friend(user, n%w.Friends)) + "@" + w.run.Domain
			return w.members[user].session.write(fmt.Appendf(nil,
				"<message type='chat' id='s%d' to='%s'><body>This is what somebody says to a friend, number %[1]d.</body></message>", n, to))
		},
	})
}
