package eventlog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// A poller holds the long poll to one broker.
type poller struct {
	run    *tailRun
	broker int32
	wake   chan struct{} // holds one
	turn   int           // which partition comes first; they take turns

	cancel context.CancelFunc // ends the poll under way; guarded by the Tail's mu
}

// gather is how long an interrupted poll waits for further changes, so that
// many assignments interrupt once.
const gather = 5 * time.Millisecond

// interrupt has the poller look again at what it polls. The caller holds the
// Tail's mu.
func (p *poller) interrupt() {
	if p.cancel != nil {
		time.AfterFunc(gather, p.cancel)
		p.cancel = nil
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// poll asks for records until Run ends.
func (p *poller) poll() {
	t, ctx := p.run.tail, p.run.ctx
	failures := 0
	for ctx.Err() == nil {
		parts, req, later := p.request()
		if len(parts) == 0 {
			p.pause(later)
			continue
		}
		polling, cancel := context.WithTimeout(ctx, t.options.MaxWait+3*time.Second)
		t.mu.Lock()
		p.cancel = cancel
		t.mu.Unlock()
		asked := time.Now()
		m, err := t.client.do(polling, req)
		interrupted := errors.Is(polling.Err(), context.Canceled)
		t.mu.Lock()
		p.cancel = nil
		t.mu.Unlock()
		cancel()
		switch {
		case err == nil:
			failures = 0
			if !p.answer(parts, m.(*fetch.Response)) {
				return
			}
			if rest := t.options.Pace - time.Since(asked); rest > 0 {
				p.pause(rest)
			}
		case ctx.Err() != nil:
			return
		case !interrupted:
			failures++
			p.failed(parts, err, failures)
			// Not pause: the router finds a leader at once, often the old one.
			sleep(ctx, backoff(failures))
		}
	}
}

// pause waits for d, 0 for ever, a change, or the end.
func (p *poller) pause(d time.Duration) {
	var timer <-chan time.Time
	if d > 0 {
		timer = time.After(d)
	}
	select {
	case <-p.run.ctx.Done():
	case <-p.wake:
	case <-timer:
	}
}

// request makes the poll for what the broker leads and is not put off; if
// nothing is left, it tells after how long something will be.
func (p *poller) request() (map[int32]*tailed, *fetch.Request, time.Duration) {
	t := p.run.tail
	parts := make(map[int32]*tailed)
	var asked []fetch.RequestPartition
	var later time.Duration
	now := time.Now()
	t.mu.Lock()
	for _, l := range t.parts {
		if l.leader != p.broker {
			continue
		}
		if wait := l.retryAt.Sub(now); wait > 0 {
			if later == 0 || wait < later {
				later = wait
			}
			continue
		}
		parts[l.partition] = l
		asked = append(asked, fetch.RequestPartition{
			Partition:          l.partition,
			CurrentLeaderEpoch: -1,
			FetchOffset:        l.next,
			LogStartOffset:     -1,
			PartitionMaxBytes:  int32(t.options.MaxPartitionBytes),
		})
	}
	if len(parts) == 0 && later == 0 {
		t.problem(p.broker, nil) // it leads nothing of ours
	}
	t.mu.Unlock()
	if len(asked) == 0 {
		return nil, nil, later
	}
	slices.SortFunc(asked, func(a, b fetch.RequestPartition) int { return cmp.Compare(a.Partition, b.Partition) })
	p.turn++
	first := p.turn % len(asked)
	asked = append(asked[first:len(asked):len(asked)], asked[:first]...)
	wait := t.options.MaxWait
	if later > 0 {
		wait = min(wait, later)
	}
	return parts, &fetch.Request{
		ReplicaID:    -1,
		MaxWaitTime:  int32(wait / time.Millisecond),
		MinBytes:     1,
		MaxBytes:     int32(t.options.MaxBytes),
		SessionEpoch: -1,
		Topics:       []fetch.RequestTopic{{Topic: t.options.Topic, Partitions: asked}},
	}, 0
}

// failed puts the partitions' leader in doubt.
func (p *poller) failed(parts map[int32]*tailed, err error, failures int) {
	t := p.run.tail
	if failures == 1 {
		t.options.Logger.Warn("poll failed, will retry", "topic", t.options.Topic, "broker", p.broker, "err", err)
	}
	t.mu.Lock()
	t.problem(p.broker, err)
	for _, l := range parts {
		l.leader = noLeader
	}
	t.mu.Unlock()
	t.route()
}

// answer takes a poll's answer and hands its records on; it tells whether to
// go on.
func (p *poller) answer(parts map[int32]*tailed, res *fetch.Response) bool {
	var ds []delivery
	var doubt error
	if res.ErrorCode != 0 {
		doubt = brokerError(res.ErrorCode)
	}
	for i := range res.Topics {
		for j := range res.Topics[i].Partitions {
			r := &res.Topics[i].Partitions[j]
			l := parts[r.Partition]
			if l == nil {
				continue
			}
			var err error
			if r.ErrorCode == int16(kafka.OffsetOutOfRange) {
				err = p.outOfRange(l)
			} else if r.ErrorCode != 0 {
				err = brokerError(r.ErrorCode)
			} else {
				var b Batch
				if b, err = p.read(l, r); len(b.Records) > 0 {
					ds = append(ds, delivery{l, b})
				}
			}
			var offset *OffsetError
			if errors.As(err, &offset) {
				p.run.fail(err)
				return false
			}
			if err != nil {
				doubt = fmt.Errorf("partition %d: %w", r.Partition, err)
				p.putOff(l, err)
			}
		}
	}
	t := p.run.tail
	t.mu.Lock()
	t.problem(p.broker, doubt)
	t.mu.Unlock()
	if len(ds) > 0 {
		select {
		case p.run.deliveries <- ds:
		case <-p.run.ctx.Done():
			return false
		}
	}
	return true
}

// putOff leaves l out of the polls for a while and has its leader looked up.
func (p *poller) putOff(l *tailed, err error) {
	t := p.run.tail
	t.mu.Lock()
	l.attempts++
	if l.attempts == 1 {
		t.options.Logger.Warn("partition not readable for now, will retry",
			"topic", t.options.Topic, "partition", l.partition, "broker", p.broker, "err", err)
	}
	l.retryAt = time.Now().Add(backoff(l.attempts))
	l.leader = noLeader
	t.mu.Unlock()
	t.route()
}

// outOfRange gives the *OffsetError of l, nil if l is no longer assigned.
func (p *poller) outOfRange(l *tailed) error {
	t, ctx := p.run.tail, p.run.ctx
	first, err := offsetOf(ctx, t.client, t.options.Topic, l.partition, atStart)
	if err != nil {
		return err
	}
	end, err := offsetOf(ctx, t.client, t.options.Topic, l.partition, atEnd)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.parts[l.partition] != l {
		return nil
	}
	if l.next >= first && l.next <= end {
		return errors.New("eventlog: offset out of range, then in it") // while the leader moves
	}
	return &OffsetError{Topic: t.options.Topic, Partition: l.partition, Asked: l.next, First: first, End: end}
}

// read gives the records of an answer from l's next offset on, and moves it
// past them.
func (p *poller) read(l *tailed, r *fetch.ResponsePartition) (Batch, error) {
	t := p.run.tail
	b := Batch{Partition: l.partition, HighWater: r.HighWatermark}
	t.mu.Lock()
	next := l.next
	t.mu.Unlock()
	var err error
	if stream, ok := r.RecordSet.Records.(*protocol.RecordStream); ok {
		var memory arena
		for _, set := range stream.Records {
			_, control := set.(*protocol.ControlBatch)
			if next, err = readSet(set, control, next, &memory, &b); err != nil {
				break
			}
		}
	}
	t.mu.Lock()
	if l.next = next; err == nil {
		l.attempts = 0
	}
	t.mu.Unlock()
	if len(b.Records) == 0 && t.metrics != nil {
		t.metrics.delivered(l.partition, 0, max(r.HighWatermark-next, 0))
	}
	return b, err
}

// readSet appends the records of set from offset next on to b, none if they
// are the brokers' own, and gives the offset after them.
func readSet(set protocol.RecordReader, control bool, next int64, memory *arena, b *Batch) (int64, error) {
	for {
		rec, err := set.ReadRecord()
		if errors.Is(err, io.EOF) {
			return next, nil
		}
		if err != nil {
			return next, err
		}
		if rec.Offset >= next && !control {
			f := Fetched{Offset: rec.Offset, Time: rec.Time, Headers: rec.Headers}
			if f.Key, err = memory.read(rec.Key); err != nil {
				return next, err
			}
			if f.Value, err = memory.read(rec.Value); err != nil {
				return next, err
			}
			b.Records = append(b.Records, f)
		}
		if rec.Offset >= next {
			next = rec.Offset + 1
		}
		if rec.Key != nil {
			rec.Key.Close()
		}
		if rec.Value != nil {
			rec.Value.Close()
		}
	}
}

// An arena holds many small byte slices in few allocations.
type arena struct {
	free []byte
	size int // of the last chunk
}

// read gives the bytes of b in the arena, nil for nil.
func (a *arena) read(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	n := b.Len()
	if n > len(a.free) {
		a.size = max(n, min(max(1024, 2*a.size), 64<<10))
		a.free = make([]byte, a.size)
	}
	out := a.free[:n:n]
	a.free = a.free[n:]
	if n == 0 {
		return out, nil
	}
	_, err := io.ReadFull(b, out)
	return out, err
}
