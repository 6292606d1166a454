package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// worker is a fan-out worker that says what a test has it say.
type worker struct {
	wire.UnimplementedFanoutServer
	Worker
	server *grpc.Server

	mu      sync.Mutex
	streams []grpc.BidiStreamingServer[wire.FromEdge, wire.ToEdge]
	heard   []*wire.FromEdge
	mute    bool // gives no sign of life
}

func startWorker(t *testing.T, id string) *worker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{Worker: Worker{ID: id, Epoch: 1, Address: l.Addr().String()}, server: grpc.NewServer()}
	wire.RegisterFanoutServer(w.server, w)
	go func() { _ = w.server.Serve(l) }()
	t.Cleanup(w.server.Stop)
	return w
}

func (w *worker) Attach(s grpc.BidiStreamingServer[wire.FromEdge, wire.ToEdge]) error {
	w.mu.Lock()
	w.streams = append(w.streams, s)
	w.mu.Unlock()
	beat := time.NewTicker(10 * time.Millisecond)
	defer beat.Stop()
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.heard = append(w.heard, m)
			w.mu.Unlock()
		}
	}()
	for {
		select {
		case <-s.Context().Done():
			return nil
		case <-beat.C:
			w.mu.Lock()
			if !w.mute && w.streams[len(w.streams)-1] == s {
				_ = s.Send(&wire.ToEdge{})
			}
			w.mu.Unlock()
		}
	}
}

// say sends on the newest stream.
func (w *worker) say(t *testing.T, m *wire.ToEdge) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.streams[len(w.streams)-1].Send(m); err != nil {
		t.Error(err)
	}
}

func (w *worker) attached(n int) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.streams) == n
	}
}

// interests gives what was heard of a partition.
func (w *worker) interests(partition int32) (list []*wire.Interest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.heard {
		if in := m.GetInterest(); in != nil && in.GetPartition() == partition {
			list = append(list, in)
		}
	}
	return list
}

func (w *worker) takens() (list []*wire.Taken) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.heard {
		if k := m.GetTaken(); k != nil {
			list = append(list, k)
		}
	}
	return list
}

func assignedTo(partition int32, claim uint64) *wire.ToEdge {
	return &wire.ToEdge{What: &wire.ToEdge_Assigned{Assigned: &wire.Assigned{Partition: partition, Claim: claim}}}
}

func outputs(partition int32, claim uint64, offsets ...int64) *wire.ToEdge {
	f := &wire.Frames{Partition: partition, Claim: claim}
	for _, o := range offsets {
		f.Frames = append(f.Frames, &wire.Frame{What: &wire.Frame_Output{Output: &wire.Output{Offset: o, Output: &event.Output{}}}})
	}
	return &wire.ToEdge{What: &wire.ToEdge_Frames{Frames: f}}
}

// book remembers what the link says, and is the discovery too.
type book struct {
	mu      sync.Mutex
	workers []Worker
	err     error
	all     map[int32][]*wire.Followed
	heard   []string
}

func (b *book) Workers(context.Context) ([]Worker, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.workers), b.err
}

func (b *book) Whole(partition int32) []*wire.Followed {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[partition]
}

func (b *book) hear(words string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(b.heard, words)
}

func (b *book) Answer(a *wire.Answer) { b.hear(fmt.Sprintf("answer %d", a.GetNumber())) }

func (b *book) Frames(partition int32, frames []*wire.Frame) {
	for _, f := range frames {
		b.hear(fmt.Sprintf("output %d/%d", partition, f.GetOutput().GetOffset()))
	}
}

func (b *book) Iq(iq *wire.Iq) { b.hear("iq " + iq.GetId()) }

func (b *book) heardIs(words ...string) func() bool {
	return func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Equal(b.heard, words)
	}
}

func (b *book) Replaced(*wire.Replaced) {}

func startLink(t *testing.T, b *book, change func(*Options), workers ...*worker) *Link {
	t.Helper()
	for _, w := range workers {
		b.workers = append(b.workers, w.Worker)
	}
	o := Options{
		Edge: "e", Epoch: 5, Partitions: 3, Discover: b, Handler: b,
		DiscoverEvery: 20 * time.Millisecond, RedialAfter: 2 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&o)
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	for _, w := range workers {
		eventually(t, "a stream to "+w.ID, w.attached(1))
	}
	return l
}

func TestWholeThenIncrements(t *testing.T) {
	w, b := startWorker(t, "w"), &book{}
	b.all = map[int32][]*wire.Followed{1: {{Account: "a@x", Followers: []string{"f@x"}}, {Account: "b@x"}, {Account: "c@x"}}}
	l := startLink(t, b, func(o *Options) { o.ChunkAccounts = 2; o.Gather = 50 * time.Millisecond }, w)
	l.Follow(1, "a@x", "f@x") // told with the whole
	w.say(t, assignedTo(1, 9))
	eventually(t, "the whole interest", func() bool { return len(w.interests(1)) == 2 })
	got := w.interests(1)
	if hello := w.heard[0].GetHello(); hello.GetEdge() != "e" || hello.GetEpoch() != 5 {
		t.Errorf("hello %v", hello)
	}
	if !got[0].GetWhole() || got[1].GetWhole() || len(got[0].GetFollowed()) != 2 || len(got[1].GetFollowed()) != 1 ||
		got[0].GetClaim() != 9 || got[0].GetNumber() == got[1].GetNumber() {
		t.Errorf("whole %v", got)
	}
	// A storm of logins goes in one message; what was dropped and followed
	// again stays.
	l.Follow(1, "d@x", "f@x")
	l.Follow(1, "d@x", "g@x")
	l.Unfollow(1, "a@x", "f@x")
	l.Follow(1, "e@x", "f@x")
	l.Unfollow(1, "e@x", "f@x")
	l.Follow(1, "e@x", "g@x")
	l.Unfollow(1, "d@x", "g@x") // f@x is left
	eventually(t, "the increment", func() bool { return len(w.interests(1)) == 3 })
	in := w.interests(1)[2]
	slices.SortFunc(in.Followed, func(a, b *wire.Followed) int { return len(b.Followers) - len(a.Followers) })
	if in.GetWhole() || !slices.Equal(in.GetDropped(), []string{"a@x"}) || len(in.GetFollowed()) != 2 ||
		in.Followed[0].GetAccount() != "d@x" || in.Followed[1].GetAccount() != "e@x" {
		t.Errorf("increment %v", in)
	}
}

func TestHighestClaimIsHeardAlone(t *testing.T) {
	w1, w2, b := startWorker(t, "w1"), startWorker(t, "w2"), &book{}
	l := startLink(t, b, nil, w1, w2)
	w1.say(t, assignedTo(0, 1))
	eventually(t, "w1 is told", func() bool { return len(w1.interests(0)) == 1 })
	w1.say(t, outputs(0, 1, 4))
	eventually(t, "w1 is heard", b.heardIs("output 0/4"))
	eventually(t, "taken", func() bool {
		k := w1.takens()
		return len(k) == 1 && k[0].GetNextOffset() == 5 && k[0].GetClaim() == 1
	})
	w2.say(t, assignedTo(0, 2))
	eventually(t, "w2 is told", func() bool { return len(w2.interests(0)) == 1 })
	w1.say(t, outputs(0, 1, 5))
	w1.say(t, assignedTo(0, 1)) // an older claim changes nothing
	w1.say(t, &wire.ToEdge{What: &wire.ToEdge_Answer{Answer: &wire.Answer{Claim: 1, Number: 77}}})
	w1.say(t, &wire.ToEdge{What: &wire.ToEdge_Iq{Iq: &wire.Iq{Id: "after all of that"}}})
	eventually(t, "w1 has said all", b.heardIs("output 0/4", "iq after all of that"))
	w2.say(t, outputs(0, 2, 5, 6))
	w2.say(t, &wire.ToEdge{What: &wire.ToEdge_Answer{Answer: &wire.Answer{Claim: 2, Number: 8}}})
	eventually(t, "w2 is heard", b.heardIs("output 0/4", "iq after all of that", "output 0/5", "output 0/6", "answer 8"))
	if !l.SendIq(&wire.Iq{Partition: 0, Id: "q"}) || l.SendIq(&wire.Iq{Partition: 1}) || l.SendIq(&wire.Iq{Partition: 9}) || l.Ready() {
		t.Error("an iq goes where there is a worker")
	}
	eventually(t, "the iq is at w2", func() bool {
		w2.mu.Lock()
		defer w2.mu.Unlock()
		return slices.ContainsFunc(w2.heard, func(m *wire.FromEdge) bool { return m.GetIq().GetId() == "q" })
	})
}

func TestBrokenAndSilentStreamsAreOpenedAgain(t *testing.T) {
	w, b := startWorker(t, "w"), &book{}
	l := startLink(t, b, func(o *Options) { o.Silence = 100 * time.Millisecond }, w)
	w.say(t, assignedTo(2, 3))
	eventually(t, "told", func() bool { return len(w.interests(2)) == 1 })
	w.mu.Lock()
	w.mute = true
	w.mu.Unlock()
	eventually(t, "the silent stream is replaced", w.attached(2))
	w.mu.Lock()
	w.mute = false
	w.mu.Unlock()
	eventually(t, "the same claim again", func() bool {
		w.say(t, assignedTo(2, 3))
		return len(w.interests(2)) >= 2
	})
	// A worker that dies takes its partitions with it; another may come.
	w.server.Stop()
	eventually(t, "nobody serves", func() bool { return !l.SendIq(&wire.Iq{Partition: 2}) })
	other := startWorker(t, "other")
	b.mu.Lock()
	b.workers = []Worker{other.Worker}
	b.mu.Unlock()
	eventually(t, "a stream to the other", other.attached(1))
	b.mu.Lock()
	b.workers, b.err = nil, errors.New("no Postgres")
	b.mu.Unlock()
	other.say(t, assignedTo(2, 4))
	eventually(t, "told", func() bool { return len(other.interests(2)) == 1 })
}
