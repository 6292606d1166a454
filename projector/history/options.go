package history

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// Options configure a History. The zero value of a field means its default.
type Options struct {
	Postgres   *pgxpool.Pool   // required; migrated by schema/postgres
	ClickHouse clickhouse.Conn // required; its database is migrated by schema/clickhouse
	Tail       Tail            // required; nobody else may use it
	Member     Member          // required
	Partitions int             // of the topic account; required

	// Starts gives the first offset that the log still has of each partition of
	// the topic account: where a partition begins that was never copied. Nil: at
	// 0, and the distance to the end of retention is not known.
	Starts func(context.Context) (map[int32]int64, error)

	// Linger is how long the first record of a block waits for others; 1 s. The
	// fewer blocks there are, the less ClickHouse takes of the processor.
	Linger time.Duration
	// Spacing is how long after a block the next one goes at the earliest, if
	// somebody waits for a record in it (package awaited); 200 ms.
	Spacing time.Duration
	// MaxRows and MaxBytes bound a block; 100,000 and 32 MiB. The larger blocks
	// are, the less the server has to merge; MaxRows is at most 1,000,000.
	MaxRows  int
	MaxBytes int
	// InsertTimeout bounds one try to insert; 60 s.
	InsertTimeout time.Duration
	// SweepEvery is how often the contents of messages that are withheld are
	// taken out; 10 min.
	SweepEvery time.Duration

	Logger     *slog.Logger          // default slog.Default()
	Registerer prometheus.Registerer // where metrics go; nil for nowhere
}

// maxRows is the most that a block may have; see insertSettings.
const maxRows = 1_000_000

func (o *Options) check() error {
	switch {
	case o.Postgres == nil, o.ClickHouse == nil, o.Tail == nil, o.Member == nil:
		return errors.New("history: Postgres, ClickHouse, Tail and Member are required")
	case o.Partitions <= 0:
		return errors.New("history: Partitions must be positive")
	case o.MaxRows > maxRows:
		return errors.New("history: MaxRows must not be over 1,000,000")
	case o.Linger < 0, o.Spacing < 0, o.MaxRows < 0, o.MaxBytes < 0, o.InsertTimeout < 0, o.SweepEvery < 0:
		return errors.New("history: Linger, Spacing, MaxRows, MaxBytes, InsertTimeout and SweepEvery must not be negative")
	}
	return nil
}

func (o *Options) fill() {
	if o.Linger == 0 {
		o.Linger = time.Second
	}
	if o.Spacing == 0 {
		o.Spacing = 200 * time.Millisecond
	}
	if o.MaxRows == 0 {
		o.MaxRows = 100_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 32 << 20
	}
	if o.InsertTimeout == 0 {
		o.InsertTimeout = time.Minute
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = 10 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}
