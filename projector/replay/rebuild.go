package replay

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
)

// A Rebuilt tells what Rebuild made.
type Rebuilt struct {
	Partitions int
	Kept       int             // of them, those that an earlier, unfinished rebuild had made
	Offsets    map[int32]int64 // next offsets of what was made
	Records    int64           // folded
	Rows       int64           // written by COPY
	Tail       int64           // records folded after, to come up with the live projector
	Swapped    bool
}

// smallTail is how many records may be left to fold while the live projector waits.
const smallTail = 2000

// catchUpRounds bounds the attempts to get so near to a live projector that
// never rests; then it waits for more.
const catchUpRounds = 20

// catchUpBatch is the number of records in one commit of the catching up.
const catchUpBatch = 5000

// Rebuild folds the log from its start into the schema views_rebuild, whose
// rows are then, byte for byte, what the live ones are at the same offsets,
// whatever is in the live ones now. With o.Swap it takes their place: the live
// projector waits for the last records only, and goes on. Without, views_rebuild
// stays for whoever wants to look at it. It may be called again after a
// failure: partitions that are finished are kept.
func Rebuild(ctx context.Context, o Options) (Rebuilt, error) {
	made := Rebuilt{Offsets: make(map[int32]int64)}
	if err := o.check(true); err != nil {
		return made, err
	}
	if err := store.CreateShadow(ctx, o.Postgres); err != nil {
		return made, err
	}
	done, err := store.Shadowed(ctx, o.Postgres)
	if err != nil {
		return made, err
	}
	live, err := liveOffsets(ctx, &o)
	if err != nil {
		return made, err
	}
	for partition := range int32(o.Partitions) {
		made.Partitions++
		if at, there := done[partition]; there {
			if at.FoldVersion != store.FoldVersion {
				return made, fmt.Errorf("replay: schema %s is of version %d of the fold, this is %d: drop it", store.Shadow, at.FoldVersion, store.FoldVersion)
			}
			made.Kept++
			made.Offsets[partition] = at.Next
			continue
		}
		if err := made.fill(ctx, &o, partition, live[partition]); err != nil {
			return made, err
		}
		if err := o.fault("filled"); err != nil {
			return made, err
		}
	}
	if err := store.IndexShadow(ctx, o.Postgres); err != nil {
		return made, err
	}
	shadow := store.In(o.Postgres, store.Shadow)
	// Once without the locks, so that little is left for when they are held.
	for range catchUpRounds {
		if live, err = liveOffsets(ctx, &o); err != nil {
			return made, err
		}
		left, err := made.catchUp(ctx, &o, shadow, live)
		if err != nil {
			return made, err
		}
		if left < smallTail {
			break
		}
	}
	if err := o.fault("indexed"); err != nil || !o.Swap {
		return made, err
	}
	err = store.Swap(ctx, o.Postgres, func(stands []store.Projected) error {
		live := make(map[int32]int64)
		for _, at := range stands {
			live[at.Partition] = at.Next
		}
		if _, err := made.catchUp(ctx, &o, shadow, live); err != nil {
			return err
		}
		return o.fault("swap")
	})
	made.Swapped = err == nil
	return made, err
}

// liveOffsets gives how far the live views are. Where they were folded by
// another version of the fold their offsets count all the same.
func liveOffsets(ctx context.Context, o *Options) (map[int32]int64, error) {
	live := make(map[int32]int64)
	err := pgx.BeginFunc(ctx, o.Postgres, func(tx pgx.Tx) error {
		stands, err := store.ReadProjected(ctx, tx)
		for _, at := range stands {
			live[at.Partition] = at.Next
		}
		return err
	})
	return live, err
}

// fill folds a partition up to offset to and writes it.
func (m *Rebuilt) fill(ctx context.Context, o *Options, partition int32, to int64) error {
	w, _, err := o.world(ctx, partition, to)
	if err != nil {
		return err
	}
	marks, err := w.fold.Marks.AppendBinary(nil)
	if err != nil {
		return err
	}
	rows := w.rows()
	at := store.Projected{Partition: partition, Next: to, Marks: marks, FoldVersion: store.FoldVersion}
	if err := store.FillShadow(ctx, o.Postgres, at, rows); err != nil {
		return err
	}
	m.Offsets[partition] = to
	m.Records += to
	m.Rows += int64(rows.Len())
	o.Progress(Progress{Partition: partition, Next: to, To: to, Partitions: o.Partitions, Done: int(partition) + 1})
	return nil
}

// catchUp brings the shadow to the offsets in live, and tells how many records
// that took.
func (m *Rebuilt) catchUp(ctx context.Context, o *Options, shadow *store.Store, live map[int32]int64) (int64, error) {
	var folded int64
	for partition, to := range live {
		if to < m.Offsets[partition] {
			return folded, fmt.Errorf("replay: the live views of partition %d went back from offset %d to %d: drop schema %s", partition, m.Offsets[partition], to, store.Shadow)
		}
		for m.Offsets[partition] < to {
			next := min(to, m.Offsets[partition]+catchUpBatch)
			if err := o.extend(ctx, shadow, partition, next); err != nil {
				return folded, err
			}
			folded += next - m.Offsets[partition]
			m.Offsets[partition] = next
		}
	}
	m.Tail += folded
	return folded, nil
}

// extend folds the records of the shadow's partition up to offset to, with
// states from Postgres, as the projector does.
func (o *Options) extend(ctx context.Context, shadow *store.Store, partition int32, to int64) error {
	at, err := shadow.Open(ctx, partition)
	if err != nil {
		return err
	}
	p := fold.Partition{Number: partition, Of: o.Partitions, Next: at.Next}
	if err := p.Marks.UnmarshalBinary(at.Marks); err != nil {
		return err
	}
	states := make(map[string]*account.State)
	from := at.Next
	var pending []fold.Record
	// flush folds what is pending and commits up to next.
	flush := func(next int64) error {
		if err := loadAll(ctx, shadow, &p, states, pending); err != nil {
			return err
		}
		for i := range pending {
			if r := &pending[i]; r.Garbage == nil && states[r.Key] != nil && p.Admit(r) {
				if _, err := p.Apply(r, states[r.Key]); err != nil {
					return err
				}
			}
		}
		pending = pending[:0]
		return commit(ctx, shadow, &p, states, &from, next)
	}
	_, err = o.records(ctx, partition, from, to, func(r fold.Record) error {
		lost := r.Event.GetEdgeLost()
		if lost == nil {
			pending = append(pending, r)
			return nil
		}
		// It is for whoever Postgres says, so all before it is committed first.
		if r.Offset > from {
			if err := flush(r.Offset); err != nil {
				return err
			}
		}
		if p.Admit(&r) {
			names, err := shadow.OfEdge(ctx, partition, lost.GetEdge(), lost.GetEpoch())
			if err != nil {
				return err
			}
			touched := make([]fold.Record, len(names))
			for i, name := range names {
				touched[i] = fold.Record{Key: name, Event: r.Event}
			}
			if err := loadAll(ctx, shadow, &p, states, touched); err != nil {
				return err
			}
			for _, name := range names {
				if _, err := p.Apply(&r, states[name]); err != nil {
					return err
				}
			}
		}
		return commit(ctx, shadow, &p, states, &from, r.Offset+1)
	})
	if err == nil && from < to {
		err = flush(to)
	}
	return err
}

func loadAll(ctx context.Context, s *store.Store, p *fold.Partition, states map[string]*account.State, records []fold.Record) error {
	var missing []jid.Bare
	for i := range records {
		r := &records[i]
		if _, seen := states[r.Key]; seen || r.Garbage != nil {
			continue
		}
		states[r.Key] = nil // of a key that names no account nothing is folded
		if b, err := fold.Account(r.Key, p.Number, p.Of); err == nil {
			missing = append(missing, b)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	loaded, err := s.Load(ctx, missing)
	for key, state := range loaded {
		states[key] = state
	}
	return err
}

func commit(ctx context.Context, s *store.Store, p *fold.Partition, states map[string]*account.State, from *int64, next int64) error {
	marks, err := p.Marks.AppendBinary(nil)
	if err != nil {
		return err
	}
	u := &store.Unit{Advances: []store.Advance{{Partition: p.Number, From: *from, To: next, Marks: marks}}}
	for _, state := range states {
		if state != nil {
			u.Collect(state, p.Number)
		}
	}
	if err := s.Commit(ctx, u); err != nil {
		return fmt.Errorf("replay: catch up partition %d at offset %d: %w", p.Number, *from, err)
	}
	*from = next
	return nil
}
