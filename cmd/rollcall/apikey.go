package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rollcall/rollcall/ingest/httpapi"
)

type apikeyCommand struct {
	Add    apikeyAdd    `cmd:"" help:"Make an API key for the HTTP door; it is printed once and kept nowhere."`
	List   apikeyList   `cmd:"" help:"List the API keys."`
	Revoke apikeyRevoke `cmd:"" help:"End an API key."`
}

type apikeyAdd struct {
	Scopes []string `arg:"" name:"scope" help:"What it may do: messages:send, broadcast:send, read:presence, read:history, read:events, or admin for all."`
	Name   string   `help:"What it is for, for people." default:""`
	Domain string   `help:"The XMPP domain whose accounts it is for." default:"localhost"`
	Sender []string `help:"An account that it may send as, besides the domain; * for every one. May be given several times." placeholder:"JID"`
	postgresFlags
}

// Run makes the key and prints it.
func (c *apikeyAdd) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	token, _, err := httpapi.AddKey(ctx, pool, httpapi.Key{Name: c.Name, Domain: c.Domain, Scopes: c.Scopes, Senders: c.Sender})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, token)
	return err
}

type apikeyList struct{ postgresFlags }

// Run prints a line for each key.
func (c *apikeyList) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := httpapi.Keys(ctx, pool)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, k := range keys {
		state := "live"
		if !k.Revoked.IsZero() {
			state = "revoked " + k.Revoked.UTC().Format("2006-01-02 15:04:05")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Created.UTC().Format("2006-01-02 15:04:05"), state,
			k.Domain, strings.Join(k.Scopes, ","), strings.Join(k.Senders, ","), k.Name)
	}
	return table.Flush()
}

type apikeyRevoke struct {
	ID string `arg:"" name:"id" help:"The key's id, as list shows it."`
	postgresFlags
}

// Run ends the key.
func (c *apikeyRevoke) Run(ctx context.Context, out io.Writer) error {
	pool, err := c.poolSoon(ctx, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := httpapi.RevokeKey(ctx, pool, c.ID); errors.Is(err, httpapi.ErrNoKey) {
		return fmt.Errorf("there is no key %s", c.ID)
	} else if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "revoked", c.ID)
	return err
}
