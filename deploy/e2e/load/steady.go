//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// steady is something that users do at a fixed rate, each time another one.
type steady struct {
	what, event   string // "status", "changes"
	reach         int    // sockets that hear of it
	rate          int    // a second
	warmup, lasts time.Duration
	say           func(w *crowd, user, n int) error // does it for the n-th time
}

// steadily does it at fixed times, whether the system keeps up or not, and
// measures from when each was due until each socket had it: what waits in
// front of a slow system counts.
func (f crowdFlags) steadily(ctx context.Context, e *environment, c steady) error {
	total := int((c.warmup + c.lasts).Seconds() * float64(c.rate))
	if c.rate < 1 || total > maxChanges {
		return fmt.Errorf("%d %s a second for %s: say 1 to %d in all", c.rate, c.event, c.warmup+c.lasts, maxChanges)
	}
	w, err := f.gather(ctx, e)
	if err != nil {
		return err
	}
	on := newChanges(c.reach, nil)
	w.on.Store(on)
	order := rand.New(rand.NewPCG(1, 2)).Perm(f.Users)
	var from usage
	first := time.Now()
	counting := false
	for n := range total {
		at := first.Add(time.Duration(n) * time.Second / time.Duration(c.rate))
		time.Sleep(time.Until(at))
		if !counting && at.Sub(first) >= c.warmup {
			counting = true
			on.counting.Store(true)
			if from, err = e.run.measure(); err != nil {
				return err
			}
		}
		on.made(n, at)
		if err := c.say(w, order[n%f.Users], n); err != nil {
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
	out := newReport(e.run, fmt.Sprintf("%s: %d %s/s, each to %d, %d users on %d edges", c.what, c.rate, c.event, c.reach, f.Users, e.run.edges()))
	on.report(out)
	delivered := on.delivered.Load()
	out.add("deliveries", float64(delivered)/to.at.Sub(from.at).Seconds(), "a second")
	out.add(c.event+" not heard by all", float64(missing), "")
	out.cpu(from, to, delivered, "delivery")
	return e.print(out)
}
