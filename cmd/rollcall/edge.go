package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/accounts"
	"github.com/rollcall/rollcall/edge/archive"
	"github.com/rollcall/rollcall/edge/link"
	"github.com/rollcall/rollcall/edge/published"
	"github.com/rollcall/rollcall/edge/pushes"
	"github.com/rollcall/rollcall/edge/rosters"
	"github.com/rollcall/rollcall/edge/sessions"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/fanout/lease"
	"github.com/rollcall/rollcall/ingest/eventlog"
	schema "github.com/rollcall/rollcall/schema/clickhouse"
)

type edgeCommand struct {
	roleFlags
	Domain       string `help:"The XMPP domain that is served." required:""`
	Listen       string `help:"Serve clients here, with STARTTLS (default 0.0.0.0:5222)." default:"0.0.0.0:5222" placeholder:"HOST:PORT"`
	ListenTLS    string `name:"listen-tls" help:"Serve clients here, with direct TLS; empty: nowhere (default 0.0.0.0:5223)." default:"0.0.0.0:5223" placeholder:"HOST:PORT"`
	ListenHTTPS  string `name:"listen-https" help:"Serve WebSockets (RFC 7395) and /.well-known/host-meta here; empty: nowhere (default 0.0.0.0:5443)." default:"0.0.0.0:5443" placeholder:"HOST:PORT"`
	ListenHTTP   string `name:"listen-http" help:"The same without TLS, only with --insecure-auth; empty: nowhere (default 0.0.0.0:5280)." default:"0.0.0.0:5280" placeholder:"HOST:PORT"`
	Certificates string `help:"Folder with DOMAIN.crt and DOMAIN.key; a self-signed certificate is made where there is none (default: certificates, in the working directory)." default:"certificates" type:"path" placeholder:"DIR"`
	AuthSecret   string `help:"Makes tokens, and the salts of accounts that do not exist; the same on every edge. If empty a random one makes salts, and there are no tokens." placeholder:"SECRET"`
	Register     bool   `help:"Clients may register accounts (XEP-0077)."`
	InsecureAuth bool   `help:"Allow SASL without TLS, for tests and load."`

	WebsocketURL     string   `name:"websocket-url" help:"Where host-meta says that the WebSocket is, such as behind a proxy; empty: at the host that is asked." placeholder:"URL"`
	WebsocketOrigins []string `help:"Origins whose pages may open a WebSocket, such as https://*.example.com; none: all, for a page must know a password." placeholder:"ORIGIN"`

	TokenPeriod   time.Duration `help:"A client's token to log in with (XEP-0484) is replaced when it is older, and ends when it is twice as old at most; 0: no tokens." default:"336h"`
	UnauthTimeout time.Duration `help:"Longest time until a client has authenticated." default:"30s"`
	archiveFlags
	limitFlags
	componentFlags
	pushFlags

	Grace     time.Duration `help:"How long contacts hear nothing of a connection that broke: its client may come back. 0: they hear at once." default:"10s"`
	ResumeFor time.Duration `help:"How long the stream of a broken connection may be resumed (XEP-0198); 0: not at all." default:"5m"`
}

// Run serves clients until ctx ends, then closes their streams, says in the
// log that this epoch is over, and gives the lease back.
func (c *edgeCommand) Run(ctx context.Context) error {
	if err := checkDomain(c.Domain); err != nil {
		return err
	}
	for _, flags := range []any{&c.limitFlags, &c.componentFlags, &c.pushFlags} {
		if err := notZero(flags); err != nil {
			return err
		}
	}
	r, err := c.begin(ctx, 8)
	if err != nil {
		return err
	}
	return r.end(c.serve(ctx, r))
}

func (c *edgeCommand) serve(ctx context.Context, r *role) error {
	keeper, err := lease.Acquire(ctx, lease.KeeperOptions{Postgres: r.pool, Kind: lease.Edge, ID: c.ID, Address: c.Listen, Domain: c.Domain, Logger: r.log})
	if err != nil {
		return err
	}
	writer := eventlog.NewWriter(r.appender, fmt.Sprintf("edge/%s/%d", c.ID, keeper.Epoch()), r.partitions)
	links, err := link.New(link.Options{
		Edge: c.ID, Epoch: keeper.Epoch(), Partitions: r.partitions, Discover: workers{r.pool},
		Logger: r.log, Registry: r.admin.registry,
	})
	if err != nil {
		return err
	}
	store := accounts.New(r.pool, c.Domain, writer)
	reader := rosters.New(r.pool)
	negotiate, err := c.negotiation(store)
	if err != nil {
		return err
	}
	listen := []edge.Listen{{Address: c.Listen}}
	if c.ListenTLS != "" {
		listen = append(listen, edge.Listen{Address: c.ListenTLS, Direct: true})
	}
	if c.ListenHTTPS != "" {
		listen = append(listen, edge.Listen{Address: c.ListenHTTPS, Direct: true, Web: true})
	}
	if c.ListenHTTP != "" && c.InsecureAuth {
		listen = append(listen, edge.Listen{Address: c.ListenHTTP, Web: true})
	}
	components, err := c.componentFlags.options(c.Domain)
	if err != nil {
		return err
	}
	if c.ListenComponents != "" {
		listen = append(listen, edge.Listen{Address: c.ListenComponents, Components: true})
	}
	archived, closeArchive, err := c.archive(r)
	if err != nil {
		return err
	}
	defer closeArchive()
	server, err := edge.New(edge.Options{
		ID: c.ID, Domain: c.Domain, Partitions: r.partitions, Listen: listen,
		Web: edge.WebOptions{URL: c.WebsocketURL, Origins: c.WebsocketOrigins},
		Log: writer, Lease: keeper, Links: links,
		Rosters: reader, Accounts: store, Sessions: sessions.New(r.pool, r.offsets), Published: published.New(r.pool),
		Archive: archived, MaxArchiving: maxArchiving,
		Stream: negotiate, Version: version, Components: components, Push: c.pushFlags.options(pushes.New(r.pool)),
		MaxResources: c.MaxResources, MaxStanza: c.MaxStanza, Limits: c.limits(),
		MaxPayload: c.MaxPayload, MaxStored: c.MaxStored, MaxNodes: c.MaxNodes, MaxItems: c.MaxItems, MaxPublished: c.MaxPublished,
		Grace: off(c.Grace), ResumeFor: off(c.ResumeFor),
		Logger: r.log, Registry: r.admin.registry,
	})
	if err != nil {
		return err
	}
	links.SetHandler(server)
	r.admin.want("workers", func(context.Context) error {
		if !links.Ready() {
			return errors.New("a partition has no fan-out worker yet")
		}
		return nil
	})
	r.started()

	// Streams to workers and the lease outlive the sessions.
	after, stopAfter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAfter()
	var g errgroup.Group
	g.Go(func() error { return links.Run(after) })
	g.Go(func() error { return keeper.Run(after) })
	served := server.Run(ctx)
	stopAfter()
	if err := g.Wait(); served == nil {
		served = err
	}
	if served != nil {
		return served
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := writer.AppendEdgeLost(last, c.ID, keeper.Epoch()); err != nil {
		return err // the reaper says it when the lease has expired
	}
	return keeper.Release(last)
}

// maxArchiving is how many queries of archives are read at a time. Each takes
// two connections to ClickHouse, for the page and for its count.
const maxArchiving = 16

// archive opens the archive; without an address there is none. ClickHouse need
// not be there yet.
func (c *edgeCommand) archive(r *role) (edge.Archive, func(), error) {
	if c.ClickhouseAddr == "" {
		return nil, func() {}, nil
	}
	o, err := schema.Options(c.ClickhouseAddr, c.ClickhouseDatabase)
	if err != nil {
		return nil, nil, err
	}
	o.MaxOpenConns, o.MaxIdleConns = 2*maxArchiving, maxArchiving
	o.DialTimeout = 2 * time.Second
	conn, err := clickhouse.Open(o)
	if err != nil {
		return nil, nil, err
	}
	reader := archive.New(archive.Options{ClickHouse: conn, Postgres: r.pool, Offsets: r.offsets})
	return reader, func() { conn.Close() }, nil
}

// off makes 0, which is the default to edge.Options, mean what it says.
func off(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func (c *edgeCommand) negotiation(store *accounts.Store) (stream.Options, error) {
	certificate, err := stream.LoadOrMakeCertificate(c.Certificates, c.Domain)
	if err != nil {
		return stream.Options{}, err
	}
	secret := []byte(c.AuthSecret)
	if len(secret) == 0 {
		secret = make([]byte, 32)
		rand.Read(secret)
	}
	o := stream.Options{
		TLS: stream.ServerTLS(certificate), InsecureAuth: c.InsecureAuth, Credentials: store,
		Secret: secret, AuthTimeout: c.UnauthTimeout,
	}
	if c.AuthSecret != "" && c.TokenPeriod > 0 {
		o.Tokens, o.TokenPeriod = store, c.TokenPeriod
	}
	if c.Register {
		o.Registrar = store
	}
	return o, nil
}
