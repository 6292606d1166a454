package history

import (
	"sync"
	"testing"
	"time"

	"github.com/rollcall/rollcall/schema/awaited"
	"github.com/rollcall/rollcall/schema/event"
)

// TestABlockGrowsWhileAnotherIsInserted: what comes while ClickHouse is busy is
// one block, however long ago its first record has lingered.
func TestABlockGrowsWhileAnotherIsInserted(t *testing.T) {
	b := newBench(t)
	h := b.writer(func(o *Options) { o.MaxRows = 10_000 })
	var mu sync.Mutex
	blocks := 0
	busy, free := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(free) })
	defer goOn()
	h.fault = func(step string) error {
		if step != "planned" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if blocks++; blocks == 1 {
			close(busy)
			<-free
		}
		return nil
	}
	stop := b.running(h)
	for p := range int32(partitions) {
		b.log.event(t, accountIn(p, 0), noon, online())
	}
	<-busy
	for range 20 {
		for p := range int32(partitions) {
			b.log.event(t, accountIn(p, 0), noon, online())
		}
		taken(t, h, b.log.ends())
	}
	goOn()
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	// The first may not have had a record of each partition: then the second has it.
	if blocks != 2 {
		t.Errorf("%d blocks, not 2", blocks)
	}
}

// TestWhatIsAwaitedGoesAtOnce: a record lingers until somebody waits for it, and
// a hint that comes before its record does not send the block off without it.
func TestWhatIsAwaitedGoesAtOnce(t *testing.T) {
	b := newBench(t)
	h := b.writer(func(o *Options) { o.Linger, o.Spacing, o.MaxRows = time.Hour, time.Millisecond, 10_000 })
	blocks := 0
	h.fault = func(step string) error {
		if step == "planned" {
			blocks++
		}
		return nil
	}
	stop := b.running(h)
	put := func(p int32) { b.log.event(t, accountIn(p, 0), noon, online()) }
	await := func(p int32, until int64) {
		t.Helper()
		for h.intake.awaited(p) < until { // until it listens
			if err := awaited.Tell(t.Context(), b.pool, map[int32]int64{p: until}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(1)
	put(2)
	taken(t, h, b.log.ends())
	await(1, 1)
	b.archived(map[int32]int64{1: 1, 2: 1})
	put(1)
	taken(t, h, b.log.ends())
	await(2, 1) // is in
	await(1, 3) // has a part that is to come
	put(1)
	b.archived(map[int32]int64{1: 3})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if blocks != 2 {
		t.Errorf("%d blocks, not 2", blocks)
	}
}

func online() *event.Event {
	return &event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "phone"}}}
}

// taken waits until the records below the offsets are in a block.
func taken(t *testing.T, h *History, ends map[int32]int64) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		rows, _, _, _ := h.intake.size()
		for p, end := range ends {
			if !h.intake.reached(p, end) {
				rows++
			}
		}
		if rows == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records are in no block", rows)
		}
	}
}
