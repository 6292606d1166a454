// Package gather makes one load of many: what is asked for while a load runs
// goes together in the next one. When thousands of clients come at once each
// load serves many of them; a lone one waits for nobody.
package gather

import (
	"context"
	"sync"
	"time"
)

// A Load answers questions, each in its place. An error is the answer to all.
type Load[Q, A any] func(ctx context.Context, questions []Q) ([]A, error)

// loadTime bounds one load; who asked may give up earlier.
const loadTime = 10 * time.Second

// A Gatherer gathers questions. Its methods may be called by any goroutine.
type Gatherer[Q, A any] struct {
	load     Load[Q, A]
	parallel int // loads at a time
	most     int // questions of a load

	mu      sync.Mutex
	queue   []asked[Q, A]
	running int // 0 <= running <= parallel
}

type asked[Q, A any] struct {
	question Q
	answer   chan answer[A] // holds one
}

type answer[A any] struct {
	value A
	err   error
}

// New gives a Gatherer with at most parallel loads at a time, of at most so
// many questions each.
func New[Q, A any](parallel, most int, load Load[Q, A]) *Gatherer[Q, A] {
	return &Gatherer[Q, A]{load: load, parallel: parallel, most: most}
}

// Ask gives the answer to q, the load's error, or ctx's.
func (g *Gatherer[Q, A]) Ask(ctx context.Context, q Q) (A, error) {
	a := asked[Q, A]{q, make(chan answer[A], 1)}
	g.mu.Lock()
	g.queue = append(g.queue, a)
	start := g.running < g.parallel
	if start {
		g.running++
	}
	g.mu.Unlock()
	if start {
		go g.run()
	}
	select {
	case got := <-a.answer:
		return got.value, got.err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// run loads until nothing is asked for.
func (g *Gatherer[Q, A]) run() {
	for {
		batch := g.take()
		if batch == nil {
			return
		}
		questions := make([]Q, len(batch))
		for i, a := range batch {
			questions[i] = a.question
		}
		ctx, cancel := context.WithTimeout(context.Background(), loadTime)
		values, err := g.load(ctx, questions)
		cancel()
		for i, a := range batch {
			if err != nil {
				a.answer <- answer[A]{err: err}
			} else {
				a.answer <- answer[A]{value: values[i]}
			}
		}
	}
}

// take gives the next batch; if there is none the caller's load is over.
func (g *Gatherer[Q, A]) take() []asked[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.queue), g.most)
	if n == 0 {
		g.running--
		return nil
	}
	batch := g.queue[:n:n]
	g.queue = g.queue[n:]
	if len(g.queue) == 0 {
		g.queue = nil
	}
	return batch
}
