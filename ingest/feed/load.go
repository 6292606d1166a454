package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/watch"
)

// load reads from the projection what every partition folds to, and waits for
// Postgres as long as ctx lasts.
func (h *Hub) load(ctx context.Context) ([]*watch.Partition, error) {
	for {
		folds, err := h.snapshot(ctx)
		if err == nil {
			return folds, nil
		}
		h.options.Logger.Warn("projection not readable for now, will retry", "err", err)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// snapshot is load that tries once.
func (h *Hub) snapshot(ctx context.Context) ([]*watch.Partition, error) {
	type projected struct {
		next  int64
		marks []byte
		fold  int
	}
	at := make(map[int32]projected)
	known := make(map[int32]map[string]*watch.Known)
	of := func(partition int32, name string) *watch.Known {
		if known[partition] == nil {
			known[partition] = make(map[string]*watch.Known)
		}
		k := known[partition][name]
		if k == nil {
			k = &watch.Known{Account: name}
			known[partition][name] = k
		}
		return k
	}
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, h.options.Postgres, options, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		b.Queue(`SELECT partition, next_offset, marks, fold_version FROM views.projected`).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var n int32
				var p projected
				if err := rows.Scan(&n, &p.next, &p.marks, &p.fold); err != nil {
					return err
				}
				at[n] = p
			}
			return rows.Err()
		})
		b.Queue(`
			SELECT partition, account, resource, binding, edge, epoch, available, show, status, priority, payload, lang, stanza_id, version, bound_offset, since,
				inherited, session, began_offset, handled, ahead, copies
			FROM views.resource`).Query(func(rows pgx.Rows) error { return readResources(rows, of) })
		b.Queue(`
			SELECT a.partition, e.account, e.binding, e.session, e.resource, e.began_offset, e.handled, e.ahead, e.copies, e.presence, e.ended_offset, e.ended_at
			FROM views.ended e JOIN views.account a USING (account)`).Query(func(rows pgx.Rows) error { return readEnded(rows, of) })
		b.Queue(`SELECT partition, account, state FROM views.privacy`).Query(func(rows pgx.Rows) error { return readPrivacy(rows, of) })
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return nil, fmt.Errorf("read the projection: %w", err)
	}
	folds := make([]*watch.Partition, h.options.Partitions)
	for n := range folds {
		p, there := at[int32(n)]
		switch {
		case !there:
			folds[n] = watch.New(int32(n), len(folds))
			continue
		case p.next < 0:
			return nil, fmt.Errorf("the projection is being replaced")
		case p.fold != account.Version:
			return nil, fmt.Errorf("partition %d is folded by version %d, this is %d", n, p.fold, account.Version)
		}
		var all []watch.Known
		for _, k := range known[int32(n)] {
			all = append(all, *k)
		}
		if folds[n], err = watch.From(int32(n), len(folds), p.next, p.marks, all); err != nil {
			return nil, err
		}
	}
	return folds, nil
}

func readResources(rows pgx.Rows, of func(int32, string) *watch.Known) error {
	for rows.Next() {
		var n int32
		var name string
		var r presence.Resource
		var priority int16
		var epoch int64
		var binding, session [16]byte
		var ahead []byte
		if err := rows.Scan(&n, &name, &r.Name, &binding, &r.Edge, &epoch, &r.Available, &r.Show, &r.Status, &priority, &r.Payload, &r.Lang, &r.ID, &r.Version,
			&r.Bound, &r.Since, &r.Inherited, &session, &r.Began, &r.Handled.Upto, &ahead, &r.Copies); err != nil {
			return err
		}
		r.Binding, r.Session, r.Epoch, r.Priority, r.Since = uuid.UUID(binding), uuid.UUID(session), uint64(epoch), int8(priority), r.Since.UTC()
		r.Handled.Ahead = string(ahead)
		k := of(n, name)
		k.Resources = append(k.Resources, r)
	}
	return rows.Err()
}

func readEnded(rows pgx.Rows, of func(int32, string) *watch.Known) error {
	for rows.Next() {
		var n int32
		var name string
		var e account.Ended
		var binding, session [16]byte
		var ahead []byte
		if err := rows.Scan(&n, &name, &binding, &session, &e.Resource, &e.Began, &e.Handled.Upto, &ahead, &e.Copies, &e.Presence, &e.Offset, &e.At); err != nil {
			return err
		}
		e.Binding, e.Session, e.At = uuid.UUID(binding), uuid.UUID(session), e.At.UTC()
		e.Handled.Ahead = string(ahead)
		k := of(n, name)
		k.Ended = append(k.Ended, e)
	}
	return rows.Err()
}

func readPrivacy(rows pgx.Rows, of func(int32, string) *watch.Known) error {
	for rows.Next() {
		var n int32
		var name string
		var state []byte
		if err := rows.Scan(&n, &name, &state); err != nil {
			return err
		}
		p := new(event.Privacy)
		if err := proto.Unmarshal(state, p); err != nil {
			return fmt.Errorf("privacy of %s: %w", name, err)
		}
		of(n, name).Privacy = p
	}
	return rows.Err()
}
