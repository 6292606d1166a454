package eventlog

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// A sender sends the batches of the lanes that one broker leads, one request
// at a time.
type sender struct {
	appender *Appender
	broker   int32
	wake     chan struct{} // holds one
	ready    []*lane       // guarded by the Appender's mu
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		for ctx.Err() == nil {
			lanes := s.take(ctx)
			if len(lanes) == 0 {
				break
			}
			s.send(ctx, lanes)
		}
	}
}

// take gives lanes to send now, each with a batch. Lanes that another broker
// leads by now go to its sender.
func (s *sender) take(ctx context.Context) []*lane {
	a := s.appender
	short, cancel := context.WithTimeout(ctx, a.options.RequestTimeout)
	known, err := a.client.layout(short, a.options.Topics...)
	cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	var lanes []*lane
	room := maxRequestBytes
	for i, l := range s.ready {
		if room <= 0 {
			s.ready = append(s.ready[:0], s.ready[i:]...)
			return lanes
		}
		if err != nil {
			a.park(l)
			continue
		}
		if leader := known.leader(l.topic, l.partition); leader != s.broker {
			if l.leader = leader; a.ready(l) {
				a.wake()
			}
			continue
		}
		a.unchain(l)
		size := l.take(min(a.options.MaxBatchBytes, max(room, 1)))
		if size == 0 { // all were given up
			l.busy, l.attempts = false, 0
			continue
		}
		room -= size
		l.flying = true
		lanes = append(lanes, l)
	}
	if err != nil {
		a.wake()
	}
	s.ready = s.ready[:0]
	return lanes
}

// send sends one request and settles what the answer says.
func (s *sender) send(ctx context.Context, lanes []*lane) {
	a := s.appender
	timed, cancel := context.WithTimeout(ctx, a.options.RequestTimeout)
	defer cancel()
	m, err := a.client.do(timed, s.request(lanes))
	var answer *produce.Response
	if err == nil {
		answer = m.(*produce.Response)
	} else if ctx.Err() == nil {
		a.options.Logger.Warn("append failed, will retry", "broker", s.broker, "partitions", len(lanes), "err", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := len(a.parked)
	if answer != nil {
		for i := range answer.Topics {
			t := &answer.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				if l := a.lanes[laneKey{t.Topic, p.Partition}]; l != nil && l.flying {
					s.settle(l, p)
				}
			}
		}
	}
	for _, l := range lanes {
		if l.flying { // no answer: it may be stored or not
			l.flying = false
			a.park(l)
		}
	}
	if len(a.parked) != before {
		a.wake()
	}
}

// settle ends l's flight by a partition's answer. The caller holds mu.
func (s *sender) settle(l *lane, p *produce.ResponsePartition) {
	a := s.appender
	l.flying = false
	switch {
	case p.ErrorCode == 0:
		for i := range l.batch {
			a.settle(l, &l.batch[i], p.BaseOffset+int64(i), nil)
		}
		if l.attempts == 0 { // no abandoned request can be reading it
			l.reuse()
		}
		l.batch = nil
	case transient(p.ErrorCode):
		a.options.Logger.Warn("append refused for now, will retry",
			"topic", l.topic, "partition", l.partition, "broker", s.broker, "err", brokerError(p.ErrorCode))
		a.park(l)
		return
	default:
		err := fmt.Errorf("%w: append to %s/%d: %w", ErrRefused, l.topic, l.partition, brokerError(p.ErrorCode))
		if p.ErrorMessage != "" {
			err = fmt.Errorf("%w: %s", err, p.ErrorMessage)
		}
		for i := range l.batch {
			a.settle(l, &l.batch[i], -1, err)
		}
		l.batch = nil
	}
	l.busy, l.attempts = false, 0
	if len(l.queue) > 0 {
		a.ready(l)
	}
}

// request makes the produce request of the lanes' batches. Each attempt has
// its own: an abandoned one may still be being read.
func (s *sender) request(lanes []*lane) *produce.Request {
	req := &produce.Request{
		Acks: -1,
		// The broker's own wait for replicas ends before ours does, so that
		// it answers which partition is slow.
		Timeout: int32(s.appender.options.RequestTimeout * 3 / 4 / time.Millisecond),
	}
	for _, l := range lanes {
		i := 0
		for i < len(req.Topics) && req.Topics[i].Topic != l.topic {
			i++
		}
		if i == len(req.Topics) {
			req.Topics = append(req.Topics, produce.RequestTopic{
				Topic:      l.topic,
				Partitions: make([]produce.RequestPartition, 0, len(lanes)),
			})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, produce.RequestPartition{
			Partition: l.partition,
			RecordSet: protocol.RecordSet{Version: 2, Records: &batchReader{batch: l.batch}},
		})
	}
	return req
}

// A batchReader hands a batch to the encoder, with one allocation for all.
type batchReader struct {
	batch      []entry
	next       int
	record     protocol.Record
	key, value bytesReader
}

// ReadRecord gives the next record, valid until the next call.
func (r *batchReader) ReadRecord() (*protocol.Record, error) {
	if r.next == len(r.batch) {
		return nil, io.EOF
	}
	rec := &r.batch[r.next].record
	r.next++
	r.record = protocol.Record{Headers: rec.Headers}
	if rec.Key != nil {
		r.key.Reset(rec.Key)
		r.record.Key = &r.key
	}
	if rec.Value != nil {
		r.value.Reset(rec.Value)
		r.record.Value = &r.value
	}
	return &r.record, nil
}

type bytesReader struct{ bytes.Reader }

func (*bytesReader) Close() error { return nil }
