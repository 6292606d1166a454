package edge_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// BenchmarkDeliveriesWithBlockLists multiplies presence to 1,000 sessions on
// real sockets, each with 50 friends among them, while nobody blocks anybody
// and while every tenth account has a block list of 100 JIDs, one of them a
// friend; turn by turn, so that what else the machine does meets both. It tells
// the edge's CPU time for a delivery in either, and by how much they differ.
func BenchmarkDeliveriesWithBlockLists(b *testing.B) {
	const n, friends, size, rounds = 1000, 50, 16, 64
	registry := prometheus.NewRegistry()
	h, e := edgetest.Start(b, edge.Options{Registry: registry})
	name := func(i int) string { return fmt.Sprintf("user%d", (i+n)%n) }
	for i := range n {
		h.Create(name(i))
	}
	for i := range n {
		for k := 1; k <= friends/2; k++ {
			h.Befriend(name(i), name(i+k))
		}
	}
	clients(b, e.Addr(0).String(), n, "plain", "online")
	edgetest.WaitFor(b, "all see all", func() bool {
		h.Quiet()
		return value(registry, "rollcall_edge_deliveries_total") >= n*(friends+1)
	})
	h.Quiet()
	settle(registry)
	account := func(i int) string { return name(i) + "@example.com" }
	partition := func(account string) int32 { return topic.Partition(jid.MustBare(account), 4) }
	byPartition := make(map[int32][]string)
	for i := range n {
		byPartition[partition(account(i))] = append(byPartition[partition(account(i))], account(i))
	}
	version := int64(1 << 40)
	block := func(on bool) {
		for i := 0; i < n; i += 10 {
			version++
			a := &wire.Audience{Account: account(i), Offset: version}
			if on {
				a.Policy = &event.Policy{Account: account(i), Blocked: []string{account(i + 1)}}
				for k := range 99 {
					a.Policy.Blocked = append(a.Policy.Blocked, fmt.Sprintf("stranger%d@example.com", k))
				}
			}
			e.Frames(partition(account(i)), []*wire.Frame{{What: &wire.Frame_Audience{Audience: a}}})
		}
		settle(registry)
	}
	said := &event.Presence{Show: "away", Status: "at lunch", Payload: []byte("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://example.com/client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>")}
	turn := func() (took time.Duration, made float64) {
		before, cpu := value(registry, "rollcall_edge_deliveries_total"), cpuTime()
		for round := range rounds {
			p := int32(round % 4)
			accounts := byPartition[p]
			var frames []*wire.Frame
			for k := range size {
				version++
				frames = append(frames, &wire.Frame{What: &wire.Frame_Presence{Presence: &wire.Presence{
					Account: accounts[(round*size+k)%len(accounts)], Resource: "r", Version: version, Available: true, Presence: said,
				}}})
			}
			e.Frames(p, frames)
		}
		settle(registry)
		return cpuTime() - cpu, value(registry, "rollcall_edge_deliveries_total") - before
	}
	var took [2]time.Duration
	var made [2]float64
	for i := 0; b.Loop(); i++ {
		for k := range 2 {
			kind := (i + k) % 2 // who begins changes, too
			block(kind == 1)
			t, m := turn()
			took[kind] += t
			made[kind] += m
		}
	}
	none, some := float64(took[0])/made[0], float64(took[1])/made[1]
	b.ReportMetric(none, "ns/delivery-none")
	b.ReportMetric(some, "ns/delivery-blocking")
	b.ReportMetric(100*(some/none-1), "%slower")
	b.ReportMetric(made[1]/made[0], "delivered/none")
}
