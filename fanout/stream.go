package fanout

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/rollcall/rollcall/schema/wire"
)

// edgeKey is one life of an edge.
type edgeKey struct {
	id    string
	epoch uint64
}

// peer is an edge's stream.
type peer struct {
	edgeKey
	queue *queue
}

// service is the worker as edges see it.
type service struct {
	wire.UnimplementedFanoutServer
	worker *Worker
	ctx    context.Context

	running sync.WaitGroup // what Attach leaves to end by itself
}

// Attach holds the stream of one edge.
func (s *service) Attach(stream grpc.BidiStreamingServer[wire.FromEdge, wire.ToEdge]) error {
	w, ctx := s.worker, stream.Context()
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "the first message is not Hello")
	}
	if w.options.Attachable != nil {
		ok, err := w.options.Attachable(ctx, hello.GetEdge(), hello.GetEpoch())
		if err != nil {
			return status.Error(codes.Unavailable, "the lease cannot be looked up")
		}
		if !ok {
			return status.Error(codes.PermissionDenied, "the edge's epoch is over")
		}
	}
	e := &peer{
		edgeKey: edgeKey{hello.GetEdge(), hello.GetEpoch()},
		queue:   newQueue(w.options.MaxQueuedBytes, w.options.ConflateAbove, w.metrics),
	}
	log := w.options.Logger.With("edge", e.id, "epoch", e.epoch)
	w.attach(e)
	log.Info("edge attached")
	ctx, cancel := context.WithCancelCause(ctx)
	// Both end when this handler has returned, at the latest: grpc closes the
	// stream then.
	s.running.Go(func() { cancel(w.send(ctx, e, stream)) })
	s.running.Go(func() { cancel(w.receive(e, stream)) })
	select {
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-e.queue.overflow:
		w.metrics.overflowed.Inc()
		err = errOverflow
	case <-s.ctx.Done():
		err = status.Error(codes.Unavailable, "the worker stops")
	}
	cancel(err)
	w.detach(e)
	log.Info("edge detached", "err", err)
	return err
}

// errOverflow closes the stream of an edge that takes too little. What was
// dropped is repaired when it attaches again.
var errOverflow = status.Error(codes.ResourceExhausted, "too much waits for the edge")

// send sends what waits until ctx ends. While nothing is sent it gives a sign
// of life.
func (w *Worker) send(ctx context.Context, e *peer, stream grpc.ServerStream) error {
	beat := time.NewTicker(w.options.Heartbeat)
	defer beat.Stop()
	// The heartbeat goes at once: the edge knows that it is attached.
	alive := &wire.ToEdge{}
	if err := stream.SendMsg(alive); err != nil {
		return err
	}
	var p parcel
	quiet := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.queue.wake:
		case <-beat.C:
			if quiet {
				if err := stream.SendMsg(alive); err != nil {
					return err
				}
			}
			quiet = true
			continue
		}
		for e.queue.take(&p, w.options.MaxFramesBytes) {
			if err := stream.SendMsg(pack(&p)); err != nil {
				return err
			}
			w.sent(&p)
			quiet = false
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// pack gives the message of a parcel, in a buffer that grpc gives back.
func pack(p *parcel) packed {
	if p.whole != nil {
		return packed{mem.SliceBuffer(p.whole)}
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(p.size + 64)
	b := framesHead((*buffer)[:0], p.partition, p.claim, p.size)
	for i := range p.entries {
		b = append(b, p.entries[i].bytes...)
	}
	*buffer = b
	return packed{mem.NewBuffer(buffer, pool)}
}

func (w *Worker) sent(p *parcel) {
	if p.whole != nil {
		w.metrics.sent[p.kind].Inc()
		return
	}
	var counts [kindCount]int
	now := time.Now().UnixMicro()
	for i := range p.entries {
		counts[p.entries[i].kind]++
		if at := p.entries[i].at; at > 0 {
			w.metrics.lag.Observe(float64(now-at) / 1e6)
		}
	}
	for k, n := range counts {
		if n > 0 {
			w.metrics.sent[k].Add(float64(n))
		}
	}
}

// receive hands what the edge says to its partitions.
func (w *Worker) receive(e *peer, stream grpc.BidiStreamingServer[wire.FromEdge, wire.ToEdge]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := m.GetWhat().(type) {
		case *wire.FromEdge_Interest:
			if p := w.partition(m.Interest.GetPartition()); p != nil {
				p.post(func() { p.interest(e, m.Interest) })
			}
		case *wire.FromEdge_Taken:
			if p := w.partition(m.Taken.GetPartition()); p != nil {
				p.post(func() { p.taken(e, m.Taken) })
			}
		case *wire.FromEdge_Iq:
			p := w.partition(m.Iq.GetPartition())
			if p == nil || !p.post(func() { p.iq(e, m.Iq) }) {
				refuse(e, m.Iq)
			}
		case *wire.FromEdge_Serves:
			w.serves(e, m.Serves)
		case *wire.FromEdge_Hello:
			return errors.New("fanout: Hello twice")
		}
	}
}
