package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/accounts"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/fanout/lease"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

type userCommand struct {
	Add    userAdd    `cmd:"" help:"Add an account; the password is read from standard input."`
	List   userList   `cmd:"" help:"List the accounts of the domain that --domain names."`
	Passwd userPasswd `cmd:"" help:"Change a password; it is read from standard input."`
	Delete userDelete `cmd:"" help:"Delete an account: its history ends, and each subscription is cancelled both ways."`
}

type userTarget struct {
	JID string `arg:"" name:"jid" help:"Bare JID, such as juliet@example.com."`
	postgresFlags
}

type userAdd struct {
	userTarget
	kafkaFlags
	AnyDomain bool `help:"Add it though no edge that runs serves its domain."`
}

// Run adds the account.
func (c *userAdd) Run(ctx context.Context, out io.Writer) error {
	password, err := readPassword(os.Stdin)
	if err != nil {
		return err
	}
	return withStore(ctx, c.userTarget, c.KafkaBrokers, func(s *accounts.Store, account jid.Bare) error {
		if err := c.served(ctx, account); err != nil {
			return err
		}
		return say(out, "added", account, s.Create(ctx, account, password))
	})
}

// served refuses an account of a domain that no edge serves, if any edge runs.
func (c *userAdd) served(ctx context.Context, account jid.Bare) error {
	if c.AnyDomain {
		return nil
	}
	pool, err := c.poolSoon(ctx, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	served, err := lease.Domains(ctx, pool)
	if err != nil {
		return err
	}
	return checkServed(account, served)
}

// checkServed tells that none of the domains is the account's, if there are any.
func checkServed(account jid.Bare, served []string) error {
	if len(served) == 0 || slices.Contains(served, account.Domain()) {
		return nil
	}
	return fmt.Errorf("no edge serves %s, but %s; with --any-domain %s is added all the same", account.Domain(), strings.Join(served, ", "), account)
}

type userPasswd struct{ userTarget }

// Run changes the password.
func (c *userPasswd) Run(ctx context.Context, out io.Writer) error {
	password, err := readPassword(os.Stdin)
	if err != nil {
		return err
	}
	return withStore(ctx, c.userTarget, nil, func(s *accounts.Store, account jid.Bare) error {
		return say(out, "changed the password of", account, s.SetPassword(ctx, account, password))
	})
}

type userDelete struct {
	userTarget
	kafkaFlags
}

// Run deletes the account.
func (c *userDelete) Run(ctx context.Context, out io.Writer) error {
	return withStore(ctx, c.userTarget, c.KafkaBrokers, func(s *accounts.Store, account jid.Bare) error {
		return say(out, "deleted", account, s.Delete(ctx, account))
	})
}

type userList struct {
	Domain string `help:"The XMPP domain." default:"localhost"`
	postgresFlags
}

// Run prints a line for each account.
func (c *userList) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	list, err := accounts.New(pool, c.Domain, nil).List(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, a := range list {
		state := "live"
		if !a.Live {
			state = "unfinished"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", a.JID, a.Created.UTC().Format("2006-01-02 15:04:05"), state)
	}
	return table.Flush()
}

// say prints what was done, unless err says that it was not.
func say(out io.Writer, done string, account jid.Bare, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(out, done, account)
	}
	return err
}

// withStore calls do with the accounts of the target's domain. Without brokers
// do must not append.
func withStore(ctx context.Context, target userTarget, brokers []string, do func(*accounts.Store, jid.Bare) error) error {
	account, err := jid.ParseBare(target.JID)
	if err != nil {
		return err
	}
	if account.Local() == "" {
		return fmt.Errorf("%s is a domain, not an account", account)
	}
	pool, err := target.poolSoon(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	var log accounts.Log
	if len(brokers) > 0 {
		writer, stop, err := oneWriter(ctx, brokers)
		if err != nil {
			return err
		}
		defer stop()
		log = writer
	}
	switch err := do(accounts.New(pool, account.Domain(), log), account); {
	case errors.Is(err, stream.ErrConflict):
		return fmt.Errorf("%s exists already", account)
	case errors.Is(err, stream.ErrNoAccount):
		return fmt.Errorf("there is no account %s", account)
	default:
		return err
	}
}

// oneWriter gives a writer of an origin that only this process has.
func oneWriter(ctx context.Context, brokers []string) (*eventlog.Writer, func(), error) {
	admin, err := eventlog.NewAdmin(brokers)
	if err != nil {
		return nil, nil, err
	}
	defer admin.Close()
	partitions, err := partitionsSoon(ctx, admin)
	if err != nil {
		return nil, nil, err
	}
	appender, err := eventlog.New(eventlog.Options{Brokers: brokers})
	if err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		appender.Run(running) // gives an error only to what is appended
	}()
	stop := func() {
		cancel()
		<-ended
	}
	return eventlog.NewWriter(appender, "user/"+uuid.NewString(), partitions), stop, nil
}

// partitionsSoon gives the partitions of the topic account, with patience.
func partitionsSoon(ctx context.Context, admin *eventlog.Admin) (int, error) {
	soon, cancel := context.WithTimeoutCause(ctx, patience, errors.New("kafka did not answer"))
	defer cancel()
	n, err := admin.Partitions(soon, topic.Account)
	if err != nil && soon.Err() != nil {
		return 0, fmt.Errorf("%w: %w", context.Cause(soon), err)
	}
	return n, err
}

func readPassword(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password from standard input: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("no password on standard input; try: echo PASSWORD | rollcall user add JID")
	}
	return line, nil
}
