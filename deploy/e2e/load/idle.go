//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

type idleCommand struct {
	Connections int           `help:"Connections to one edge." default:"10000"`
	Accounts    int           `help:"Accounts that share them." default:"500"`
	TLS         bool          `name:"tls" help:"Direct TLS."`
	Bound       bool          `help:"Only bind; without it each has asked for its roster and is available."`
	Rest        time.Duration `help:"Quiet before memory is read." default:"10s"`
}

func idleName(i int) string { return "idle" + strconv.Itoa(i) }

// Run starts the first edge anew, opens connections to it, and compares its
// resident memory before and after.
func (c *idleCommand) Run(ctx context.Context, e *environment) error {
	if c.Accounts < 1 || c.Connections < 1 {
		return fmt.Errorf("%d connections of %d accounts: say at least 1", c.Connections, c.Accounts)
	}
	if _, err := register(ctx, e.run, "idle", c.Accounts+1, idleName); err != nil {
		return err
	}
	edge, err := e.run.freshEdge()
	if err != nil {
		return err
	}
	// One login of another account, so that what is loaded once is not counted.
	first, err := c.connect(e, edge, c.Accounts, "first")
	if err != nil {
		return err
	}
	defer first.Close()
	time.Sleep(c.Rest)
	before, err := residentBytes(edge.Pid)
	if err != nil {
		return err
	}
	began := time.Now()
	connections := make([]net.Conn, c.Connections)
	defer func() {
		for _, conn := range connections {
			if conn != nil {
				conn.Close()
			}
		}
	}()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i := range connections {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			var err error
			connections[i], err = c.connect(e, edge, i%c.Accounts, "idle"+strconv.Itoa(i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(began)
	note("%d connections after %.1f s", c.Connections, took.Seconds())
	time.Sleep(c.Rest)
	after, err := residentBytes(edge.Pid)
	if err != nil {
		return err
	}
	if err := collect(edge); err != nil {
		return err
	}
	time.Sleep(c.Rest)
	collected, err := residentBytes(edge.Pid)
	if err != nil {
		return err
	}
	kind := "plain"
	if c.TLS {
		kind = "TLS"
	}
	state := "available, with roster"
	if c.Bound {
		state = "bound"
	}
	out := newReport(e.run, fmt.Sprintf("idle: %d %s connections to one edge, %s", c.Connections, kind, state))
	n := float64(c.Connections)
	out.add("resident before", float64(before)/(1<<20), "MiB")
	out.add("resident after", float64(after)/(1<<20), "MiB")
	out.add("a connection", float64(after-before)/n/1024, "KiB")
	out.add("a connection, after a collection", float64(collected-before)/n/1024, "KiB")
	out.add("logins", n/took.Seconds(), "a second")
	return e.print(out)
}

// connect logs in and leaves the connection as it is: nobody reads it, and
// what comes fits into the socket's buffer.
func (c *idleCommand) connect(e *environment, edge part, account int, resource string) (net.Conn, error) {
	address := edge.Listen["starttls"]
	if c.TLS {
		address = edge.Listen["tls"]
	}
	t, err := dial(address, e.run.Domain, 1+account%16, c.TLS)
	if err != nil {
		return nil, err
	}
	if err := t.login(e.keys, idleName(account), resource); err != nil {
		t.conn.Close()
		return nil, err
	}
	if !c.Bound {
		err = t.send(greeting)
	}
	return t.conn, err
}

// collect has a process collect its garbage.
func collect(p part) error {
	answer, err := http.Get("http://" + p.Admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
