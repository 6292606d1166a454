// Package httpapi is the door for services that speak HTTP and not XMPP. A
// service shows an API key and injects messages and broadcasts, which are
// events in the log like those of any client, or asks for what the log has
// come to.
//
// Whatever is wrong with a request is told as a problem (RFC 9457) with a code
// that is the same for ever; problem.go has them all. What the door does is in
// openapi.yaml, which is served at /v1/openapi.json, and a test holds the two
// together. A new endpoint is a row in a table of routes, and an entry there.
package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
)

// Options configure a Server. The zero value of a field means its default.
type Options struct {
	ID       string // of this process, as its lease has it; required
	Epoch    uint64 // of its lease; required
	Domain   string // the XMPP domain that is served; required
	Postgres *pgxpool.Pool
	Appender *eventlog.Appender // it runs elsewhere
	// Partitions is the number that the topic account has; required.
	Partitions int
	// Offsets and Tail, which gives a fresh one of the topic account, are for
	// looking up what a process that died has appended; required.
	Offsets *eventlog.Admin
	Tail    func() (*eventlog.Tail, error)

	// Compose makes of the children of a message, XML in the scope of
	// jabber:client, what the log keeps of them. Its error tells a person what
	// is wrong with them. Required.
	Compose func(children []byte, t event.MessageType) (*event.Message, error)

	Listener net.Listener // where Run serves; it is closed
	TLS      *tls.Config  // nil: plain HTTP

	Limits Limits
	Reads  Reads

	Logger   *slog.Logger          // slog.Default()
	Registry prometheus.Registerer // nil: metrics are kept, not shown
}

// Limits bound what one key may ask. The zero value of a field means its
// default.
type Limits struct {
	Body       int     // bytes of a request's body; 1 MiB
	Rate       float64 // requests of a key a second, for long; 200
	Burst      int     // requests of a key at once; 400
	Recipients int     // of one message; 1000
	Waiting    int     // messages that may wait in an inbox; 1000, -1: no limit
	Batch      int     // recipients of a broadcast that are appended at once; 1000
	Broadcasts int     // broadcasts that this process works on at once; 4

	KeyTTL time.Duration // how long a key is taken for what it was; 1s
}

// drainTime is how long requests may go on once the server stops.
const drainTime = 10 * time.Second

func (o *Options) check() error {
	if o.ID == "" || o.Domain == "" || o.Postgres == nil || o.Appender == nil || o.Partitions < 1 || o.Offsets == nil || o.Tail == nil || o.Compose == nil {
		return errors.New("httpapi: ID, Domain, Postgres, Appender, Partitions, Offsets, Tail and Compose are required")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	o.Reads.check()
	l := &o.Limits
	setDefault(&l.Body, 1<<20)
	setDefault(&l.Rate, 200)
	setDefault(&l.Burst, 400)
	setDefault(&l.Recipients, 1000)
	setDefault(&l.Waiting, 1000)
	setDefault(&l.Batch, 1000)
	setDefault(&l.Broadcasts, 4)
	setDefault(&l.KeyTTL, time.Second)
	if l.Body < 1 || l.Rate <= 0 || l.Burst < 1 || l.Recipients < 1 || l.Batch < 1 || l.Broadcasts < 1 {
		return fmt.Errorf("httpapi: limits below 1: %+v", *l)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// A Server is the door. Its Handler may be used without Run, which serves it.
type Server struct {
	opts    Options
	keys    *keyring
	metrics *metrics
	writer  *eventlog.Writer
	table   []*route
	mux     *http.ServeMux
	streams streams
	// stopping is closed when Run ends: answers that go on for ever end then.
	stopping chan struct{}
	kick     chan struct{} // wakes work; holds one
}

// New gives a Server.
func New(o Options) (*Server, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Server{
		opts: o, keys: newKeyring(o.Postgres, o.Limits), metrics: newMetrics(o.Registry),
		writer:   eventlog.NewWriter(o.Appender, fmt.Sprintf("http/%s/%d", o.ID, o.Epoch), o.Partitions),
		stopping: make(chan struct{}), kick: make(chan struct{}, 1),
	}
	s.table = s.routes()
	s.mux = http.NewServeMux()
	for _, r := range s.table {
		s.mux.Handle(r.method+" "+r.path, s.serve(r))
	}
	return s, nil
}

// Run serves until ctx ends, then lets requests end, for a while.
func (s *Server) Run(ctx context.Context) error {
	server := &http.Server{
		Handler: s.Handler(), TLSConfig: s.opts.TLS,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		ErrorLog:       slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelDebug),
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error {
		var err error
		if s.opts.TLS != nil {
			err = server.ServeTLS(s.opts.Listener, "", "")
		} else {
			err = server.Serve(s.opts.Listener)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("httpapi: %w", err)
	})
	g.Go(func() error { return s.work(inner) })
	g.Go(func() error { return s.tidy(inner) })
	g.Go(func() error {
		<-inner.Done()
		close(s.stopping)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if server.Shutdown(drain) != nil {
			server.Close()
		}
		return nil
	})
	return g.Wait()
}
