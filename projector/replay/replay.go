// Package replay folds old ranges of the log again, by the projector's own
// fold: to check that the live views are what the log says (Verify), to make
// them anew beside the live ones and swap (Rebuild), and to tell what an account
// was at any past moment and why (StateAt, History).
package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/schema/account"
)

// A Log reads the topic account.
type Log interface {
	// Starts gives the first offset that each partition still has.
	Starts(ctx context.Context) (map[int32]int64, error)
	// Ends gives the offset after the last record of each.
	Ends(ctx context.Context) (map[int32]int64, error)
	// Read calls fn for each record with from <= offset < to, in order. It
	// returns once it has met to, or with fn's error, or an error if a record
	// of the range is no longer there. The slices are fn's until it returns.
	Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key, value []byte) error) error
}

// An Archive has what the log no longer keeps (projector/history). A message
// that must not be archived comes without its content, and an account that was
// deleted is not there any more.
type Archive interface {
	Read(ctx context.Context, partition int32, from, to int64, fn func(offset int64, key string, value []byte) error) error
}

// Options say what is replayed. Postgres is needed by Verify and Rebuild alone.
type Options struct {
	Postgres   *pgxpool.Pool
	Log        Log
	Archive    Archive // may be nil if the log still begins at offset 0
	Partitions int     // of the topic account

	Progress func(Progress) // called now and then; may be nil
	MaxDiffs int            // Verify: how many differences are described; 100
	Swap     bool           // Rebuild: put what was made in the place of the live views

	fault func(step string) error // tests
}

// Progress tells how far a replay is in the partition that it is at.
type Progress struct {
	Partition  int32
	Next, To   int64 // offsets
	Partitions int   // in all
	Done       int   // of them
}

func (o *Options) check(postgres bool) error {
	if o.Log == nil || o.Partitions <= 0 || postgres && o.Postgres == nil {
		return errors.New("replay: Log, Partitions and, for views, Postgres are required")
	}
	if o.MaxDiffs == 0 {
		o.MaxDiffs = 100
	}
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.fault == nil {
		o.fault = func(string) error { return nil }
	}
	return nil
}

// progressEvery is the number of records between two calls of Progress.
const progressEvery = 50_000

// records calls fn for each record of partition from 0 to to, older ones from
// the archive; archived tells that there were such.
func (o *Options) records(ctx context.Context, partition int32, from, to int64, fn func(fold.Record) error) (archived bool, err error) {
	if from >= to {
		return false, nil
	}
	starts, err := o.Log.Starts(ctx)
	if err != nil {
		return false, err
	}
	decode := func(offset int64, key, value []byte) error {
		r, err := fold.Decode(partition, offset, key, value)
		if err != nil {
			return err
		}
		if (offset+1)%progressEvery == 0 {
			o.Progress(Progress{Partition: partition, Next: offset + 1, To: to, Partitions: o.Partitions, Done: int(partition)})
		}
		return fn(r)
	}
	if start := min(starts[partition], to); from < start {
		if o.Archive == nil {
			return false, fmt.Errorf("replay: partition %d of the log begins at offset %d, and there is no archive", partition, start)
		}
		archived = true
		if err := o.Archive.Read(ctx, partition, from, start, func(offset int64, key string, value []byte) error {
			return decode(offset, []byte(key), value)
		}); err != nil {
			return true, fmt.Errorf("replay partition %d from the archive: %w", partition, err)
		}
		from = start
	}
	if from < to {
		if err := o.Log.Read(ctx, partition, from, to, decode); err != nil {
			return archived, fmt.Errorf("replay partition %d from offset %d: %w", partition, from, err)
		}
	}
	return archived, nil
}

// A world is every account of a partition, in memory.
type world struct {
	fold   fold.Partition
	states map[string]*account.State
	edges  map[string]map[string]struct{} // edge -> accounts that had a resource there at some time
}

func newWorld(partition int32, of int) *world {
	return &world{fold: fold.Partition{Number: partition, Of: of},
		states: make(map[string]*account.State), edges: make(map[string]map[string]struct{})}
}

// step folds one record as the projector does.
func (w *world) step(r fold.Record) error {
	w.fold.Next = r.Offset + 1
	if r.Garbage != nil {
		return nil
	}
	if lost := r.Lost(); lost != nil {
		if w.fold.Admit(&r) {
			names := slices.Sorted(maps.Keys(w.edges[lost.GetEdge()]))
			for _, name := range names {
				w.fold.Discard(&r, w.states[name])
			}
		}
		return nil
	}
	s := w.states[r.Key]
	if s == nil {
		b, err := fold.Account(r.Key, w.fold.Number, w.fold.Of)
		if err != nil {
			return nil // set aside
		}
		s = account.New(b)
		w.states[r.Key] = s
	}
	if !w.fold.Admit(&r) {
		return nil
	}
	w.fold.Discard(&r, s)
	if bound := r.Event.GetResourceBound(); bound != nil {
		accounts := w.edges[bound.GetEdge()]
		if accounts == nil {
			accounts = make(map[string]struct{})
			w.edges[bound.GetEdge()] = accounts
		}
		accounts[r.Key] = struct{}{}
	}
	return nil
}

// world gives the world of partition at offset to.
func (o *Options) world(ctx context.Context, partition int32, to int64) (w *world, archived bool, err error) {
	w = newWorld(partition, o.Partitions)
	archived, err = o.records(ctx, partition, 0, to, w.step)
	// An archive leaves gaps, perhaps at the very end.
	w.fold.Next = max(w.fold.Next, to)
	return w, archived, err
}
