// Package link is the edge's end of the streams to the fan-out workers. It
// finds the workers, keeps one stream to each, tells every partition's worker
// whom the edge's sessions follow, and hands what the workers say to a
// Handler: of each partition only what comes from the worker with the highest
// claim.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall/rollcall/schema/wire"
)

// A Handler is told what the workers say. Calls for one partition come one
// after the other; calls for different partitions run in parallel. A call may
// use the Link.
type Handler interface {
	// Whole gives all that the edge follows in the partition, when a worker
	// starts to serve it: a snapshot taken after the call began.
	Whole(partition int32) []*wire.Followed
	// Answer brings the presence of accounts that were asked about. A whole
	// interest may be answered in several.
	Answer(*wire.Answer)
	// Frames brings what happened, in order. The outputs among them count as
	// taken when it returns.
	Frames(partition int32, frames []*wire.Frame)
	// Iq brings an iq for a session of this edge, or one of its own that
	// nobody takes (Refused).
	Iq(*wire.Iq)
	// Replaced tells that a component has connected to another edge since.
	Replaced(*wire.Replaced)
}

// A Worker is a fan-out worker as its lease names it.
type Worker struct {
	ID      string
	Epoch   uint64
	Address string // host:port
}

// Discover gives the workers that live now.
type Discover interface {
	Workers(ctx context.Context) ([]Worker, error)
}

// Options say what a Link is made of.
type Options struct {
	Edge       string   // id of this edge
	Epoch      uint64   // of its lease
	Partitions int      // of the topic account
	Discover   Discover // where the workers are
	Handler    Handler  // may be set later, by SetHandler, before Run

	Credentials credentials.TransportCredentials // nil: plain TCP

	DiscoverEvery time.Duration // between two looks for workers; 1s
	RedialAfter   time.Duration // from a broken stream to the next try; 100ms, doubled up to DiscoverEvery
	Gather        time.Duration // how long changes of interest are gathered; 2ms; negative: not at all
	Silence       time.Duration // a worker that says nothing for so long is given up; 5s
	MaxIqs        int           // iqs that wait for one stream; 4096
	ChunkAccounts int           // accounts in one Interest; 2000

	Logger   *slog.Logger          // slog.Default()
	Registry prometheus.Registerer // nil: metrics are kept, not shown
}

func (o *Options) check() error {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.DiscoverEvery, time.Second}, {&o.RedialAfter, 100 * time.Millisecond},
		{&o.Gather, 2 * time.Millisecond}, {&o.Silence, 5 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.MaxIqs == 0 {
		o.MaxIqs = 4096
	}
	if o.ChunkAccounts == 0 {
		o.ChunkAccounts = 2000
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	switch {
	case o.Edge == "":
		return errors.New("link: an edge needs an id")
	case o.Partitions <= 0:
		return fmt.Errorf("link: %d partitions", o.Partitions)
	case o.Discover == nil:
		return errors.New("link: Discover must be given")
	}
	return nil
}

// A Link holds the streams of one edge. Its methods may be called by any
// goroutine; none blocks, and none calls the Handler before it returns.
type Link struct {
	options    Options
	partitions []*partition
	metrics    *metrics

	broken chan struct{} // a stream ended: look for workers at once

	served served // components that are connected here
}

// New gives a Link that Run brings to life.
func New(o Options) (*Link, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &Link{options: o, metrics: newMetrics(o.Registry), broken: make(chan struct{}, 1)}
	for n := range o.Partitions {
		l.partitions = append(l.partitions, newPartition(int32(n)))
	}
	return l, nil
}

// SetHandler says who is told; it is for a Handler that is made of the Link.
// Call it before Run.
func (l *Link) SetHandler(h Handler) { l.options.Handler = h }

// Follow makes the follower, a bare JID with sessions here, hear of the
// account, whose history is in the partition. An Answer comes. A pair is
// followed once, until Unfollow.
func (l *Link) Follow(partition int32, account, follower string) {
	l.changed(l.partitions[partition].follow(account, follower))
}

// Unfollow ends what Follow began.
func (l *Link) Unfollow(partition int32, account, follower string) {
	l.changed(l.partitions[partition].unfollow(account))
}

// changed has the stream that serves a partition look at it.
func (l *Link) changed(s *stream) {
	if s != nil {
		s.wake()
	}
}

// SendIq hands an iq to the worker of iq.Partition. It tells whether there is
// one that has room for it; if not, nobody hears of the iq.
func (l *Link) SendIq(iq *wire.Iq) bool {
	if n := iq.GetPartition(); n < 0 || int(n) >= len(l.partitions) {
		return false
	}
	s := l.partitions[iq.GetPartition()].serving()
	return s != nil && s.queueIq(iq)
}

// Ready tells whether every partition has a worker.
func (l *Link) Ready() bool {
	for _, p := range l.partitions {
		if p.serving() == nil {
			return false
		}
	}
	return true
}

// Run keeps the streams until ctx ends (nil); it returns once all are closed.
func (l *Link) Run(ctx context.Context) error {
	if l.options.Handler == nil {
		return errors.New("link: Handler must be given")
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := make(map[Worker]*peer)
	ticks := time.NewTicker(l.options.DiscoverEvery)
	defer ticks.Stop()
	for {
		workers, err := l.options.Discover.Workers(ctx)
		if err == nil {
			l.meet(ctx, peers, workers, &wg)
		} else if ctx.Err() == nil {
			l.options.Logger.Warn("workers unknown", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.broken:
		case <-ticks.C:
		}
	}
}

// peer is a worker with which the edge has a stream, or tries to.
type peer struct {
	listed chan struct{} // closed when its lease is gone
}

// meet starts a peer for each worker that is new. One whose lease is gone
// keeps the stream that it has, for Postgres may err; it gets no other.
func (l *Link) meet(ctx context.Context, peers map[Worker]*peer, workers []Worker, wg *sync.WaitGroup) {
	listed := make(map[Worker]bool, len(workers))
	for _, w := range workers {
		listed[w] = true
		if peers[w] != nil {
			continue
		}
		p := &peer{listed: make(chan struct{})}
		peers[w] = p
		wg.Go(func() { l.keep(ctx, w, p.listed) })
	}
	for w, p := range peers {
		if !listed[w] {
			close(p.listed)
			delete(peers, w)
		}
	}
}
