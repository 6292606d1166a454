package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"golang.org/x/sync/errgroup"
)

// errUnknownTopic tells that the brokers do not know a topic.
var errUnknownTopic = errors.New("eventlog: no such topic")

// An Admin asks the brokers about topics. Its methods wait for brokers that
// are away until ctx ends, and may be called from any goroutine.
type Admin struct{ client *client }

// NewAdmin gives an Admin, to be closed.
func NewAdmin(brokers []string) (*Admin, error) {
	c, err := newClient(brokers, nil)
	if err != nil {
		return nil, err
	}
	return &Admin{c}, nil
}

// Close ends its connections.
func (a *Admin) Close() { a.client.close() }

// Partitions gives the number of partitions of a topic that exists.
func (a *Admin) Partitions(ctx context.Context, topic string) (int, error) {
	return partitionsOf(ctx, a.client, topic)
}

// Ends gives the offset after the last record of each partition of a topic.
func (a *Admin) Ends(ctx context.Context, topic string) (map[int32]int64, error) {
	return offsetsOf(ctx, a.client, topic, atEnd)
}

// Starts gives the first offset that each partition of a topic still has.
func (a *Admin) Starts(ctx context.Context, topic string) (map[int32]int64, error) {
	return offsetsOf(ctx, a.client, topic, atStart)
}

// At gives the offset of the first record of each partition of a topic that was
// appended at a time or later, by the clock of who appended it; the end of a
// partition that has none.
func (a *Admin) At(ctx context.Context, topic string, at time.Time) (map[int32]int64, error) {
	// Asked for first: what comes meanwhile lies behind it.
	ends, err := offsetsOf(ctx, a.client, topic, atEnd)
	if err != nil {
		return nil, err
	}
	found, err := offsetsOf(ctx, a.client, topic, max(at.UnixMilli(), 0))
	if err != nil {
		return nil, err
	}
	for p, offset := range found {
		if offset < 0 {
			found[p] = ends[p]
		}
	}
	return found, nil
}

// retrying calls try until it gives no error, another than a transient one
// or ctx ends.
func retrying(ctx context.Context, try func(context.Context) error) error {
	for n := 1; ; n++ {
		timed, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := try(timed)
		cancel()
		if err == nil || errors.Is(err, errFinal) {
			return err
		}
		if !sleep(ctx, backoff(n)) {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// errFinal marks what no retry mends.
var errFinal = errors.New("eventlog: not possible")

func partitionsOf(ctx context.Context, c *client, topic string) (int, error) {
	var n int
	seen := 0
	err := retrying(ctx, func(ctx context.Context) error {
		l, err := c.layout(ctx, topic)
		if err != nil {
			return err
		}
		if n = len(l.partitions(topic)); n > 0 {
			return nil
		}
		// A topic just made may not be known to this broker yet.
		if seen++; seen > 10 {
			return fmt.Errorf("%w: %w: %s", errFinal, errUnknownTopic, topic)
		}
		return errUnknownTopic
	})
	return n, err
}

// Timestamps that stand for the two ends of a partition.
const (
	atEnd   = int64(-1)
	atStart = int64(-2)
)

func offsetsOf(ctx context.Context, c *client, topic string, at int64) (map[int32]int64, error) {
	n, err := partitionsOf(ctx, c, topic)
	if err != nil {
		return nil, err
	}
	offsets := make(map[int32]int64, n)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for p := range int32(n) {
		g.Go(func() error {
			offset, err := offsetOf(ctx, c, topic, p, at)
			mu.Lock()
			offsets[p] = offset
			mu.Unlock()
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return offsets, nil
}

func offsetOf(ctx context.Context, c *client, topic string, partition int32, at int64) (int64, error) {
	offset := int64(-1)
	err := retrying(ctx, func(ctx context.Context) error {
		m, err := c.do(ctx, &listoffsets.Request{ReplicaID: -1, Topics: []listoffsets.RequestTopic{{
			Topic: topic,
			Partitions: []listoffsets.RequestPartition{{
				Partition: partition, CurrentLeaderEpoch: -1, Timestamp: at,
			}},
		}}})
		if err != nil {
			return err
		}
		for _, t := range m.(*listoffsets.Response).Topics {
			for _, p := range t.Partitions {
				if p.Partition != partition {
					continue
				}
				switch {
				case p.ErrorCode == 0:
					offset = p.Offset
					return nil
				case transient(p.ErrorCode):
					return brokerError(p.ErrorCode)
				}
				return fmt.Errorf("%w: %w", errFinal, brokerError(p.ErrorCode))
			}
		}
		return errors.New("eventlog: partition not in the answer")
	})
	if err != nil {
		return -1, fmt.Errorf("offset of %s/%d: %w", topic, partition, err)
	}
	return offset, nil
}
