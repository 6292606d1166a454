package topic

import (
	"testing"

	"github.com/segmentio/kafka-go"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/jid"
)

// The vectors are part of the log's format: a change here breaks every log.
func TestPartitionVectors(t *testing.T) {
	for _, v := range []struct {
		account string
		in8     int32
		in64    int32
	}{
		{"juliet@example.com", 4, 12},
		{"romeo@example.net", 1, 57},
		{"nurse@example.com", 1, 57},
		{"a@localhost", 6, 22},
		{"user1999@localhost", 1, 33},
		{"ü@例え.jp", 7, 63},
		{"localhost", 4, 20},
	} {
		b := jid.MustBare(v.account)
		key := kafka.Message{Key: []byte(b.String())}
		if want := (kafka.Murmur2Balancer{}).Balance(key, numbers(64)...); int(v.in64) != want {
			t.Errorf("%s of 64: kafka's clients say %d", v.account, want)
		}
		if got := Partition(b, 8); got != v.in8 {
			t.Errorf("%s of 8: got %d, want %d", v.account, got, v.in8)
		}
		if got := Partition(b, 64); got != v.in64 {
			t.Errorf("%s of 64: got %d, want %d", v.account, got, v.in64)
		}
	}
}

func TestPartitionAgreesWithKafkaClients(t *testing.T) {
	balancer := kafka.Murmur2Balancer{}
	partitions := numbers(64)
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-z0-9.]{1,40}`).Draw(t, "local")
		b := jid.MustBare(local + "@example.com")
		want := balancer.Balance(kafka.Message{Key: []byte(b.String())}, partitions...)
		if got := Partition(b, 64); int(got) != want {
			t.Fatalf("%s: got %d, kafka's clients say %d", b, got, want)
		}
	})
}

func TestPositionString(t *testing.T) {
	if got := (Position{Topic: Outbox, Partition: 3, Offset: 7}).String(); got != "outbox/3/7" {
		t.Errorf("got %s", got)
	}
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
