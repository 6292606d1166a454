//go:build linux

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

type stormCommand struct {
	crowdFlags
	Parallel int `help:"Logins that are under way at the same time; 0: all." default:"0"`
}

// Run has everybody log in once to derive the clients' keys, and log out, and
// then has all come back at once.
func (c *stormCommand) Run(ctx context.Context, e *environment) error {
	w, err := c.gather(ctx, e)
	if err != nil {
		return err
	}
	if err := w.leave(); err != nil {
		return err
	}
	time.Sleep(c.Rest) // what the leaving costs is not the storm's
	if w, err = newCrowd(e.run, c.circle(), e.keys); err != nil {
		return err
	}
	parallel := c.Parallel
	if parallel <= 0 {
		parallel = c.Users
	}
	from, err := e.run.measure()
	if err != nil {
		return err
	}
	began := time.Now()
	var last atomic.Int64
	if err := w.enter(ctx, parallel, greeting, func() { last.Store(int64(time.Since(began))) }); err != nil {
		return err
	}
	bound := time.Duration(last.Load())
	if err := w.await(ctx, w.allRoster, time.Minute, func() string { return fmt.Sprintf("%d of %d have their roster", w.rosters.Load(), w.Users) }); err != nil {
		return err
	}
	rosters := time.Since(began)
	if err := w.await(ctx, w.allRight, time.Minute, func() string { return fmt.Sprintf("%d of %d views are right", w.right.Load(), w.Users) }); err != nil {
		return err
	}
	right := time.Since(began)
	to, err := e.run.measure()
	if err != nil {
		return err
	}
	lost := w.reactor.lost.Load()
	if err := w.leave(); err != nil {
		return err
	}
	out := newReport(e.run, fmt.Sprintf("storm: %d logins with %d friends on %d edges", c.Users, c.Friends, e.run.edges()))
	users := float64(c.Users)
	out.add("logins until bound", users/bound.Seconds(), "a second")
	out.add("logins until the roster is there", users/rosters.Seconds(), "a second")
	out.add("until the last is bound", bound.Seconds(), "s")
	out.add("until the last has its roster", rosters.Seconds(), "s")
	out.add("until every view is right", right.Seconds(), "s")
	out.add("streams lost", float64(lost), "")
	out.cpu(from, to, int64(c.Users), "login")
	return e.print(out)
}
