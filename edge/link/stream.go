package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/rollcall/rollcall/schema/wire"
)

const (
	// window is how much a worker may send before the edge has taken it.
	window = 4 << 20
	// maxMessage is the largest message that either side may send, in bytes.
	maxMessage = 64 << 20
)

// errSilent means that the worker is there by TCP but says nothing.
var errSilent = errors.New("link: worker is silent")

// stream is one stream to one worker.
type stream struct {
	link   *Link
	worker Worker
	grpc   grpc.BidiStreamingClient[wire.FromEdge, wire.ToEdge]

	heard chan struct{} // something came

	mu      sync.Mutex
	wholes  []assigned // partitions whose whole interest is to be told
	iqs     []*wire.Iq
	serves  *wire.Serves // to be said; nil: nothing new
	wakened chan struct{}
}

type assigned struct {
	partition *partition
	claim     uint64
}

// keep holds a stream to the worker, one after the other, until ctx ends or
// the worker is no longer listed.
func (l *Link) keep(ctx context.Context, w Worker, unlisted <-chan struct{}) {
	log := l.options.Logger.With("worker", w.ID, "workerEpoch", w.Epoch, "address", w.Address)
	conn, err := grpc.NewClient("passthrough:///"+w.Address,
		grpc.WithTransportCredentials(l.options.Credentials),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithInitialWindowSize(window), grpc.WithInitialConnWindowSize(window),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry())
	if err != nil {
		log.Error("worker has no usable address", "err", err)
		return
	}
	defer conn.Close()
	wait := l.options.RedialAfter
	for {
		attached, err := l.attach(ctx, conn, w)
		if ctx.Err() != nil {
			return
		}
		if attached {
			wait = l.options.RedialAfter
			l.metrics.broken.Inc()
			log.Warn("stream to worker ended", "err", err)
		}
		select {
		case l.broken <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-unlisted:
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, l.options.DiscoverEvery)
		conn.ResetConnectBackoff()
	}
}

// attach holds one stream until it breaks. It tells whether the worker said
// anything, and why the stream ended.
func (l *Link) attach(ctx context.Context, conn *grpc.ClientConn, w Worker) (attached bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, err := wire.NewFanoutClient(conn).Attach(ctx)
	if err != nil {
		return false, err
	}
	err = g.Send(&wire.FromEdge{What: &wire.FromEdge_Hello{Hello: &wire.Hello{Edge: l.options.Edge, Epoch: l.options.Epoch}}})
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	s := &stream{link: l, worker: w, grpc: g, heard: make(chan struct{}, 1), wakened: make(chan struct{}, 1)}
	l.metrics.streams.Inc()
	defer l.metrics.streams.Dec()
	l.served.join(s)
	defer l.served.leave(s)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.send(ctx); err != nil {
			cancel(err)
		}
	})
	wg.Go(func() {
		if err := s.listen(ctx); err != nil {
			cancel(err)
		}
	})
	attached, err = s.receive()
	if cause := context.Cause(ctx); cause != nil && status.Code(err) == codes.Canceled {
		err = cause
	}
	cancel(nil)
	for _, p := range l.partitions {
		p.leave(s)
	}
	wg.Wait()
	return attached, err
}

// listen ends the stream of a worker that is silent: a worker says at least
// an empty message each second.
func (s *stream) listen(ctx context.Context) error {
	silence := time.NewTimer(s.link.options.Silence)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.heard:
			silence.Reset(s.link.options.Silence)
		case <-silence.C:
			return errSilent
		}
	}
}

// receive hands what comes to the handler.
func (s *stream) receive() (attached bool, err error) {
	for {
		m, err := s.grpc.Recv()
		if err != nil {
			return attached, err
		}
		attached = true
		select {
		case s.heard <- struct{}{}:
		default:
		}
		if err := s.take(m); err != nil {
			return attached, err
		}
	}
}

func (s *stream) take(m *wire.ToEdge) error {
	h := s.link.options.Handler
	switch m := m.GetWhat().(type) {
	case *wire.ToEdge_Assigned:
		p, err := s.partition(m.Assigned.GetPartition())
		if err != nil {
			return err
		}
		s.assigned(p, m.Assigned.GetClaim())
	case *wire.ToEdge_Answer:
		p, err := s.partition(m.Answer.GetPartition())
		if err != nil {
			return err
		}
		if !p.from(s, m.Answer.GetClaim(), func() { h.Answer(m.Answer) }) {
			s.link.metrics.stale.Inc()
		}
	case *wire.ToEdge_Frames:
		p, err := s.partition(m.Frames.GetPartition())
		if err != nil {
			return err
		}
		s.frames(p, m.Frames)
	case *wire.ToEdge_Iq:
		h.Iq(m.Iq)
	case *wire.ToEdge_Replaced:
		h.Replaced(m.Replaced)
	}
	return nil
}

func (s *stream) partition(n int32) (*partition, error) {
	if n < 0 || int(n) >= len(s.link.partitions) {
		return nil, fmt.Errorf("link: worker %s speaks of partition %d of %d", s.worker.ID, n, len(s.link.partitions))
	}
	return s.link.partitions[n], nil
}

func (s *stream) assigned(p *partition, claim uint64) {
	p.deliver.Lock()
	taken := p.assign(s, claim)
	p.deliver.Unlock()
	if !taken {
		return
	}
	s.mu.Lock()
	s.wholes = append(s.wholes, assigned{p, claim})
	s.mu.Unlock()
	s.wake()
}

func (s *stream) frames(p *partition, f *wire.Frames) {
	next := int64(-1)
	heard := p.from(s, f.GetClaim(), func() {
		s.link.options.Handler.Frames(p.number, f.GetFrames())
		for _, frame := range f.GetFrames() {
			if o := frame.GetOutput(); o != nil {
				next = max(next, o.GetOffset()+1)
			}
		}
	})
	s.link.metrics.frames.Add(float64(len(f.GetFrames())))
	if !heard {
		s.link.metrics.stale.Inc()
		return
	}
	if next >= 0 {
		p.took(s, next)
		s.wake()
	}
}

// wake has send look for what is to be said.
func (s *stream) wake() {
	select {
	case s.wakened <- struct{}{}:
	default:
	}
}

// queueIq tells whether there is room for the iq.
func (s *stream) queueIq(iq *wire.Iq) bool {
	s.mu.Lock()
	full := len(s.iqs) >= s.link.options.MaxIqs
	if !full {
		s.iqs = append(s.iqs, iq)
	}
	s.mu.Unlock()
	s.wake()
	return !full
}

// send says what is to be said until ctx ends. Changes of interest that come
// within the same short moment, as in a storm of logins, go in one message a
// partition.
func (s *stream) send(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wakened:
		}
		if err := s.sendServes(); err != nil {
			return err
		}
		if err := s.sendIqs(); err != nil {
			return err
		}
		if s.link.options.Gather > 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(s.link.options.Gather):
			}
		}
		if err := s.sendWholes(); err != nil {
			return err
		}
		for _, p := range s.link.partitions {
			if err := s.say(p.tell(s, s.link.options.ChunkAccounts)); err != nil {
				return err
			}
		}
	}
}

func (s *stream) sendIqs() error {
	s.mu.Lock()
	iqs := s.iqs
	s.iqs = nil
	s.mu.Unlock()
	for _, iq := range iqs {
		if err := s.grpc.Send(&wire.FromEdge{What: &wire.FromEdge_Iq{Iq: iq}}); err != nil {
			return fmt.Errorf("link: send to worker %s: %w", s.worker.ID, err)
		}
	}
	return nil
}

func (s *stream) sendWholes() error {
	s.mu.Lock()
	wholes := s.wholes
	s.wholes = nil
	s.mu.Unlock()
	for _, a := range wholes {
		all := s.link.options.Handler.Whole(a.partition.number)
		if err := s.say(a.partition.whole(s, a.claim, all, s.link.options.ChunkAccounts)); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) say(messages []*wire.FromEdge) error {
	for _, m := range messages {
		if m.GetInterest() != nil {
			s.link.metrics.interests.Inc()
		}
		if err := s.grpc.Send(m); err != nil {
			return fmt.Errorf("link: send to worker %s: %w", s.worker.ID, err)
		}
	}
	return nil
}
