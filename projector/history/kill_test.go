package history

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/deploy/local/localtest"
)

// TestClickHouseKilled kills ClickHouse while blocks are inserted, again and
// again; the writer waits and goes on, and everything is there once.
func TestClickHouseKilled(t *testing.T) {
	server := local.NewClickHouse(local.ClickHouseOptions{
		Dir:      filepath.Join(t.TempDir(), "clickhouse"),
		Launcher: localtest.Launcher(t),
		Library:  localtest.Engines(t).ClickHouse,
	})
	start := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	start()
	t.Cleanup(func() { _ = server.Kill() })
	b := newBenchAt(t, server.URL())
	h := b.writer(func(o *Options) { o.MaxRows = 40 })
	h.sink.piece = 7
	blocks := make(chan struct{}, 100)
	h.fault = func(step string) error {
		if step == "planned" {
			blocks <- struct{}{}
		}
		return nil
	}
	b.talk(300)
	stop := b.running(h)
	for range 3 {
		for range 4 {
			<-blocks
		}
		if err := server.Kill(); err != nil { // a block is planned, and on its way
			t.Fatal(err)
		}
		start()
	}
	go func() {
		for range blocks {
		}
	}()
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		t.Error(err)
	}
	close(blocks)
	b.whole(300)
	if err := server.Kill(); err != nil {
		t.Error(err)
	}
}
