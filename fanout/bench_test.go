package fanout_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// counter is a client's codec that counts frames and decodes nothing else, so
// that what is measured is the worker.
type counter struct {
	encoding.CodecV2
	frames, answers atomic.Int64
	claims          chan [2]uint64 // partition, claim
}

func (c *counter) Unmarshal(data mem.BufferSlice, _ any) error {
	b := data.Materialize()
	for len(b) > 0 {
		what, _, n := protowire.ConsumeTag(b)
		said, m := protowire.ConsumeBytes(b[n:])
		b = b[n+m:]
		var fields [4]uint64
		frames := int64(0)
		for len(said) > 0 {
			number, kind, n := protowire.ConsumeTag(said)
			if kind == protowire.VarintType && number < 4 {
				fields[number], _ = protowire.ConsumeVarint(said[n:])
			} else if number == 3 {
				frames++
			}
			said = said[n+protowire.ConsumeFieldValue(number, kind, said[n:]):]
		}
		switch what {
		case 1:
			c.claims <- [2]uint64{fields[1], fields[2]}
		case 2:
			c.answers.Add(1)
		case 3:
			c.frames.Add(frames)
		}
	}
	return nil
}

// rawEdge attaches to a worker and follows the accounts.
func rawEdge(b *testing.B, k *worker, id string, follow map[int32][]*wire.Followed) *counter {
	c := &counter{CodecV2: encoding.GetCodecV2("proto"), claims: make(chan [2]uint64, parts)}
	conn, err := grpc.NewClient("passthrough:///"+k.address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(c), grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithInitialWindowSize(4<<20), grpc.WithInitialConnWindowSize(4<<20))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.Cleanup(func() { cancel(); conn.Close() })
	s, err := wire.NewFanoutClient(conn).Attach(ctx)
	if err != nil {
		b.Fatal(err)
	}
	send := func(m *wire.FromEdge) {
		if err := s.Send(m); err != nil {
			b.Fatal(err)
		}
	}
	send(&wire.FromEdge{What: &wire.FromEdge_Hello{Hello: &wire.Hello{Edge: id, Epoch: 1}}})
	go func() {
		for {
			if _, err := s.Recv(); err != nil {
				return
			}
		}
	}()
	for range parts {
		a := <-c.claims
		send(&wire.FromEdge{What: &wire.FromEdge_Interest{Interest: &wire.Interest{
			Partition: int32(a[0]), Claim: a[1], Number: 1, Whole: true, Followed: follow[int32(a[0])],
		}}})
	}
	return c
}

// BenchmarkPresence measures presence changes from the log to edges' sockets:
// 1,000 accounts with 50 followers each on every edge. One op is 20,000
// changes; nothing is conflated.
func BenchmarkPresence(b *testing.B) {
	for _, edges := range []int{1, 4, 16} {
		b.Run(fmt.Sprint("edges=", edges), func(b *testing.B) { benchmarkPresence(b, edges) })
	}
}

func benchmarkPresence(b *testing.B, edges int) {
	const accounts, followers, changes = 1000, 50, 20000
	w := newWorld(b)
	k := w.work("w", func(o *fanout.Options) { o.ConflateAbove = 1 << 30 }, all...)
	follow := make(map[int32][]*wire.Followed)
	sender := &edge{w: w, t: b, id: "sender", epoch: 1}
	var sessions []*session
	for n := range accounts {
		name := fmt.Sprintf("account%d@example.org", n)
		f := &wire.Followed{Account: name}
		for m := range followers {
			f.Followers = append(f.Followers, fmt.Sprintf("account%d@example.org", (n+m*7+1)%accounts))
		}
		follow[partitionOf(name)] = append(follow[partitionOf(name)], f)
		w.create(name)
		sessions = append(sessions, sender.bind(name, "phone"))
	}
	w.projectAll()
	var counters []*counter
	for n := range edges {
		c := rawEdge(b, k, fmt.Sprint("e", n), follow)
		counters = append(counters, c)
	}
	for _, c := range counters {
		eventually(b, "answered", func() bool { return c.answers.Load() >= parts })
	}
	sequence := uint64(0)
	var before, after runtime.MemStats
	var allocs, frames uint64
	for b.Loop() {
		b.StopTimer()
		values := make([][]byte, changes)
		for n := range values {
			s := sessions[n%accounts]
			sequence++
			values[n] = mustMarshal(b, &event.Event{
				Id: s.binding, At: 1, Origin: "edge/sender/2", Sequence: sequence, Binding: s.binding,
				Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: "phone", Presence: &event.Presence{
					Show: "away", Status: "In a meeting until noon", Priority: 5,
					Payload: []byte(`<c xmlns="http://jabber.org/protocol/caps" hash="sha-1" node="https://example.org" ver="q07IKJEyjvHSyhy//CH0CxmKi8w="/>`),
				}}},
			})
		}
		var want []int64
		for _, c := range counters {
			want = append(want, c.frames.Load()+changes)
		}
		runtime.ReadMemStats(&before)
		b.StartTimer()
		w.log.mu.Lock()
		for n, value := range values {
			name := sessions[n%accounts].account
			list := &w.log.records[topic.Account][partitionOf(name)]
			*list = append(*list, fanout.Fetched{Offset: int64(len(*list)), Key: []byte(name), Value: value})
		}
		w.log.touch()
		w.log.mu.Unlock()
		for n, c := range counters {
			for c.frames.Load() < want[n] {
				runtime.Gosched()
			}
		}
		b.StopTimer()
		runtime.ReadMemStats(&after)
		allocs += after.Mallocs - before.Mallocs
		frames += uint64(changes * edges)
		b.StartTimer()
	}
	b.ReportMetric(float64(frames)/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64(frames)/float64(edges)/b.Elapsed().Seconds(), "changes/s")
	b.ReportMetric(float64(allocs)/float64(frames), "allocs/frame")
}

func mustMarshal(b *testing.B, e *event.Event) []byte {
	value, err := event.Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	return value
}

// BenchmarkInterest measures a login storm: the whole interest of an edge in
// 1,000 accounts with 50 followers each, from the stream's opening until all
// is answered, admissions checked in Postgres.
func BenchmarkInterest(b *testing.B) {
	const accounts, followers = 1000, 50
	w := newWorld(b)
	follow := make(map[int32][]*wire.Followed)
	sender := &edge{w: w, t: b, id: "sender", epoch: 1}
	for n := range accounts {
		name := fmt.Sprintf("account%d@example.org", n)
		f := &wire.Followed{Account: name}
		for m := range followers {
			f.Followers = append(f.Followers, fmt.Sprintf("account%d@example.org", (n+m*7+1)%accounts))
		}
		follow[partitionOf(name)] = append(follow[partitionOf(name)], f)
		w.create(name)
		sender.bind(name, "phone").available(0, "")
	}
	w.projectAll()
	if _, err := w.pool.Exec(context.Background(), `
		INSERT INTO views.roster_item
		SELECT 'account' || n || '@example.org', 'account' || ((n + m * 7 + 1) % $1) || '@example.org', '', '{}', 2, 0, false, NULL
		FROM generate_series(0, $1::int - 1) n, generate_series(0, $2::int - 1) m`, accounts, followers); err != nil {
		b.Fatal(err)
	}
	if _, err := w.pool.Exec(context.Background(), `ANALYZE`); err != nil {
		b.Fatal(err)
	}
	k := w.work("w", nil, all...)
	n := 0
	for b.Loop() {
		n++
		c := rawEdge(b, k, fmt.Sprint("e", n), follow)
		for c.answers.Load() < parts {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(n)*accounts*followers/b.Elapsed().Seconds(), "pairs/s")
}
