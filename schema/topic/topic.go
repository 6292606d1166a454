// Package topic says where records lie: the names of the topics, which
// partition an account's history is in, and how a record's place is written.
package topic

import (
	"fmt"

	"github.com/rollcall/rollcall/schema/jid"
)

// The topics of the log.
const (
	Account    = "account"     // the history of every account, keyed by its bare JID
	Outbox     = "outbox"      // what an account must hear, keyed by its bare JID
	DeadLetter = "dead-letter" // records that nobody can decode
)

// Header names. A reader can tell by HeaderKind what a record is without
// decoding it.
const (
	HeaderKind      = "kind"        // the name of the event's kind, as in the proto: "presence_available"
	HeaderFrom      = "from"        // dead-letter: "topic/partition/offset" of the record
	HeaderError     = "error"       // dead-letter: why it was set aside
	HeaderTraceText = "traceparent" // W3C trace context
)

// DefaultPartitions is the number of partitions of account and outbox in a
// cluster, DevPartitions on one machine. It is fixed for the life of a log.
const (
	DefaultPartitions = 64
	DevPartitions     = 8
)

// A Position is the place of one record.
type Position struct {
	Topic     string
	Partition int32
	Offset    int64
}

// String gives topic/partition/offset.
func (p Position) String() string {
	return fmt.Sprintf("%s/%d/%d", p.Topic, p.Partition, p.Offset)
}

// Partition gives the partition of account's history among n: the murmur2
// hash of the key, with its sign bit cleared, modulo n. Kafka's own clients
// place a record with this key in the same partition by default.
func Partition(account jid.Bare, n int) int32 {
	return int32(murmur2(account.String())&0x7fffffff) % int32(n)
}

// murmur2 is the 32-bit variant with the seed that Kafka's clients use.
func murmur2(key string) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h = h*m ^ k
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
