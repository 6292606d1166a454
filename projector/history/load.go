package history

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
)

// A Loader inserts records that are in no log, in blocks that its caller plans:
// they become what History makes of them, by the same code. It is for a
// database in which nothing else writes. It is not safe for concurrent use,
// but Insert may run beside Judge.
type Loader struct {
	sink   sink
	judges []*judge // by partition
}

// NewLoader gives a loader for a history that begins at offset 0 of each of the
// partitions; conn's database is migrated (schema/clickhouse).
func NewLoader(conn clickhouse.Conn, partitions int) *Loader {
	l := &Loader{sink: newSink(conn, prometheus.NewCounter(prometheus.CounterOpts{Name: "deleted"}))}
	for p := range int32(partitions) {
		l.judges = append(l.judges, &judge{partition: p, of: partitions})
	}
	return l
}

// A Load is a block of rows. Its zero value is not valid.
type Load struct{ block *block }

// Judge makes a block of records, by partition: those that follow the ones of
// the call before, at most 1,000,000, whose values must not change until Done.
// Id makes the token: the same records must always have the same, and no others.
// An account must not be deleted and created again in one block.
func (l *Loader) Judge(id uuid.UUID, records [][]Fetched) (Load, error) {
	b := &block{plan: plan{id: id}}
	for p := range records {
		if len(records[p]) == 0 {
			continue
		}
		taken, err := b.add(l.judges[p], records[p])
		if err == nil && taken < len(records[p]) {
			err = errShort
		}
		if err != nil {
			return Load{}, fmt.Errorf("load block %s, partition %d: %w", id, p, err)
		}
	}
	return Load{b}, b.seal()
}

// Insert puts b into ClickHouse, once, however often it is called: after an
// error call it again, as long as fewer than 10,000 other blocks came after.
func (l *Loader) Insert(ctx context.Context, b Load) error {
	if err := l.sink.insert(ctx, b.block); err != nil {
		return err
	}
	return l.sink.forget(ctx, b.block)
}

// Done ends the use of b, inserted or not: Judge uses its memory again.
func (b Load) Done() { b.block.release() }
