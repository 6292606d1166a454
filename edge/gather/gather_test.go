package gather

import (
	"context"
	"errors"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsAskedDuringALoadGoesTogether(t *testing.T) {
	var (
		mu    sync.Mutex
		sizes []int
	)
	release := make(chan struct{})
	began := make(chan struct{}, 100)
	g := New(1, 40, func(_ context.Context, q []int) ([]int, error) {
		began <- struct{}{}
		<-release
		mu.Lock()
		sizes = append(sizes, len(q))
		mu.Unlock()
		squares := make([]int, len(q))
		for i, v := range q {
			squares[i] = v * v
		}
		return squares, nil
	})
	var wg sync.WaitGroup
	ask := func(i int) {
		wg.Go(func() {
			got, err := g.Ask(context.Background(), i)
			if err != nil || got != i*i {
				t.Errorf("Ask(%d) = %d, %v", i, got, err)
			}
		})
	}
	ask(1)
	<-began
	for i := range 100 {
		ask(i)
	}
	for {
		g.mu.Lock()
		n := len(g.queue)
		g.mu.Unlock()
		if n == 100 {
			break
		}
	}
	close(release)
	wg.Wait()
	if len(sizes) != 4 || sizes[0] != 1 || sizes[1] != 40 || sizes[2] != 40 || sizes[3] != 20 {
		t.Errorf("loads of %v questions, want 1, 40, 40, 20", sizes)
	}
}

func TestAnErrorIsTheAnswerToAll(t *testing.T) {
	away := errors.New("away")
	g := New(2, 10, func(context.Context, []string) ([]string, error) { return nil, away })
	if _, err := g.Ask(context.Background(), "a"); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}

func TestWhoAskedMayGiveUp(t *testing.T) {
	release := make(chan struct{})
	g := New(1, 10, func(_ context.Context, q []string) ([]string, error) { <-release; return q, nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := g.Ask(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
}
