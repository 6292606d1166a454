package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sort"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/projector/store"
)

// A Diff is a row in which the live views are not what the log says.
type Diff struct {
	Table string
	Key   string // "juliet@example.com nurse@example.com"
	What  string // "missing", "too much", or each column that differs with both values
}

// String gives the difference in a line.
func (d Diff) String() string { return d.Table + " " + d.Key + ": " + d.What }

// A Report tells what Verify found.
type Report struct {
	Partitions int
	Offsets    map[int32]int64 // next offsets at which it compared
	Records    int64           // folded
	Rows       int64           // compared
	Different  int64           // rows
	Diffs      []Diff          // the first of them
	Archived   bool            // older records came from the archive, so marks were not compared
}

// Verify folds the log from its start up to exactly the offsets of one snapshot
// of the live views, and compares row by row. Projection goes on meanwhile. A
// tombstone that is purged counts on neither side.
func Verify(ctx context.Context, o Options) (Report, error) {
	report := Report{Offsets: make(map[int32]int64)}
	if err := o.check(true); err != nil {
		return report, err
	}
	err := pgx.BeginTxFunc(ctx, o.Postgres, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		stands, err := store.ReadProjected(ctx, tx)
		if err != nil {
			return err
		}
		purged, err := store.ReadPurged(ctx, tx)
		if err != nil {
			return err
		}
		for i, at := range stands {
			if at.FoldVersion != store.FoldVersion {
				return fmt.Errorf("replay: partition %d was folded by version %d of the fold, this is %d", at.Partition, at.FoldVersion, store.FoldVersion)
			}
			if err := report.partition(ctx, &o, tx, at, purged[at.Partition]); err != nil {
				return err
			}
			o.Progress(Progress{Partition: at.Partition, Next: at.Next, To: at.Next, Partitions: len(stands), Done: i + 1})
		}
		strays, err := store.ReadStrays(ctx, tx)
		if err != nil {
			return err
		}
		report.compare(&o, &store.Rows{}, strays)
		return nil
	})
	return report, err
}

func (r *Report) partition(ctx context.Context, o *Options, tx pgx.Tx, at store.Projected, purged int64) error {
	w, archived, err := o.world(ctx, at.Partition, at.Next)
	if err != nil {
		return err
	}
	r.Partitions++
	r.Offsets[at.Partition] = at.Next
	r.Records += at.Next
	r.Archived = r.Archived || archived
	logged := w.rows()
	live, err := store.ReadPartition(ctx, tx, at.Partition)
	if err != nil {
		return err
	}
	logged.WithoutPurged(purged)
	live.WithoutPurged(purged)
	r.compare(o, logged, live)
	if !archived {
		marks, err := w.fold.Marks.AppendBinary(nil)
		if err != nil {
			return err
		}
		r.Rows++
		if at.Next > 0 && !bytes.Equal(marks, at.Marks) {
			r.add(o, Diff{"projected", fmt.Sprint(at.Partition), "marks differ"})
		}
	}
	return nil
}

func (w *world) rows() *store.Rows {
	rows := new(store.Rows)
	for _, s := range w.states {
		rows.Add(s, w.fold.Number)
	}
	return rows
}

func (r *Report) add(o *Options, d Diff) {
	r.Different++
	if len(r.Diffs) < o.MaxDiffs {
		r.Diffs = append(r.Diffs, d)
	}
}

func (r *Report) compare(o *Options, logged, live *store.Rows) {
	compare(r, o, "account", logged.Accounts, live.Accounts, func(a store.AccountRow) string { return a.Account })
	compare(r, o, "roster_item", logged.Items, live.Items, func(i store.ItemRow) store.ItemKey { return store.ItemKey{Account: i.Account, Contact: i.Contact} })
	compare(r, o, "resource", logged.Resources, live.Resources, func(p store.ResourceRow) store.ResourceKey {
		return store.ResourceKey{Account: p.Account, Resource: p.Resource}
	})
	compare(r, o, "directed", logged.Directed, live.Directed, func(d store.DirectedRow) store.DirectedRow { return d })
	compare(r, o, "inbox", logged.Inbox, live.Inbox, func(m store.InboxRow) store.InboxKey { return store.InboxKey{Account: m.Account, Offset: m.Offset} })
	compare(r, o, "origins", logged.Origins, live.Origins, func(g store.OriginsRow) string { return g.Account })
	compare(r, o, "ended", logged.Ended, live.Ended, func(e store.EndedRow) store.EndedKey { return store.EndedKey{Account: e.Account, Binding: e.Binding} })
	compare(r, o, "privacy", logged.Privacy, live.Privacy, func(p store.PrivacyRow) string { return p.Account })
	compare(r, o, "hidden", logged.Hidden, live.Hidden, func(h store.HiddenRow) store.HiddenRow { return h })
	compare(r, o, "push", logged.Push, live.Push, func(p store.PushRow) store.PushKey {
		return store.PushKey{Account: p.Account, Service: p.Service, Node: p.Node}
	})
	compare(r, o, "archive", logged.Archive, live.Archive, func(a store.ArchiveRow) string { return a.Account })
	compare(r, o, "refused", logged.Refused, live.Refused, func(f store.RefusedRow) store.RefusedRow { return f })
	compare(r, o, "node", logged.Nodes, live.Nodes, func(n store.NodeRow) store.NodeKey { return store.NodeKey{Account: n.Account, Node: n.Node} })
	compare(r, o, "node_item", logged.NodeItems, live.NodeItems, func(i store.NodeItemRow) store.NodeItemKey {
		return store.NodeItemKey{Account: i.Account, Node: i.Node, ID: i.ID}
	})
	compare(r, o, "storage", logged.Storage, live.Storage, func(e store.StorageRow) store.StorageKey {
		return store.StorageKey{Account: e.Account, Space: e.Space, Name: e.Name}
	})
}

func compare[R, K comparable](r *Report, o *Options, table string, logged, live []R, key func(R) K) {
	want := make(map[K]R, len(logged))
	for _, row := range logged {
		want[key(row)] = row
	}
	var diffs []Diff
	for _, row := range live {
		r.Rows++
		k := key(row)
		expected, there := want[k]
		delete(want, k)
		switch {
		case !there:
			diffs = append(diffs, Diff{table, name(k), "too much"})
		case row != expected:
			diffs = append(diffs, Diff{table, name(k), columns(row, expected)})
		}
	}
	for k := range want {
		r.Rows++
		diffs = append(diffs, Diff{table, name(k), "missing"})
	}
	sort.Slice(diffs, func(i, j int) bool { return diffs[i].Key < diffs[j].Key })
	for _, d := range diffs {
		r.add(o, d)
	}
}

// name gives a key in words.
func name(key any) string {
	return strings.Trim(fmt.Sprint(key), "{}")
}

// columns names the columns in which two rows differ, with both values.
func columns(live, logged any) string {
	var differ []string
	a, b := reflect.ValueOf(live), reflect.ValueOf(logged)
	for i := range a.NumField() {
		if x, y := a.Field(i).Interface(), b.Field(i).Interface(); x != y {
			differ = append(differ, fmt.Sprintf("%s: live %s, log %s", a.Type().Field(i).Name, quote(x), quote(y)))
		}
	}
	return strings.Join(differ, "; ")
}

func quote(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%.80q", s)
	}
	return fmt.Sprint(v)
}

// ErrDiffers is for a caller that wants an error from a Report.
var ErrDiffers = errors.New("replay: the live views differ from the log")

// Err gives ErrDiffers with the number of rows and the first difference, nil
// if there is none.
func (r *Report) Err() error {
	if r.Different == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d rows, first %s", ErrDiffers, r.Different, r.Rows, r.Diffs[0])
}
