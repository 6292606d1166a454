package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// A Worker serves the partitions that its group gives it.
type Worker struct {
	options Options
	metrics *metrics
	checker *checker
	inboxes *inboxes
	served  served
	loads   chan struct{} // a place for each load under way

	mu    sync.Mutex
	held  map[int32]*partition // given by the group, loaded or not
	peers map[*peer]struct{}   // edges that are attached
}

// New gives a Worker that Run brings to life.
func New(o Options) (*Worker, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Logger = o.Logger.With("worker", o.ID)
	w := &Worker{
		options: o,
		loads:   make(chan struct{}, o.ParallelLoads),
		held:    make(map[int32]*partition),
		peers:   make(map[*peer]struct{}),
	}
	w.metrics = newMetrics(o.Registry, w.depth)
	w.checker = newChecker(&w.options)
	w.inboxes = newInboxes(&w.options)
	return w, nil
}

// Run serves until ctx ends, which gives nil, or the log no longer has what
// the worker must read. It owns all goroutines of the worker and returns only
// after all have returned.
func (w *Worker) Run(ctx context.Context) error {
	server := grpc.NewServer(
		grpc.Creds(w.options.Credentials),
		grpc.ForceServerCodecV2(codec{}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 2 * time.Second, Timeout: 3 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second}),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(1<<20),
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.WaitForHandlers(true))
	g, ctx := errgroup.WithContext(ctx)
	served := &service{worker: w, ctx: ctx}
	wire.RegisterFanoutServer(server, served)
	g.Go(func() error {
		if err := server.Serve(w.options.Listener); err != nil && ctx.Err() == nil {
			return fmt.Errorf("fanout: serve: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		server.Stop()
		served.running.Wait()
		return nil
	})
	for range w.options.ParallelQueries {
		g.Go(func() error { w.checker.run(ctx); return nil })
	}
	g.Go(func() error { w.inboxes.run(ctx); return nil })
	g.Go(func() error { w.watchProjection(ctx); return nil })
	g.Go(func() error { w.commit(ctx); return nil })
	g.Go(func() error { return ended(ctx, "tail account", w.options.Account.Run(ctx, w.accountBatch)) })
	g.Go(func() error { return ended(ctx, "tail outbox", w.options.Outbox.Run(ctx, w.outboxBatch)) })
	g.Go(func() error {
		var running sync.WaitGroup
		defer running.Wait()
		return ended(ctx, "group", w.options.Member.Run(ctx, func(_ context.Context, partitions []int32) {
			w.assigned(ctx, partitions, &running)
		}))
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// ended gives nil for what ended because ctx did.
func ended(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	return fmt.Errorf("fanout: %s: %w", what, err)
}

// assigned drops what the worker has lost and starts what is new.
func (w *Worker) assigned(ctx context.Context, partitions []int32, running *sync.WaitGroup) {
	given := make(map[int32]bool, len(partitions))
	for _, n := range partitions {
		given[n] = true
	}
	w.mu.Lock()
	var lost []*partition
	for n, p := range w.held {
		if !given[n] {
			lost = append(lost, p)
			delete(w.held, n)
		}
	}
	for n := range given {
		if w.held[n] != nil {
			continue
		}
		p := newPartition(ctx, w, n)
		w.held[n] = p
		running.Go(p.run)
	}
	n := len(w.held)
	w.mu.Unlock()
	w.metrics.partitions.Set(float64(n))
	for _, p := range lost {
		p.cancel()
	}
	for _, p := range lost {
		<-p.done
	}
}

// partition gives the partition if the worker holds it, loaded or not.
func (w *Worker) partition(n int32) *partition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[n]
}

func (w *Worker) partitions() map[int32]*partition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.held)
}

// attach adds an edge's stream; every loaded partition tells it that it is
// assigned.
func (w *Worker) attach(e *peer) {
	w.mu.Lock()
	w.peers[e] = struct{}{}
	held := maps.Clone(w.held)
	w.mu.Unlock()
	w.metrics.edges.Inc()
	for _, p := range held {
		p.post(func() { p.attach(e) })
	}
}

func (w *Worker) detach(e *peer) {
	w.served.replace(e, nil)
	w.mu.Lock()
	delete(w.peers, e)
	held := maps.Clone(w.held)
	w.mu.Unlock()
	w.metrics.edges.Dec()
	for _, p := range held {
		p.post(func() { p.detach(e) })
	}
}

// attached gives the edges whose streams are open.
func (w *Worker) attached() []*peer {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*peer, 0, len(w.peers))
	for e := range w.peers {
		all = append(all, e)
	}
	return all
}

// depth is the number of frames that wait for edges.
func (w *Worker) depth() float64 {
	n := 0
	for _, e := range w.attached() {
		n += e.queue.len()
	}
	return float64(n)
}

// commit stores how far the edges have taken each partition's outbox.
func (w *Worker) commit(ctx context.Context) {
	done := make(map[int32]int64)
	for sleep(ctx, w.options.CommitEvery) {
		next := make(map[int32]int64)
		held := w.partitions()
		for n, p := range held {
			if at := p.committable.Load(); at >= 0 && done[n] != at {
				next[n] = at
			}
		}
		maps.DeleteFunc(done, func(n int32, _ int64) bool { return held[n] == nil })
		if len(next) == 0 {
			continue
		}
		if err := w.options.Member.Commit(ctx, topic.Outbox, next); err != nil {
			if ctx.Err() == nil {
				w.options.Logger.Debug("outbox offsets not committed", "err", err)
			}
			continue
		}
		maps.Copy(done, next)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
