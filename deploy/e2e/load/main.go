//go:build linux

// Command load measures a whole Rollcall from its clients' sockets: it logs
// many clients in to a running `rollcall dev --insecure-auth`, has them do
// what a scenario says, and prints how long it took to reach the contacts and
// what each part of the system used of the processor.
//
//	rollcall dev --data DIR --insecure-auth
//	go run ./deploy/e2e/load status --run DIR/run.json
//
// Clients run in this process, on the same machine: a client that costs
// little is part of the measurement. It needs Linux.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type cli struct {
	RunFile string `name:"run" help:"run.json of a running rollcall dev." required:"" type:"existingfile" placeholder:"DIR/run.json"`
	JSON    string `name:"json" help:"Add the figures to this file, a line for each report." placeholder:"FILE"`

	Prepare    prepareCommand    `cmd:"" help:"Make accounts and friendships; the other scenarios do so where they are missing."`
	Status     statusCommand     `cmd:"" help:"How long a status change takes to a contact's socket, at a fixed rate."`
	Chat       chatCommand       `cmd:"" help:"How long a message takes to a friend's socket, at a fixed rate."`
	Deliveries deliveriesCommand `cmd:"" help:"How many deliveries a second with so many changes in flight."`
	Storm      stormCommand      `cmd:"" help:"Everybody logs in at once."`
	Idle       idleCommand       `cmd:"" help:"Memory of an idle connection."`
}

// crowdFlags say who is online.
type crowdFlags struct {
	Users   int           `help:"Accounts." default:"2000"`
	Friends int           `help:"Contacts of each, all online." default:"50"`
	Rest    time.Duration `help:"Quiet after everybody is online." default:"3s"`
}

func (f crowdFlags) circle() circle { return circle{f.Users, f.Friends} }

// gather prepares, and logs everybody in.
func (f crowdFlags) gather(ctx context.Context, e *environment) (*crowd, error) {
	if err := f.prepare(ctx, e); err != nil {
		return nil, err
	}
	w, err := newCrowd(e.run, f.circle(), e.keys)
	if err != nil {
		return nil, err
	}
	if err := w.arrive(ctx); err != nil {
		return nil, err
	}
	time.Sleep(f.Rest)
	return w, nil
}

// prepare makes accounts and friendships where they are missing.
func (f crowdFlags) prepare(ctx context.Context, e *environment) error {
	out := newReport(e.run, fmt.Sprintf("prepare: %d users × %d friends", f.Users, f.Friends))
	if err := prepare(ctx, e.run, f.circle(), e.keys, out); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	if len(out.Figures) == 0 {
		return nil
	}
	return e.print(out)
}

type prepareCommand struct{ crowdFlags }

// Run makes what is missing.
func (c *prepareCommand) Run(ctx context.Context, e *environment) error { return c.prepare(ctx, e) }

// environment is what every scenario has.
type environment struct {
	run  *run
	keys *keyring
	json string // file for the figures; empty: none
}

// print shows the figures, and keeps them if asked.
func (e *environment) print(r *report) error {
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	if e.json == "" {
		return nil
	}
	return r.appendTo(e.json)
}

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("load"), kong.Description("Measures a whole Rollcall from its clients' sockets."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := readRun(c.RunFile)
	k.FatalIfErrorf(err)
	k.BindTo(ctx, (*context.Context)(nil))
	k.FatalIfErrorf(k.Run(&environment{run: r, keys: new(keyring), json: c.JSON}))
}
