package edge_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// BenchmarkIdle tells what a bound connection that says nothing costs the
// edge's process.
func BenchmarkIdle(b *testing.B) {
	const n = 10000
	for _, kind := range []string{"plain", "tls", "wss"} {
		b.Run(kind, func(b *testing.B) {
			dir := b.TempDir()
			certificate, err := stream.LoadOrMakeCertificate(dir, "example.com")
			if err != nil {
				b.Fatal(err)
			}
			h, e := edgetest.Start(b, edge.Options{
				Stream: stream.Options{TLS: stream.ServerTLS(certificate)},
				Listen: []edge.Listen{{Address: "127.0.0.1:0", Web: kind == "wss", Direct: kind == "wss"}},
			})
			for i := range n {
				h.Create(fmt.Sprintf("user%d", i))
			}
			heap, stack, rss := memory()
			clients(b, e.Addr(0).String(), n, kind, "quiet")
			for b.Loop() {
			}
			h.Quiet()
			h.Forget()
			heap2, stack2, rss2 := memory()
			b.ReportMetric(float64(heap2-heap)/n, "heapB/conn")
			b.ReportMetric(float64(stack2-stack)/n, "stackB/conn")
			b.ReportMetric(float64(rss2-rss)/n, "rssB/conn")
			b.ReportMetric(float64(runtime.NumGoroutine())/n, "goroutines/conn")
		})
	}
}

func memory() (heap, stack, rss int64) {
	for range 4 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, _ := os.ReadFile("/proc/self/statm")
	var size, resident int64
	fmt.Sscan(string(text), &size, &resident)
	return int64(m.HeapAlloc), int64(m.StackInuse), resident * int64(os.Getpagesize())
}

// BenchmarkDeliveries multiplies presence: 2,000 sessions on real sockets,
// each with 50 friends among them; frames come in batches of a size.
func BenchmarkDeliveries(b *testing.B) {
	const n, friends = 2000, 50
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("frames=%d", size), func(b *testing.B) {
			registry := prometheus.NewRegistry()
			h, e := edgetest.Start(b, edge.Options{Registry: registry})
			name := func(i int) string { return fmt.Sprintf("user%d", i%n) }
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
			before := value(registry, "rollcall_edge_deliveries_total")
			writes, conflated := value(registry, "rollcall_edge_writes_total"), value(registry, "rollcall_edge_conflated_total")
			cpu := cpuTime()
			byPartition := make(map[int32][]string)
			for i := range n {
				p := topic.Partition(jid.MustBare(name(i)+"@example.com"), 4)
				byPartition[p] = append(byPartition[p], name(i)+"@example.com")
			}
			version, round := int64(1<<40), 0
			said := &event.Presence{Show: "away", Status: "at lunch", Payload: []byte("<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://example.com/client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>")}
			b.ReportAllocs()
			for b.Loop() {
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
				if round++; round%max(1, 1024/size) == 0 {
					settle(registry)
				}
			}
			settle(registry)
			took := cpuTime() - cpu
			made := value(registry, "rollcall_edge_deliveries_total") - before
			b.ReportMetric(made/took.Seconds(), "deliveries/cpu-s")
			b.ReportMetric(made/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(made/(value(registry, "rollcall_edge_writes_total")-writes), "deliveries/write")
			if c := value(registry, "rollcall_edge_conflated_total") - conflated; c > 0 {
				b.ReportMetric(c/made, "conflated/delivery")
			}
		})
	}
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// settle waits until nothing is being written.
func settle(r *prometheus.Registry) {
	for last := -1.0; ; {
		now := value(r, "rollcall_edge_written_bytes_total")
		if now == last {
			return
		}
		last = now
		time.Sleep(2 * time.Millisecond)
	}
}

func value(r *prometheus.Registry, name string) float64 {
	families, err := r.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		if strings.EqualFold(f.GetName(), name) {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}
