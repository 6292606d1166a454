//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

type deliveriesCommand struct {
	crowdFlags
	InFlight int           `help:"Changes that are not heard by all yet." default:"64"`
	Warmup   time.Duration `help:"Changes before it is measured." default:"3s"`
	For      time.Duration `help:"How long it is measured." default:"20s"`
}

// Run keeps a number of status changes in flight: when all contacts have
// heard of one, another user makes the next.
func (c *deliveriesCommand) Run(ctx context.Context, e *environment) error {
	if c.InFlight < 1 || c.InFlight > c.Users {
		return fmt.Errorf("%d changes in flight: say 1 to the number of users", c.InFlight)
	}
	w, err := c.gather(ctx, e)
	if err != nil {
		return err
	}
	slots := make(chan struct{}, c.InFlight)
	for range c.InFlight {
		slots <- struct{}{}
	}
	on := newChanges(c.Friends, func(int) { slots <- struct{}{} })
	w.on.Store(on)
	order := rand.New(rand.NewPCG(1, 2)).Perm(c.Users)
	start := time.After(c.Warmup)
	var stop <-chan time.Time
	var from, to usage
	n := 0
	for ; n < maxChanges && to.roles == nil; n++ {
		select {
		case <-slots:
		case <-time.After(10 * time.Second):
			return fmt.Errorf("no change was heard by all within 10 s: %d of %d are missing something", on.unsettled.Load(), n)
		case err := <-w.errors:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-start:
			if from, err = e.run.measure(); err != nil {
				return err
			}
			on.counting.Store(true)
			stop = time.After(c.For)
		case <-stop:
			on.counting.Store(false)
			if to, err = e.run.measure(); err != nil {
				return err
			}
		default:
		}
		on.made(n, time.Now())
		if err := w.members[order[n%c.Users]].session.write(change(n)); err != nil {
			return err
		}
	}
	if to.roles == nil {
		return fmt.Errorf("%d changes were over before %s", maxChanges, c.For)
	}
	if err := w.leave(); err != nil {
		return err
	}
	delivered := on.delivered.Load()
	seconds := to.at.Sub(from.at).Seconds()
	out := newReport(e.run, fmt.Sprintf("deliveries: %d changes in flight, %d users × %d friends on %d edges", c.InFlight, c.Users, c.Friends, e.run.edges()))
	out.add("deliveries", float64(delivered)/seconds, "a second")
	out.add("changes", float64(delivered)/seconds/float64(c.Friends), "a second")
	on.report(out)
	out.cpu(from, to, delivered, "delivery")
	return e.print(out)
}
