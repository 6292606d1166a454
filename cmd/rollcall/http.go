package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/fanout/lease"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/ingest/httpapi"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
)

type httpCommand struct {
	roleFlags
	clickhouseFlags
	Domain       string `help:"The XMPP domain that is served." required:""`
	Listen       string `help:"Serve HTTP here (default 127.0.0.1:5281)." default:"127.0.0.1:5281" placeholder:"HOST:PORT"`
	Certificates string `help:"Folder with DOMAIN.crt and DOMAIN.key: HTTPS is served, with a self-signed certificate where there is none. Empty: plain HTTP." type:"path" placeholder:"DIR"`
	Plain        bool   `help:"Allow plain HTTP on other than loopback addresses, as behind a proxy: keys go over the wire."`

	MaxBody        int     `help:"Bytes of a request's body." default:"1048576"`
	MaxMessage     int     `help:"Bytes of a message's XML." default:"262144"`
	MaxRecipients  int     `help:"Recipients of one message." default:"1000"`
	MaxWaiting     int     `help:"Messages that may wait for an account; -1: no limit." default:"1000"`
	MaxBroadcasts  int     `help:"Broadcasts that this process works on at once." default:"4"`
	BroadcastBatch int     `help:"Recipients of a broadcast that are appended at once." default:"1000"`
	Rate           float64 `help:"Requests that a key may make a second, for long." default:"200"`
	Burst          int     `help:"Requests that a key may make at once." default:"400"`
	MaxStreams     int     `help:"Streams of events that a key may have open at once." default:"10"`
}

// Run serves until ctx ends.
func (c *httpCommand) Run(ctx context.Context) error {
	if err := checkDomain(c.Domain); err != nil {
		return err
	}
	if err := c.checkPlain(); err != nil {
		return err
	}
	if err := notZero(c); err != nil {
		return err
	}
	r, err := c.begin(ctx, 16)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

// checkPlain refuses to take keys over a network in the clear.
func (c *httpCommand) checkPlain() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	ip := net.ParseIP(host)
	if c.Certificates == "" && !c.Plain && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--listen %s: keys would go over the network in the clear; give --certificates, or --plain behind a proxy", c.Listen)
	}
	return nil
}

func (c *httpCommand) serve(ctx context.Context, r *role) error {
	var secure *tls.Config
	if c.Certificates != "" {
		certificate, err := stream.LoadOrMakeCertificate(c.Certificates, c.Domain)
		if err != nil {
			return err
		}
		secure = stream.ServerTLS(certificate)
		secure.NextProtos = []string{"h2", "http/1.1"}
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w; say another --listen", err)
	}
	keeper, err := lease.Acquire(ctx, lease.KeeperOptions{Postgres: r.pool, Kind: lease.HTTP, ID: c.ID, Address: listener.Addr().String(), Logger: r.log})
	if err != nil {
		return err
	}
	history, err := c.open()
	if err != nil {
		return err
	}
	defer history.Close()
	changes, err := feed.New(feed.Options{Postgres: r.pool, Brokers: c.KafkaBrokers, Offsets: r.offsets, Partitions: r.partitions,
		Logger: r.log, Registerer: r.admin.registry})
	if err != nil {
		return err
	}
	server, err := httpapi.New(httpapi.Options{
		ID: c.ID, Epoch: keeper.Epoch(), Domain: c.Domain,
		Postgres: r.pool, Appender: r.appender, Partitions: r.partitions, Offsets: r.offsets,
		Tail: func() (*eventlog.Tail, error) {
			return eventlog.NewTail(eventlog.TailOptions{Brokers: c.KafkaBrokers, Topic: topic.Account, Logger: r.log})
		},
		Compose: func(children []byte, t event.MessageType) (*event.Message, error) {
			return edge.Compose(children, t, c.MaxMessage)
		},
		Listener: listener, TLS: secure,
		Limits: httpapi.Limits{Body: c.MaxBody, Recipients: c.MaxRecipients, Waiting: c.MaxWaiting, Rate: c.Rate, Burst: c.Burst,
			Batch: c.BroadcastBatch, Broadcasts: c.MaxBroadcasts},
		Reads:  httpapi.Reads{History: history, Feed: changes, Streams: c.MaxStreams},
		Logger: r.log, Registry: r.admin.registry,
	})
	if err != nil {
		return err
	}
	r.admin.want("feed", func(context.Context) error { return changes.Health() })
	r.started()

	// The lease outlives the requests: what they do is ours until it is done.
	after, stopAfter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAfter()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { defer stopAfter(); return server.Run(ctx) })
	g.Go(func() error { return changes.Run(after) })
	g.Go(func() error { return keeper.Run(after) })
	if err := g.Wait(); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return keeper.Release(last)
}
