//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

type statusCommand struct {
	crowdFlags
	Rate   int           `help:"Status changes a second." default:"100"`
	Warmup time.Duration `help:"Changes before it is measured." default:"5s"`
	For    time.Duration `help:"How long it is measured." default:"30s"`
}

// Run makes status changes at fixed times, whether the system keeps up or
// not, and measures from when each was to be made until each contact's socket
// had it: what waits in front of a slow system counts.
func (c *statusCommand) Run(ctx context.Context, e *environment) error {
	total := int((c.Warmup + c.For).Seconds() * float64(c.Rate))
	if c.Rate < 1 || total > maxChanges {
		return fmt.Errorf("%d changes a second for %s: say 1 to %d changes in all", c.Rate, c.Warmup+c.For, maxChanges)
	}
	w, err := c.gather(ctx, e)
	if err != nil {
		return err
	}
	on := newChanges(c.Friends, nil)
	w.on.Store(on)
	order := rand.New(rand.NewPCG(1, 2)).Perm(c.Users)
	var from usage
	first := time.Now()
	counting := false
	for n := range total {
		at := first.Add(time.Duration(n) * time.Second / time.Duration(c.Rate))
		time.Sleep(time.Until(at))
		if !counting && at.Sub(first) >= c.Warmup {
			counting = true
			on.counting.Store(true)
			if from, err = e.run.measure(); err != nil {
				return err
			}
		}
		on.made(n, at)
		if err := w.members[order[n%c.Users]].session.write(change(n)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	to, err := e.run.measure()
	if err != nil {
		return err
	}
	for late := time.Now().Add(10 * time.Second); on.unsettled.Load() > 0 && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	missing := on.unsettled.Load()
	if err := w.leave(); err != nil {
		return err
	}
	out := newReport(e.run, fmt.Sprintf("status: %d changes/s × %d contacts, %d users on %d edges", c.Rate, c.Friends, c.Users, e.run.edges()))
	on.report(out)
	delivered := on.delivered.Load()
	out.add("deliveries", float64(delivered)/to.at.Sub(from.at).Seconds(), "a second")
	out.add("changes not heard by all", float64(missing), "")
	out.cpu(from, to, delivered, "delivery")
	return e.print(out)
}
