package history

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// partitions of the topic in these tests.
const partitions = 4

// A memoryLog is the topic account in memory.
type memoryLog struct {
	mu       sync.Mutex
	parts    [partitions][]Fetched
	sequence uint64
	grown    chan struct{}
}

func newMemoryLog() *memoryLog { return &memoryLog{grown: make(chan struct{})} }

// put stores a record as it is and gives its offset.
func (l *memoryLog) put(partition int32, at time.Time, key string, value []byte) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	offset := int64(len(l.parts[partition]))
	l.parts[partition] = append(l.parts[partition], Fetched{Offset: offset, Time: at, Key: []byte(key), Value: value})
	close(l.grown)
	l.grown = make(chan struct{})
	return offset
}

// event stores e in the history of account and fills its envelope.
func (l *memoryLog) event(t testing.TB, account string, at time.Time, e *event.Event) int64 {
	t.Helper()
	l.mu.Lock()
	l.sequence++
	e.Sequence = l.sequence
	l.mu.Unlock()
	if e.Origin == "" {
		e.Origin = "edge/e1/4"
	}
	if e.Id == nil {
		id := uuid.New()
		e.Id = id[:]
	}
	e.At = at.UnixMicro()
	return l.put(home(account), at, account, encoded(t, e))
}

// lost stores EdgeLost in every partition.
func (l *memoryLog) lost(t testing.TB, at time.Time, edge string, epoch uint64) {
	for p := range int32(partitions) {
		l.put(p, at, "", encoded(t, &event.Event{At: at.UnixMicro(),
			Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: epoch}}}))
	}
}

// ends gives the next offset of each partition.
func (l *memoryLog) ends() map[int32]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make(map[int32]int64)
	for p := range l.parts {
		ends[int32(p)] = int64(len(l.parts[p]))
	}
	return ends
}

func encoded(t testing.TB, e *event.Event) []byte {
	t.Helper()
	b, err := event.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// home is the partition of an account.
func home(account string) int32 {
	b, err := jid.ParseBare(account)
	if err != nil {
		panic(err)
	}
	return topic.Partition(b, partitions)
}

// accountIn gives the nth account of a partition.
func accountIn(partition int32, n int) string {
	for i := 0; ; i++ {
		name := fmt.Sprintf("user%d@rollcall.example", i)
		if home(name) == partition {
			if n == 0 {
				return name
			}
			n--
		}
	}
}

// A memoryTail reads a memoryLog for one writer.
type memoryTail struct {
	log *memoryLog

	mu    sync.Mutex
	parts map[int32]*memoryPart
	kick  chan struct{}
}

type memoryPart struct {
	handling sync.Mutex // held while its batch is handled
	gone     bool       // under handling
	next     int64      // under handling
}

func (l *memoryLog) tail() *memoryTail {
	return &memoryTail{log: l, parts: make(map[int32]*memoryPart), kick: make(chan struct{}, 1)}
}

func (t *memoryTail) Assign(partition int32, offset int64) {
	t.Unassign(partition)
	t.mu.Lock()
	t.parts[partition] = &memoryPart{next: offset}
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *memoryTail) Unassign(partition int32) {
	t.mu.Lock()
	p := t.parts[partition]
	delete(t.parts, partition)
	t.mu.Unlock()
	if p != nil {
		p.handling.Lock()
		p.gone = true
		p.handling.Unlock()
	}
}

func (t *memoryTail) Run(ctx context.Context, handle func(context.Context, Batch) error) error {
	for {
		t.log.mu.Lock()
		logs, grown := t.log.parts, t.log.grown
		t.log.mu.Unlock()
		t.mu.Lock()
		parts := make(map[int32]*memoryPart, len(t.parts))
		for n, p := range t.parts {
			parts[n] = p
		}
		t.mu.Unlock()
		moved := false
		for n, p := range parts {
			p.handling.Lock()
			if records := logs[n]; !p.gone && p.next < int64(len(records)) {
				batch := records[p.next:min(int64(len(records)), p.next+2000)]
				if err := handle(ctx, Batch{Partition: n, Records: batch, HighWater: int64(len(records))}); err != nil {
					p.handling.Unlock()
					return err
				}
				p.next += int64(len(batch))
				moved = true
			}
			p.handling.Unlock()
		}
		if moved {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-grown:
		case <-t.kick:
		}
	}
}

// A memoryMember has the assignments that a test sends.
type memoryMember chan []int32

func all() memoryMember {
	m := make(memoryMember, 1)
	m <- []int32{0, 1, 2, 3}
	return m
}

func (m memoryMember) Run(ctx context.Context, assigned func(context.Context, []int32)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case partitions := <-m:
			assigned(ctx, partitions)
		}
	}
}
