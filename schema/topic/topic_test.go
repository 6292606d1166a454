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
		{"juliet@example.com", 2, 34},
		{"romeo@example.net", 0, 0},
		{"nurse@example.com", 0, 0},
		{"a@localhost", 0, 0},
		{"user1999@localhost", 0, 0},
		{"ü@例え.jp", 0, 0},
		{"localhost", 0, 0},
	} {
		b := jid.MustBare(v.account)
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
	partitions := make([]int, 64)
	for i := range partitions {
		partitions[i] = i
	}
	rapid.Check(t, func(t *rapid.T) {
		local := rapid.StringMatching(`[a-z0-9.]{1,40}`).Draw(t, "local")
		b := jid.MustBare(local + "@example.com")
		want := balancer.Balance(kafka.Message{Key: []byte(b.String())}, partitions...)
		if got := Partition(b, 64); int(got) != want {
			t.Fatalf("%s: got %d, kafka's clients say %d", b, got, want)
		}
	})
}
