package projector

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/projector/store"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// expiryOrigin is whose events MessageExpired are. Of one partition they come
// from the projector that has it; after a takeover perhaps from both for a
// while, and then the second for a message folds to nothing. What a mark drops,
// because the other's clock is ahead, is found again in a later round.
const expiryOrigin = "expiry"

// expireAtOnce is how many messages are ended before their records are waited
// for: so many are in the log's queue at most.
const expireAtOnce = 500

// An expiry ends the wait of messages that nobody took for too long.
type expiry struct {
	*Projector
	sequence uint64                      // of the last event
	done     map[store.InboxKey]struct{} // ended in the last round: perhaps not projected yet
}

// expireAll searches for such messages until ctx ends.
func (p *Projector) expireAll(ctx context.Context) error {
	if p.o.MessageExpiry < 0 {
		return nil
	}
	x := &expiry{Projector: p}
	tick := time.NewTicker(p.o.expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n, err := x.round(ctx, time.Now()); err != nil && ctx.Err() == nil {
			p.o.Logger.Warn("messages not expired, later again", "err", err)
		} else if n > 0 {
			p.o.Logger.Info("messages expired", "messages", n)
		}
	}
}

// round ends every message of this projector's partitions that is too old at now.
func (x *expiry) round(ctx context.Context, now time.Time) (n int, err error) {
	x.mu.Lock()
	partitions := make([]int32, 0, len(x.parts))
	for number := range x.parts {
		partitions = append(partitions, number)
	}
	x.mu.Unlock()
	before := x.done
	x.done = make(map[store.InboxKey]struct{})
	var after store.InboxKey
	for len(partitions) > 0 {
		old, err := x.store.Expired(ctx, partitions, now.Add(-x.o.MessageExpiry), after, expireAtOnce)
		if err != nil || len(old) == 0 {
			return n, err
		}
		after = old[len(old)-1]
		ended, err := x.end(ctx, old, before)
		n += ended
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// end appends the events for messages and waits for them.
func (x *expiry) end(ctx context.Context, old []store.InboxKey, before map[store.InboxKey]struct{}) (n int, err error) {
	answers := make(chan error, len(old))
	asked := 0
	for _, m := range old {
		if _, done := before[m]; done {
			continue
		}
		record, err := x.expired(m)
		if err != nil {
			return n, err
		}
		asked++
		taken := x.o.Appender.TryAppend(record, false, func(_ topic.Position, err error) {
			if err == nil {
				x.metrics.expired.Inc()
			}
			answers <- err
		})
		if !taken {
			answers <- errFull
		}
		x.done[m] = struct{}{}
	}
	var failed []error
	for range asked {
		select {
		case <-ctx.Done():
			return n, ctx.Err()
		case err := <-answers:
			if err != nil {
				failed = append(failed, err)
			} else {
				n++
			}
		}
	}
	if len(failed) > 0 {
		clear(x.done) // whichever they were
	}
	return n, errors.Join(failed[:min(len(failed), 1)]...)
}

var errFull = errors.New("the queue of the log's client is full")

// expired gives the record that ends a message.
func (x *expiry) expired(m store.InboxKey) (Record, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return Record{}, err
	}
	now := time.Now().UnixMicro()
	x.sequence = max(x.sequence+1, uint64(now))
	e := &event.Event{Id: id[:], At: now, Origin: expiryOrigin, Sequence: x.sequence,
		Kind: &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: m.Offset}}}
	value, err := event.Marshal(e)
	if err != nil {
		return Record{}, err
	}
	account := jid.BareFromCanonical(m.Account)
	return Record{Topic: topic.Account, Partition: topic.Partition(account, x.o.Partitions), Key: []byte(m.Account), Value: value,
		Headers: []Header{{topic.HeaderKind, []byte(event.KindOf(e).String())}}}, nil
}
