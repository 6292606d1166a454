package eventlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	metadataTTL = time.Second // longest that a change of leader goes unseen
	dialTimeout = 2 * time.Second
)

// client is a connection pool of its own to the brokers, with their layout.
// Requests that wait at the broker do so on their own connections: one of
// kafka-go's connections carries one request at a time.
type client struct {
	addr      net.Addr
	transport *kafka.Transport
	stop      context.CancelFunc

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{} // the open ones, so that close can end them
}

func newClient(brokers []string, topics []string) (*client, error) {
	if len(brokers) == 0 {
		return nil, errors.New("eventlog: no brokers")
	}
	// The transport's goroutines end by close, not by a caller's context:
	// what a caller still waits for must be answered first.
	ctx, stop := context.WithCancel(context.Background())
	c := &client{
		addr:  kafka.TCP(brokers...),
		stop:  stop,
		conns: make(map[net.Conn]struct{}),
	}
	c.transport = &kafka.Transport{
		Dial:           c.dial,
		DialTimeout:    dialTimeout,
		IdleTimeout:    time.Minute,
		MetadataTTL:    metadataTTL,
		MetadataTopics: topics,
		ClientID:       "rollcall",
		Context:        ctx,
	}
	return c, nil
}

func (c *client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	c.conns[conn] = struct{}{}
	return &trackedConn{conn, c}, nil
}

// trackedConn forgets itself in its client when it is closed.
type trackedConn struct {
	net.Conn
	client *client
}

func (t *trackedConn) Close() error {
	t.client.mu.Lock()
	delete(t.client.conns, t.Conn)
	t.client.mu.Unlock()
	return t.Conn.Close()
}

// close ends every connection, and with it every request under way.
func (c *client) close() {
	c.stop()
	c.transport.CloseIdleConnections()
	c.mu.Lock()
	c.closed = true
	for conn := range c.conns {
		conn.Close()
	}
	clear(c.conns)
	c.mu.Unlock()
}

// do sends req to the broker that it is for and gives the answer.
func (c *client) do(ctx context.Context, req protocol.Message) (protocol.Message, error) {
	return c.transport.RoundTrip(ctx, c.addr, req)
}

// layout is who leads what, as last heard, at most metadataTTL ago while the
// brokers answer.
type layout struct{ topics []metadata.ResponseTopic }

// layout gives the layout of the named topics. It waits for the brokers only
// if they never answered yet.
func (c *client) layout(ctx context.Context, topics ...string) (layout, error) {
	m, err := c.do(ctx, &metadata.Request{TopicNames: topics})
	if err != nil {
		return layout{}, err
	}
	return layout{m.(*metadata.Response).Topics}, nil
}

// partitions gives the partitions of topic in order, nil if it is not known.
func (l layout) partitions(topic string) []metadata.ResponsePartition {
	for i := range l.topics {
		if l.topics[i].Name == topic && l.topics[i].ErrorCode == 0 {
			return l.topics[i].Partitions
		}
	}
	return nil
}

// noLeader is the broker of a partition that nobody is known to lead.
const noLeader = int32(-1)

// leader gives the broker that leads a partition, or noLeader.
func (l layout) leader(topic string, partition int32) int32 {
	ps := l.partitions(topic)
	if i := int(partition); i >= 0 && i < len(ps) && ps[i].PartitionIndex == partition {
		return ps[i].LeaderID
	}
	return noLeader
}

// transient tells whether a broker's error goes away by itself: the leader
// moves, a replica lags, a disk is slow.
func transient(code int16) bool {
	switch kafka.Error(code) {
	case kafka.Unknown, kafka.InvalidMessage, kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable,
		kafka.NotLeaderForPartition, kafka.RequestTimedOut, kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable,
		kafka.NetworkException, kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable,
		kafka.NotCoordinatorForGroup, kafka.NotEnoughReplicas, kafka.NotEnoughReplicasAfterAppend,
		kafka.NotController, kafka.KafkaStorageError, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch,
		kafka.OffsetNotAvailable, kafka.UnstableOffsetCommit, kafka.ThrottlingQuotaExceeded:
		return true
	}
	return false
}

// brokerError is the error for a code other than 0.
func brokerError(code int16) error {
	return fmt.Errorf("broker: %w", kafka.Error(code))
}

// backoff is how long to wait before attempt n, counted from 1: 20 ms,
// doubled each time, at most 500 ms.
func backoff(n int) time.Duration {
	return min(10*time.Millisecond<<min(n, 6), 500*time.Millisecond)
}

// sleep waits for d or the end of ctx, and tells whether d passed.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
