package link

import (
	"fmt"
	"sync"

	"github.com/rollcall/rollcall/schema/wire"
)

// served is what every worker is told of the components that are connected to
// this edge, on whatever stream.
type served struct {
	mu         sync.Mutex
	components []*wire.Component
	streams    map[*stream]struct{}
}

// Serve tells every worker, those to come too, which components are connected
// here (XEP-0114).
func (l *Link) Serve(components []*wire.Component) {
	s := &l.served
	s.mu.Lock()
	defer s.mu.Unlock()
	s.components = components
	for to := range s.streams {
		to.serve(&wire.Serves{Components: components})
	}
}

// join begins to tell a stream's worker.
func (s *served) join(to *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams == nil {
		s.streams = make(map[*stream]struct{})
	}
	s.streams[to] = struct{}{}
	if len(s.components) > 0 {
		to.serve(&wire.Serves{Components: s.components})
	}
}

func (s *served) leave(to *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, to)
}

// serve has the worker told; of what was not told yet the newest counts.
func (s *stream) serve(what *wire.Serves) {
	s.mu.Lock()
	s.serves = what
	s.mu.Unlock()
	s.wake()
}

func (s *stream) sendServes() error {
	s.mu.Lock()
	what := s.serves
	s.serves = nil
	s.mu.Unlock()
	if what == nil {
		return nil
	}
	if err := s.grpc.Send(&wire.FromEdge{What: &wire.FromEdge_Serves{Serves: what}}); err != nil {
		return fmt.Errorf("link: send to worker %s: %w", s.worker.ID, err)
	}
	return nil
}
