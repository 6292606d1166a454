package history

import (
	"context"
	"sync"
	"time"
)

// An intake holds what was read and not yet put into a block. The tail fills
// it; the writer opens, empties and closes it.
type intake struct {
	bound int // bytes above which take waits

	mu      sync.Mutex
	parts   map[int32]*queue
	bytes   int       // of all records
	rows    int       // of all records
	since   time.Time // when the first of the present records came
	changed chan struct{}
}

// A queue holds the records of a partition that follow one another.
type queue struct {
	next      int64 // the first offset that is not in it
	until     int64 // records from here on are not wanted; 0 for no end
	records   []Fetched
	highWater int64
	awaited   int64 // somebody waits for the records below
}

func newIntake(bound int) *intake {
	return &intake{bound: bound, parts: make(map[int32]*queue), changed: make(chan struct{})}
}

// cost of a record beside its bytes.
const recordOverhead = 100

func cost(r *Fetched) int { return len(r.Key) + len(r.Value) + recordOverhead }

// signal wakes whoever waits. mu is held.
func (i *intake) signal() {
	close(i.changed)
	i.changed = make(chan struct{})
}

// open begins to take records of partition from offset next on, up to offset
// until if it is not 0; those are taken however many there are.
func (i *intake) open(partition int32, next, until int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.parts[partition] = &queue{next: next, until: until, highWater: next}
}

// close ends it and drops what there is; a take that waits ends.
func (i *intake) close(partition int32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if q := i.parts[partition]; q != nil {
		for n := range q.records {
			i.bytes -= cost(&q.records[n])
		}
		i.rows -= len(q.records)
		delete(i.parts, partition)
		i.signal()
	}
}

// take adds a batch. It waits while there is too much, so that the tail reads
// no further; it is the tail's handle.
func (i *intake) take(ctx context.Context, b Batch) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	for q := i.parts[b.Partition]; i.bytes > i.bound && q != nil && q.until == 0; q = i.parts[b.Partition] {
		changed := i.changed
		i.mu.Unlock()
		select {
		case <-ctx.Done():
			i.mu.Lock()
			return ctx.Err()
		case <-changed:
		}
		i.mu.Lock()
	}
	q := i.parts[b.Partition]
	if q == nil {
		return nil
	}
	q.highWater = b.HighWater
	copied := make([]byte, 0, lengths(b.Records))
	for _, r := range b.Records {
		if r.Offset < q.next {
			continue
		}
		if q.until > 0 && r.Offset >= q.until {
			q.next = max(q.next, q.until)
			break
		}
		if i.rows == 0 {
			i.since = time.Now()
		}
		copied = append(append(copied, r.Key...), r.Value...)
		own := copied[len(copied)-len(r.Key)-len(r.Value):]
		r.Key, r.Value = own[:len(r.Key):len(r.Key)], own[len(r.Key):len(own):len(own)]
		q.records = append(q.records, r)
		q.next = r.Offset + 1
		i.rows++
		i.bytes += cost(&r)
	}
	i.signal()
	return nil
}

// lengths gives the bytes of keys and values.
func lengths(records []Fetched) (bytes int) {
	for i := range records {
		bytes += len(records[i].Key) + len(records[i].Value)
	}
	return bytes
}

// size tells how many records and bytes there are, since when, and gives a
// channel that is closed when that changes.
func (i *intake) size() (rows, bytes int, since time.Time, changed <-chan struct{}) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rows, i.bytes, i.since, i.changed
}

// peek gives the first records of partition, at most rows and about bytes of
// them but one at least, and its high water mark. They stay until drop.
func (i *intake) peek(partition int32, rows, bytes int) ([]Fetched, int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	q := i.parts[partition]
	if q == nil {
		return nil, 0
	}
	n := 0
	for n < min(len(q.records), rows) && (n == 0 || bytes > 0) {
		bytes -= cost(&q.records[n])
		n++
	}
	return q.records[:n:n], q.highWater
}

// await notes that somebody waits for the records of partition below offset.
func (i *intake) await(partition int32, offset int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if q := i.parts[partition]; q != nil && offset > q.awaited {
		q.awaited = offset
		i.signal()
	}
}

// awaited gives the offset below which somebody waits, or waited, for the
// records of partition.
func (i *intake) awaited(partition int32) int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if q := i.parts[partition]; q != nil {
		return q.awaited
	}
	return 0
}

// reached tells whether all records of partition below offset are there.
func (i *intake) reached(partition int32, offset int64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	q := i.parts[partition]
	return q != nil && q.next >= offset
}

// drop takes out the records of partition below offset.
func (i *intake) drop(partition int32, offset int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	q := i.parts[partition]
	if q == nil {
		return
	}
	n := 0
	for n < len(q.records) && q.records[n].Offset < offset {
		i.bytes -= cost(&q.records[n])
		n++
	}
	q.records = append([]Fetched(nil), q.records[n:]...)
	i.rows -= n
	i.since = time.Now()
	i.signal()
}
