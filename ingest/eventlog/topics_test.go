package eventlog

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rollcall/rollcall/schema/topic"
)

func TestEnsureTopics(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(3))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := testContext(t)
	for range 2 { // twice changes nothing
		if err := EnsureTopics(ctx, c.ListenAddrs(), TopicsOptions{Partitions: 8, Replication: 3}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]struct {
		partitions int
		retention  string
	}{
		topic.Account:    {8, "2592000000"},
		topic.Outbox:     {8, "86400000"},
		topic.DeadLetter: {1, "2592000000"},
	} {
		configs := c.TopicInfo(name).Configs
		if n := len(c.PartitionInfos(name)); n != want.partitions {
			t.Errorf("%s has %d partitions, want %d", name, n, want.partitions)
		}
		if got := *configs["retention.ms"]; got != want.retention {
			t.Errorf("%s keeps records for %s ms, want %s", name, got, want.retention)
		}
		if got := *configs["min.insync.replicas"]; got != "2" {
			t.Errorf("%s: min.insync.replicas is %s, want 2", name, got)
		}
	}
	err = EnsureTopics(ctx, c.ListenAddrs(), TopicsOptions{Partitions: 16})
	var wrong *PartitionsError
	if !errors.As(err, &wrong) || wrong.Have != 8 || wrong.Require != 16 {
		t.Errorf("another number of partitions: got %v", err)
	}
}

func TestAccountForEver(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := EnsureTopics(testContext(t), c.ListenAddrs(), TopicsOptions{Partitions: 2, AccountRetention: -time.Second}); err != nil {
		t.Fatal(err)
	}
	if got := *c.TopicInfo(topic.Account).Configs["retention.ms"]; got != "-1" {
		t.Errorf("keeps records for %s ms, want -1", got)
	}
}
