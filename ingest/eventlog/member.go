package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
)

// MemberOptions configure a Member. The zero value of a field means its default.
type MemberOptions struct {
	Brokers []string // host:port of some brokers
	Group   string   // required
	ID      string   // required: the member's own id, which outlives the process
	Topics  []string // required: topics with the same number of partitions

	SessionTimeout   time.Duration // a member not heard of for so long is out; 6 s
	Heartbeat        time.Duration // how often it is heard of; 500 ms
	RebalanceTimeout time.Duration // how long the others wait for one to join again; 3 s
	JoinBackoff      time.Duration // between attempts to join; 250 ms

	Logger *slog.Logger // default slog.Default()
}

func (o *MemberOptions) check() error {
	setDefault(&o.SessionTimeout, 6*time.Second)
	setDefault(&o.Heartbeat, 500*time.Millisecond)
	setDefault(&o.RebalanceTimeout, 3*time.Second)
	setDefault(&o.JoinBackoff, 250*time.Millisecond)
	setDefault(&o.Logger, slog.Default())
	switch {
	case o.Group == "" || o.ID == "" || len(o.Topics) == 0:
		return errors.New("eventlog: member without group, id or topics")
	case 3*o.Heartbeat > o.SessionTimeout:
		return errors.New("eventlog: SessionTimeout must be three heartbeats or more")
	}
	return nil
}

// ErrNotMember tells that an offset was not committed because the group has
// moved on or cannot be reached: the member that has the partition now
// commits its own.
var ErrNotMember = errors.New("eventlog: not a member of the current generation")

// A Member takes part in a consumer group, which gives each partition to one
// of its members. Commit and Committed may be called from any goroutine.
type Member struct {
	options MemberOptions
	client  *client

	mu         sync.Mutex
	generation int32
	member     string // id in the generation; empty while there is none
}

// NewMember gives a Member that joins once Run runs.
func NewMember(options MemberOptions) (*Member, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	c, err := newClient(options.Brokers, options.Topics)
	if err != nil {
		return nil, err
	}
	return &Member{options: options, client: c}, nil
}

// Run joins the group and calls assigned with the whole assignment, in order,
// each time the group has made a new one, one call at a time. While the group
// is making one, or the brokers are away, the last one stands: another member
// may begin with a partition a little before this one hears that it has lost
// it. A member that the brokers lose joins again. When ctx ends it leaves the
// group and returns nil.
func (m *Member) Run(ctx context.Context, assigned func(ctx context.Context, partitions []int32)) error {
	defer m.client.close()
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                m.options.Group,
		Brokers:           m.options.Brokers,
		Dialer:            &kafka.Dialer{ClientID: "rollcall", Timeout: dialTimeout},
		Topics:            m.options.Topics,
		GroupBalancers:    []kafka.GroupBalancer{balancer{m.options.ID, time.Now().UnixMicro()}},
		SessionTimeout:    m.options.SessionTimeout,
		HeartbeatInterval: m.options.Heartbeat,
		RebalanceTimeout:  m.options.RebalanceTimeout,
		JoinGroupBackoff:  m.options.JoinBackoff,
		Timeout:           3 * time.Second,
	})
	if err != nil {
		return err
	}
	defer group.Close()
	defer m.enter(0, "")
	for {
		generation, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafka.RebalanceInProgress):
			continue
		case err != nil:
			level := slog.LevelWarn
			if errors.Is(err, kafka.GroupCoordinatorNotAvailable) {
				level = slog.LevelInfo // a new cluster makes its topic of offsets when it is first asked
			}
			m.options.Logger.Log(ctx, level, "cannot join the group, will retry", "group", m.options.Group, "err", err)
			continue
		}
		m.enter(generation.ID, generation.MemberID)
		seen := make(map[int32]struct{})
		for _, assignments := range generation.Assignments {
			for _, a := range assignments {
				seen[int32(a.ID)] = struct{}{}
			}
		}
		partitions := slices.Sorted(maps.Keys(seen))
		m.options.Logger.Info("partitions assigned", "group", m.options.Group, "generation", generation.ID, "partitions", len(partitions))
		assigned(ctx, partitions)
	}
}

// Close frees a Member that never ran.
func (m *Member) Close() { m.client.close() }

func (m *Member) enter(generation int32, member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.generation, m.member = generation, member
}

// Commit stores next offsets of a topic's partitions in the group. If the
// member is not of the group's current generation nothing is stored and it
// gives ErrNotMember, which a caller may ignore: who reads on from an older
// offset sees records again.
func (m *Member) Commit(ctx context.Context, topic string, next map[int32]int64) error {
	if len(next) == 0 {
		return nil
	}
	m.mu.Lock()
	generation, member := m.generation, m.member
	m.mu.Unlock()
	if member == "" {
		return ErrNotMember
	}
	t := offsetcommit.RequestTopic{Name: topic}
	for _, p := range slices.Sorted(maps.Keys(next)) {
		t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{
			PartitionIndex: p, CommittedOffset: next[p], CommittedLeaderEpoch: -1, CommitTimestamp: -1,
		})
	}
	res, err := m.client.do(ctx, &offsetcommit.Request{
		GroupID: m.options.Group, GenerationID: generation, MemberID: member,
		RetentionTimeMs: -1, Topics: []offsetcommit.RequestTopic{t},
	})
	if err != nil {
		return fmt.Errorf("commit offsets of %s: %w", topic, err)
	}
	for _, t := range res.(*offsetcommit.Response).Topics {
		for _, p := range t.Partitions {
			switch kafka.Error(p.ErrorCode) {
			case 0:
			case kafka.IllegalGeneration, kafka.UnknownMemberId, kafka.RebalanceInProgress:
				return ErrNotMember
			default:
				return fmt.Errorf("commit offset of %s/%d: %w", topic, p.PartitionIndex, brokerError(p.ErrorCode))
			}
		}
	}
	return nil
}

// Committed gives the committed next offsets of a topic's partitions; those
// without one are not in it. It retries until ctx ends.
func (m *Member) Committed(ctx context.Context, topic string) (map[int32]int64, error) {
	n, err := partitionsOf(ctx, m.client, topic)
	if err != nil {
		return nil, err
	}
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	var offsets map[int32]int64
	err = retrying(ctx, func(ctx context.Context) error {
		res, err := m.client.do(ctx, &offsetfetch.Request{
			GroupID: m.options.Group,
			Topics:  []offsetfetch.RequestTopic{{Name: topic, PartitionIndexes: all}},
		})
		if err != nil {
			return err
		}
		answer := res.(*offsetfetch.Response)
		if answer.ErrorCode != 0 {
			return brokerError(answer.ErrorCode)
		}
		offsets = make(map[int32]int64, n)
		for _, t := range answer.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return brokerError(p.ErrorCode)
				}
				if p.CommittedOffset >= 0 {
					offsets[p.PartitionIndex] = p.CommittedOffset
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("committed offsets of %s in %s: %w", topic, m.options.Group, err)
	}
	return offsets, nil
}
