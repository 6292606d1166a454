package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"

	"github.com/rollcall/rollcall/schema/topic"
)

// TopicsOptions say how the log's topics are made.
type TopicsOptions struct {
	Partitions  int // of account and outbox, for the life of the log; topic.DefaultPartitions
	Replication int // copies of each partition; 1
	// AccountRetention is how long the topic account keeps records; 30 days.
	// Negative is for ever.
	AccountRetention time.Duration
}

const day = 24 * time.Hour

// A PartitionsError tells that a topic exists with another number of
// partitions than asked for: accounts would be looked for in the wrong ones.
type PartitionsError struct {
	Topic         string
	Have, Require int
}

// Error names the topic and the numbers.
func (e *PartitionsError) Error() string {
	return fmt.Sprintf("eventlog: topic %s has %d partitions, not %d, and the number is fixed for the life of a log",
		e.Topic, e.Have, e.Require)
}

// EnsureTopics creates the topics of the log that do not exist, with their
// retention: account as the options say, outbox 1 day, dead-letter 30 days.
// What exists is left as it is; with another number of partitions it is a
// *PartitionsError. It waits for the brokers until ctx ends.
func (a *Admin) EnsureTopics(ctx context.Context, o TopicsOptions) error {
	setDefault(&o.Partitions, topic.DefaultPartitions)
	setDefault(&o.Replication, 1)
	setDefault(&o.AccountRetention, 30*day)
	for _, t := range []struct {
		name       string
		partitions int
		retention  time.Duration
	}{
		{topic.Account, o.Partitions, o.AccountRetention},
		{topic.Outbox, o.Partitions, day},
		{topic.DeadLetter, 1, 30 * day},
	} {
		if err := retrying(ctx, func(ctx context.Context) error {
			return a.create(ctx, t.name, t.partitions, o.Replication, t.retention)
		}); err != nil {
			return fmt.Errorf("create topic %s: %w", t.name, err)
		}
		if err := a.check(ctx, t.name, t.partitions); err != nil {
			return err
		}
	}
	return nil
}

// EnsureTopics is Admin.EnsureTopics with connections of its own.
func EnsureTopics(ctx context.Context, brokers []string, o TopicsOptions) error {
	a, err := NewAdmin(brokers)
	if err != nil {
		return err
	}
	defer a.Close()
	return a.EnsureTopics(ctx, o)
}

func (a *Admin) create(ctx context.Context, name string, partitions, replication int, retention time.Duration) error {
	l, err := a.client.layout(ctx, name)
	if err != nil {
		return err
	}
	if l.partitions(name) != nil {
		return nil
	}
	keep := int64(-1)
	if retention > 0 {
		keep = retention.Milliseconds()
	}
	configs := []createtopics.RequestConfig{
		{Name: "cleanup.policy", Value: "delete"},
		{Name: "retention.ms", Value: strconv.FormatInt(keep, 10)},
		{Name: "retention.bytes", Value: "-1"},
	}
	if replication >= 3 {
		configs = append(configs, createtopics.RequestConfig{Name: "min.insync.replicas", Value: "2"})
	}
	m, err := a.client.do(ctx, &createtopics.Request{
		TimeoutMs: 3000,
		Topics: []createtopics.RequestTopic{{
			Name:              name,
			NumPartitions:     int32(partitions),
			ReplicationFactor: int16(replication),
			Configs:           configs,
		}},
	})
	if err != nil {
		return err
	}
	for _, t := range m.(*createtopics.Response).Topics {
		switch code := kafka.Error(t.ErrorCode); {
		case code == 0, code == kafka.TopicAlreadyExists:
		// With too few brokers registered yet, replication is refused for now.
		case transient(t.ErrorCode), code == kafka.InvalidReplicationFactor && ctx.Err() == nil:
			return brokerError(t.ErrorCode)
		default:
			return fmt.Errorf("%w: %w: %s", errFinal, brokerError(t.ErrorCode), t.ErrorMessage)
		}
	}
	return nil
}

// check waits until every partition of a topic has a leader and tells a
// wrong number of them.
func (a *Admin) check(ctx context.Context, name string, partitions int) error {
	return retrying(ctx, func(ctx context.Context) error {
		l, err := a.client.layout(ctx, name)
		if err != nil {
			return err
		}
		ps := l.partitions(name)
		if len(ps) == 0 {
			return errUnknownTopic
		}
		if len(ps) != partitions {
			return errors.Join(errFinal, &PartitionsError{name, len(ps), partitions})
		}
		for i := range ps {
			if ps[i].LeaderID < 0 {
				return fmt.Errorf("eventlog: %s/%d has no leader", name, ps[i].PartitionIndex)
			}
		}
		return nil
	})
}
