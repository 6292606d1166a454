package generate

import (
	"context"
	"errors"
	"time"

	"github.com/rollcall/rollcall/projector/history"
)

// A memoryLog is the topic account in memory.
type memoryLog struct {
	records [][]history.Fetched
	count   int
	failsAt int // the append that fails, and all after it; 0 for none
	calls   int
}

var errGone = errors.New("the broker is gone")

func newMemoryLog() *memoryLog { return &memoryLog{records: make([][]history.Fetched, partitions)} }

func (l *memoryLog) Append(r Record, done func(int64, error)) {
	if l.calls++; l.failsAt > 0 && l.calls >= l.failsAt {
		done(0, errGone)
		return
	}
	l.count++
	offset := int64(len(l.records[r.Partition]))
	l.records[r.Partition] = append(l.records[r.Partition], history.Fetched{Offset: offset, Time: time.Unix(0, 0), Key: r.Key, Value: r.Value})
	done(offset, nil)
}

func (l *memoryLog) Read(_ context.Context, fn func(int32, int64, []byte) error) error {
	for p := range l.records {
		for _, r := range l.records[p] {
			if err := fn(int32(p), r.Offset, r.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *memoryLog) Empty(context.Context) (bool, error) { return l.count == 0, nil }
