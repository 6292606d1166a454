// Package awaitedtest hears in tests what is waited for.
package awaitedtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/schema/awaited"
)

// Hear listens from now on. The function that it gives ends that, and gives
// what was told until then, each as a partition and an offset.
func Hear(t testing.TB, pool *pgxpool.Pool) func() []string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	heard, ended := make(chan string, 10_000), make(chan struct{})
	go func() {
		defer close(ended)
		_ = awaited.Listen(ctx, pool, func(partition int32, until int64) { heard <- fmt.Sprint(partition, until) })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	tell := func(mark int64) {
		if err := awaited.Tell(t.Context(), pool, map[int32]int64{-1: mark}); err != nil {
			t.Fatal(err)
		}
	}
	for len(heard) == 0 { // until it listens
		tell(1)
	}
	return func() (told []string) {
		tell(2)
		for h := range heard {
			switch h {
			case "-1 1":
			case "-1 2":
				return told
			default:
				told = append(told, h)
			}
		}
		return told
	}
}
