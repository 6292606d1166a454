package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/topic"
)

func TestShareIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9-]{1,12}`), 1, 20, rapid.ID[string]).Draw(t, "ids")
		n := rapid.IntRange(0, 100).Draw(t, "partitions")
		partitions := make([]int, n)
		for i := range partitions {
			partitions[i] = i
		}
		owner := share(ids, partitions)
		owned := make(map[string]int)
		for _, id := range owner {
			owned[id]++
		}
		if len(owner) != n {
			t.Fatalf("%d of %d partitions have an owner", len(owner), n)
		}
		for _, id := range ids {
			if owned[id] < n/len(ids) || owned[id] > (n+len(ids)-1)/len(ids) {
				t.Fatalf("%s owns %d of %d among %d", id, owned[id], n, len(ids))
			}
		}
		slices.Reverse(ids)
		for p, id := range share(ids, partitions) {
			if owner[p] != id {
				t.Fatalf("partition %d depends on the order of the members", p)
			}
		}
	})
}

// One more of m members takes 64/(m+1) partitions; nearly no others move.
func TestFewMove(t *testing.T) {
	partitions := make([]int, 64)
	for i := range partitions {
		partitions[i] = i
	}
	for m := 1; m < 10; m++ {
		moved, rounds := 0, 50
		for round := range rounds {
			var ids []string
			for i := range m + 1 {
				ids = append(ids, fmt.Sprintf("worker-%d-%d", round, i))
			}
			before, after := share(ids[:m], partitions), share(ids, partitions)
			for p := range partitions {
				if before[p] != after[p] {
					moved++
				}
			}
		}
		need := 64 / (m + 1)
		t.Logf("%d members and one more: %.1f of 64 move, %d must", m, float64(moved)/float64(rounds), need)
		if moved > rounds*(need+need/2+4) {
			t.Errorf("%d members and one more: %d partitions move in %d rounds", m, moved, rounds)
		}
	}
}

func TestBalancerPrefersTheLaterStart(t *testing.T) {
	data := func(id string, started int64) []byte {
		b, err := balancer{id, started}.UserData()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var partitions []kafka.Partition
	for i := range 8 {
		partitions = append(partitions, kafka.Partition{Topic: topic.Account, ID: i}, kafka.Partition{Topic: topic.Outbox, ID: i})
	}
	got := balancer{}.AssignGroups([]kafka.GroupMember{
		{ID: "old", UserData: data("a", 1)}, {ID: "new", UserData: data("a", 2)}, {ID: "other", UserData: data("b", 1)},
	}, partitions)
	if len(got["old"]) != 0 || len(got["new"][topic.Account]) != 4 || len(got["other"][topic.Account]) != 4 {
		t.Errorf("got %v", got)
	}
	for id, topics := range got {
		if !slices.Equal(topics[topic.Account], topics[topic.Outbox]) {
			t.Errorf("%s has different partitions of the topics: %v", id, topics)
		}
	}
}

// group runs members and knows what each has.
type group struct {
	t       *testing.T
	brokers []string
	mu      sync.Mutex
	has     map[string][]int32
	changed chan struct{}
	session time.Duration // 2 s if 0, which real brokers refuse
}

func (g *group) join(id string) (m *Member, leave func()) {
	g.t.Helper()
	setDefault(&g.session, 2*time.Second)
	m, err := NewMember(MemberOptions{
		Brokers: g.brokers, Group: "test", ID: id, Topics: []string{topic.Account, topic.Outbox},
		Heartbeat: 20 * time.Millisecond, SessionTimeout: g.session, JoinBackoff: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		g.t.Fatal(err)
	}
	leave = background(g.t, func(ctx context.Context) error {
		defer g.set(id, nil)
		return m.Run(ctx, func(_ context.Context, partitions []int32) { g.set(id, partitions) })
	})
	return m, leave
}

func (g *group) set(id string, partitions []int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.has[id] = partitions
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// settle waits until the members share the partitions as they should.
func (g *group) settle(partitions int, ids ...string) map[int]string {
	g.t.Helper()
	numbers := make([]int, partitions)
	for i := range numbers {
		numbers[i] = i
	}
	want := share(ids, numbers)
	deadline := time.After(limit)
	for {
		g.mu.Lock()
		have := make(map[int]string)
		twice := false
		for id, ps := range g.has {
			for _, p := range ps {
				_, taken := have[int(p)]
				twice = twice || taken
				have[int(p)] = id
			}
		}
		g.mu.Unlock()
		same := !twice && len(have) == len(want)
		for p, id := range want {
			same = same && have[p] == id
		}
		if same {
			return have
		}
		select {
		case <-g.changed:
		case <-deadline:
			g.t.Fatalf("have %v, want %v", have, want)
		}
	}
}

func TestMembersComeAndGo(t *testing.T) {
	c := fake(t, 1, 16)
	g := &group{t: t, brokers: c.ListenAddrs(), has: make(map[string][]int32), changed: make(chan struct{}, 1)}
	a, leaveA := g.join("a")
	g.settle(16, "a")
	_, leaveB := g.join("b")
	g.settle(16, "a", "b")
	_, leaveC := g.join("c")
	g.settle(16, "a", "b", "c")

	ctx := testContext(t)
	if err := a.Commit(ctx, topic.Outbox, map[int32]int64{3: 30, 5: 50}); err != nil {
		t.Error(err)
	}
	got, err := a.Committed(ctx, topic.Outbox)
	if err != nil || len(got) != 2 || got[3] != 30 || got[5] != 50 {
		t.Errorf("committed: %v, %v", got, err)
	}
	leaveB()
	g.settle(16, "a", "c")
	leaveA()
	g.settle(16, "c")
	if err := a.Commit(ctx, topic.Outbox, map[int32]int64{3: 31}); !errors.Is(err, ErrNotMember) {
		t.Errorf("commit of one that left: got %v, want ErrNotMember", err)
	}
	leaveC()
}

// While the brokers are away the assignment stands; when they are back, even
// without memory of the group, the member joins again.
func TestMemberOutlivesBrokers(t *testing.T) {
	port := freePort(t)
	start := func() *kfake.Cluster {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port), kfake.GroupMinSessionTimeout(100*time.Millisecond),
			kfake.SeedTopics(8, topic.Account, topic.Outbox))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start()
	g := &group{t: t, brokers: c.ListenAddrs(), has: make(map[string][]int32), changed: make(chan struct{}, 1)}
	m, _ := g.join("a")
	g.settle(8, "a")
	commit := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return m.Commit(ctx, topic.Account, map[int32]int64{1: 1})
	}
	if err := commit(); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := commit(); err == nil {
		t.Error("committed without a broker")
	}
	g.settle(8, "a")
	c = start()
	defer c.Close()
	ctx := testContext(t)
	if _, err := c.WaitGroupStable(ctx, "test", 1); err != nil {
		t.Fatal(err)
	}
	for commit() != nil {
		if !sleep(ctx, backoff(1)) {
			t.Fatal("cannot commit after the broker is back")
		}
	}
	g.settle(8, "a")
}
