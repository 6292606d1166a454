package eventlog

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"

	"github.com/segmentio/kafka-go"
)

// balancer shares partitions out by rendezvous hashing over the members' own
// ids, which outlive their connections: each partition goes to the member
// with the highest score for it, and nobody gets two more than another. So
// few partitions move when a member comes or goes, and none when one comes
// back. A partition number goes to one member in all topics.
type balancer struct {
	id      string
	started int64 // of two members with one id, the later one counts
}

func (balancer) ProtocolName() string { return "rollcall-rendezvous" }

// UserData is the member's start in microseconds, big endian, and its id.
func (b balancer) UserData() ([]byte, error) {
	return append(binary.BigEndian.AppendUint64(nil, uint64(b.started)), b.id...), nil
}

// AssignGroups is called on the member that leads the group.
func (balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	result := make(kafka.GroupMemberAssignments)
	// A process that was killed and started again has its old membership
	// until its session times out.
	newest := make(map[string]string) // member id by own id
	since := make(map[string]uint64)
	for _, m := range members {
		result[m.ID] = make(map[string][]int)
		id, started := m.ID, uint64(0)
		if len(m.UserData) >= 8 {
			started, id = binary.BigEndian.Uint64(m.UserData), string(m.UserData[8:])
		}
		if _, ok := newest[id]; !ok || started > since[id] || started == since[id] && m.ID > newest[id] {
			newest[id], since[id] = m.ID, started
		}
	}
	ids := make([]string, 0, len(newest))
	for id := range newest {
		ids = append(ids, id)
	}
	byNumber := make(map[int][]string) // topics by partition number
	for _, p := range partitions {
		byNumber[p.ID] = append(byNumber[p.ID], p.Topic)
	}
	numbers := make([]int, 0, len(byNumber))
	for n := range byNumber {
		numbers = append(numbers, n)
	}
	for n, id := range share(ids, numbers) {
		for _, t := range byNumber[n] {
			own := result[newest[id]]
			own[t] = append(own[t], n)
		}
	}
	for _, topics := range result {
		for _, ns := range topics {
			slices.Sort(ns)
		}
	}
	return result
}

// share gives the id that each partition goes to: the pairs in the order of
// their scores, as long as neither has enough.
func share(ids []string, partitions []int) map[int]string {
	if len(ids) == 0 {
		return nil
	}
	type pair struct {
		score     uint64
		id        string
		partition int
	}
	pairs := make([]pair, 0, len(ids)*len(partitions))
	for _, id := range ids {
		for _, p := range partitions {
			pairs = append(pairs, pair{score(id, p), id, p})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id), cmp.Compare(a.partition, b.partition))
	})
	least, larger := len(partitions)/len(ids), len(partitions)%len(ids) // so many have one more than the least
	owner := make(map[int]string, len(partitions))
	owned := make(map[string]int, len(ids))
	for _, p := range pairs {
		if _, taken := owner[p.partition]; taken || owned[p.id] > least || owned[p.id] == least && larger == 0 {
			continue
		}
		if owned[p.id] == least {
			larger--
		}
		owner[p.partition] = p.id
		owned[p.id]++
	}
	return owner
}

// score is how much id wants a partition: their FNV-1a hash, with its bits
// mixed as the last step of MurmurHash3 does.
func score(id string, partition int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id))
	var number [8]byte
	binary.BigEndian.PutUint64(number[:], uint64(partition))
	h.Write(number[:])
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
