package fanout_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/topic"
)

// memory is a log in memory: two topics, and the offsets of one group.
type memory struct {
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced at every change
	records   map[string]*[parts][]fanout.Fetched
	committed map[int32]int64
}

func newMemory() *memory {
	return &memory{
		changed:   make(chan struct{}),
		records:   map[string]*[parts][]fanout.Fetched{topic.Account: {}, topic.Outbox: {}},
		committed: make(map[int32]int64),
	}
}

// touch tells all who wait. m.mu is held.
func (m *memory) touch() { close(m.changed); m.changed = make(chan struct{}) }

func (m *memory) append(name string, partition int32, key string, value []byte) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := &m.records[name][partition]
	offset := int64(len(*list))
	*list = append(*list, fanout.Fetched{Offset: offset, Key: []byte(key), Value: value})
	m.touch()
	return offset
}

func (m *memory) Ends(_ context.Context, name string) (map[int32]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ends := make(map[int32]int64)
	for n, list := range m.records[name] {
		ends[int32(n)] = int64(len(list))
	}
	return ends, nil
}

func (m *memory) Starts(context.Context, string) (map[int32]int64, error) {
	return make(map[int32]int64), nil
}

func (m *memory) committedAt(partition int32) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.committed[partition]
}

// tail reads a topic of a memory.
type tail struct {
	log      *memory
	topic    string
	next     map[int32]int64
	handling int32
	idle     *sync.Cond
	paused   bool // reads nothing
}

func (m *memory) tail(name string) *tail {
	return &tail{log: m, topic: name, next: make(map[int32]int64), handling: -1, idle: sync.NewCond(&m.mu)}
}

func (l *tail) pause(on bool) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	l.paused = on
	l.log.touch()
}

// passes waits until a partition's records below next are handed over.
func (l *tail) passes(t testing.TB, partition int32, next int64) {
	t.Helper()
	eventually(t, "the tail has read on", func() bool {
		l.log.mu.Lock()
		defer l.log.mu.Unlock()
		return l.next[partition] >= next && l.handling != partition
	})
}

func (l *tail) Assign(partition int32, offset int64) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	l.next[partition] = offset
	l.log.touch()
}

func (l *tail) Unassign(partition int32) {
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	delete(l.next, partition)
	for l.handling == partition {
		l.idle.Wait()
	}
}

func (l *tail) Run(ctx context.Context, handle func(context.Context, fanout.Batch) error) error {
	m := l.log
	m.mu.Lock()
	defer m.mu.Unlock()
	for ctx.Err() == nil {
		read := false
		for _, n := range slices.Collect(maps.Keys(l.next)) {
			next, ok := l.next[n]
			all := m.records[l.topic][n]
			if l.paused || !ok || int(next) >= len(all) {
				continue
			}
			read = true
			b := fanout.Batch{Partition: n, Records: all[next:min(len(all), int(next)+50)], HighWater: int64(len(all))}
			l.next[n] = next + int64(len(b.Records))
			l.handling = n
			m.mu.Unlock()
			err := handle(ctx, b)
			m.mu.Lock()
			l.handling = -1
			l.idle.Broadcast()
			if err != nil {
				return err
			}
		}
		if read {
			continue
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
		}
		m.mu.Lock()
	}
	return ctx.Err()
}

// member is given what a test says.
type member struct {
	log    *memory
	assign chan []int32
}

func (g *member) Run(ctx context.Context, assigned func(context.Context, []int32)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case partitions := <-g.assign:
			assigned(ctx, partitions)
		}
	}
}

func (g *member) Commit(_ context.Context, _ string, next map[int32]int64) error {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	maps.Copy(g.log.committed, next)
	return nil
}

func (g *member) Committed(context.Context, string) (map[int32]int64, error) {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	return maps.Clone(g.log.committed), nil
}
