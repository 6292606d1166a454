// Package logtest is the log in memory, for tests of what reads it, with random
// histories to put in.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/schema/topic"
)

// A Log is all topics of the log. Its methods may be called from any goroutine.
type Log struct {
	Partitions int // of account and outbox

	mu     sync.Mutex // guards all below
	topics map[string][][]projector.Record
	first  map[int32]int64 // of account: older records are gone
	grown  chan struct{}
	broken func(projector.Record) error
}

// New gives an empty log.
func New(partitions int) *Log {
	return &Log{Partitions: partitions, grown: make(chan struct{}), first: make(map[int32]int64),
		topics: map[string][][]projector.Record{
			topic.Account:    make([][]projector.Record, partitions),
			topic.Outbox:     make([][]projector.Record, partitions),
			topic.DeadLetter: make([][]projector.Record, 1),
		}}
}

// Put stores r and gives its position.
func (l *Log) Put(r projector.Record) topic.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.put(r)
}

func (l *Log) put(r projector.Record) topic.Position {
	parts := l.topics[r.Topic]
	parts[r.Partition] = append(parts[r.Partition], r)
	close(l.grown)
	l.grown = make(chan struct{})
	return topic.Position{Topic: r.Topic, Partition: r.Partition, Offset: int64(len(parts[r.Partition]) - 1)}
}

// Records gives what a partition has.
func (l *Log) Records(of string, partition int32) []projector.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.topics[of][partition])
}

// Forget removes what partition of account has below offset from Read and Tail.
func (l *Log) Forget(partition int32, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first[partition] = offset
}

// Break has every Append through an Appender ask f, which may fail it; nil mends it.
func (l *Log) Break(f func(projector.Record) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = f
}

// Starts gives the first offset of each partition of account.
func (l *Log) Starts(context.Context) (map[int32]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	starts := make(map[int32]int64)
	for p := range int32(l.Partitions) {
		starts[p] = l.first[p]
	}
	return starts, nil
}

// Ends gives the next offset of each partition of account.
func (l *Log) Ends(context.Context) (map[int32]int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make(map[int32]int64)
	for p, records := range l.topics[topic.Account] {
		ends[int32(p)] = int64(len(records))
	}
	return ends, nil
}

// Read is replay's.
func (l *Log) Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key, value []byte) error) error {
	l.mu.Lock()
	first, records := l.first[partition], l.topics[topic.Account][partition]
	l.mu.Unlock()
	if from < first || to > int64(len(records)) {
		return fmt.Errorf("logtest: partition %d has offsets %d to %d, asked for %d to %d", partition, first, len(records), from, to)
	}
	return read(ctx, records, from, to, fn)
}

// Whole gives the log with what it forgot: an archive.
func (l *Log) Whole() Archive { return Archive{l} }

// An Archive is replay's.
type Archive struct{ l *Log }

// Read gives every record.
func (a Archive) Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key string, value []byte) error) error {
	return read(ctx, a.l.Records(topic.Account, partition), from, to, func(offset int64, key, value []byte) error { return fn(offset, string(key), value) })
}

func read(ctx context.Context, records []projector.Record, from, to int64, fn func(offset int64, key, value []byte) error) error {
	for offset := from; offset < to; offset++ {
		if err := errors.Join(ctx.Err(), fn(offset, records[offset].Key, records[offset].Value)); err != nil {
			return err
		}
	}
	return nil
}

// ErrFull has an Appender say that it is full; ErrRefused is what it answers.
var (
	ErrFull    = errors.New("logtest: full")
	ErrRefused = errors.New("logtest: refused")
)

// Appender gives a projector.Appender that stores at once.
func (l *Log) Appender() projector.Appender { return appender{l} }

type appender struct{ l *Log }

func (a appender) TryAppend(r projector.Record, _ bool, done func(topic.Position, error)) bool {
	a.l.mu.Lock()
	var err error
	if a.l.broken != nil {
		err = a.l.broken(r)
	}
	var at topic.Position
	if err == nil {
		at = a.l.put(r)
	}
	a.l.mu.Unlock()
	if errors.Is(err, ErrFull) {
		return false
	}
	done(at, err)
	return true
}

func (a appender) Refused(err error) bool { return errors.Is(err, ErrRefused) }

// A Group gives partitions to members as the test says.
type Group struct {
	mu      sync.Mutex
	members map[string]chan []int32
	given   map[string][]int32
}

// NewGroup gives a group of nobody.
func NewGroup() *Group {
	return &Group{members: make(map[string]chan []int32), given: make(map[string][]int32)}
}

// Give sets the whole assignment of a member, whether it runs or not.
func (g *Group) Give(id string, partitions ...int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.given[id] = partitions
	if to := g.members[id]; to != nil {
		to <- partitions
	}
}

// Member gives a projector.Member.
func (g *Group) Member(id string) projector.Member { return member{g, id} }

type member struct {
	g  *Group
	id string
}

func (m member) Run(ctx context.Context, assigned func(context.Context, []int32)) error {
	news := make(chan []int32, 100)
	m.g.mu.Lock()
	m.g.members[m.id] = news
	if given, ok := m.g.given[m.id]; ok {
		news <- given
	}
	m.g.mu.Unlock()
	defer func() {
		m.g.mu.Lock()
		delete(m.g.members, m.id)
		m.g.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case partitions := <-news:
			assigned(ctx, partitions)
		}
	}
}

// Tail gives a projector.Tail whose batches hold up to most records.
func (l *Log) Tail(most int) projector.Tail {
	return &tail{l: l, most: most, next: make(map[int32]int64), changed: make(chan struct{}, 1)}
}

type tail struct {
	l       *Log
	most    int
	changed chan struct{}

	calling sync.Mutex // held while the handler runs
	mu      sync.Mutex // guards next
	next    map[int32]int64
}

func (t *tail) Assign(partition int32, offset int64) {
	t.mu.Lock()
	t.next[partition] = offset
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t *tail) Unassign(partition int32) {
	t.mu.Lock()
	delete(t.next, partition)
	t.mu.Unlock()
	t.calling.Lock()
	//lint:ignore SA2001 it waits for a call that is under way
	t.calling.Unlock()
}

func (t *tail) Run(ctx context.Context, handle func(context.Context, projector.Batch) error) error {
	for {
		t.l.mu.Lock()
		grown := t.l.grown
		t.l.mu.Unlock()
		some, err := t.round(ctx, handle)
		if err != nil {
			return err
		}
		if some && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-grown:
		case <-t.changed:
		}
	}
}

func (t *tail) round(ctx context.Context, handle func(context.Context, projector.Batch) error) (some bool, err error) {
	for p := range int32(t.l.Partitions) {
		records := t.l.Records(topic.Account, p)
		t.calling.Lock()
		t.mu.Lock()
		next, assigned := t.next[p]
		t.mu.Unlock()
		if !assigned || next >= int64(len(records)) {
			t.calling.Unlock()
			continue
		}
		b := projector.Batch{Partition: p, HighWater: int64(len(records))}
		for o := next; o < int64(len(records)) && len(b.Records) < t.most; o++ {
			r := records[o]
			b.Records = append(b.Records, projector.Fetched{Offset: o, Time: time.Now(), Key: r.Key, Value: r.Value})
		}
		err := handle(ctx, b)
		t.mu.Lock()
		if at, still := t.next[p]; still && at == next {
			t.next[p] = next + int64(len(b.Records))
		}
		t.mu.Unlock()
		t.calling.Unlock()
		if err != nil {
			return false, err
		}
		some = true
	}
	return some, nil
}
