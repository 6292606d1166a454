package pushes

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/postgres"
)

// A queue is a Store with what the projector has written.
type queue struct {
	t testing.TB
	*Store
}

func opened(t testing.TB) *queue {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &queue{t, New(pool)}
}

func (q *queue) exec(sql string, args ...any) {
	q.t.Helper()
	if _, err := q.pool.Exec(q.t.Context(), sql, args...); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queue) enable(account, node string) {
	q.exec(`INSERT INTO views.push VALUES ($1, 'push.x', $2, 1, '<x/>')`, account, node)
}

// waits has a message wait, and its push.
func (q *queue) waits(account, node string, offset int64, body string) {
	accepted, err := proto.Marshal(&event.MessageAccepted{From: "romeo@x/orchard", Message: &event.Message{Body: body}})
	if err != nil {
		q.t.Fatal(err)
	}
	q.exec(`INSERT INTO views.inbox (account, "offset", id, at, sender, resource, accepted)
		VALUES ($1, $2, gen_random_uuid(), now(), '', '', $3) ON CONFLICT DO NOTHING`, account, offset, accepted)
	q.exec(`INSERT INTO run.push (account, service, node, "offset", domain) VALUES ($1, 'push.x', $2, $3, 'push.x')`, account, node, offset)
}

func (q *queue) take(most int, claim time.Duration) []edge.Push {
	q.t.Helper()
	all, err := q.Take(q.t.Context(), []string{"push.x"}, most, claim)
	if err != nil {
		q.t.Fatal(err)
	}
	return all
}

func (q *queue) settle(s ...edge.SettledPush) {
	q.t.Helper()
	if err := q.Settle(q.t.Context(), s); err != nil {
		q.t.Fatal(err)
	}
}

func (q *queue) left() int {
	q.t.Helper()
	n, err := q.Waiting(q.t.Context())
	if err != nil {
		q.t.Fatal(err)
	}
	return n
}

func TestTake(t *testing.T) {
	q := opened(t)
	q.enable("juliet@x", "n1")
	q.enable("nurse@x", "")
	q.waits("juliet@x", "n1", 4, "first")
	q.waits("juliet@x", "n1", 7, "second")
	q.waits("nurse@x", "", 9, "third")

	if other, err := q.Take(t.Context(), []string{"other.x"}, 10, time.Minute); err != nil || len(other) != 0 {
		t.Fatal(other, err)
	}
	got := q.take(10, time.Minute)
	if len(got) != 2 {
		t.Fatal(got)
	}
	// What waits for one node goes together.
	if j := got[0]; j.Account != "juliet@x" || j.Service != "push.x" || j.Node != "n1" || j.Newest != 7 || j.Attempt != 1 || j.Moot ||
		string(j.Options) != "<x/>" || j.Waiting != 2 || j.Sender != "romeo@x/orchard" || j.Body != "second" {
		t.Errorf("%+v", j)
	}
	if n := got[1]; n.Account != "nurse@x" || n.Node != "" || n.Newest != 9 || n.Waiting != 1 {
		t.Errorf("%+v", n)
	}
	if again := q.take(10, time.Minute); len(again) != 0 {
		t.Errorf("taken twice: %+v", again)
	}

	// What comes while one is claimed waits for it.
	q.waits("juliet@x", "n1", 11, "fourth")
	if early := q.take(10, time.Minute); len(early) != 0 {
		t.Errorf("%+v", early)
	}
	q.settle(edge.SettledPush{Push: got[0]})
	if n := q.left(); n != 2 {
		t.Errorf("%d left", n)
	}
	if later := q.take(10, time.Minute); len(later) != 1 || later[0].Newest != 11 || later[0].Attempt != 1 || later[0].Waiting != 3 {
		t.Errorf("%+v", later)
	}

	// A claim that is over is anybody's; then the first who had it decides nothing.
	q.exec(`UPDATE run.push SET due_at = now() WHERE account = 'nurse@x'`)
	if second := q.take(10, time.Minute); len(second) != 1 || second[0].Attempt != 2 || second[0].Newest != 9 {
		t.Errorf("%+v", second)
	}
	q.settle(edge.SettledPush{Push: got[1]})
	if n := q.left(); n != 2 {
		t.Errorf("%d left", n)
	}
}

func TestTakeNoMoreThanAsked(t *testing.T) {
	q := opened(t)
	for _, account := range []string{"a@x", "b@x", "c@x"} {
		q.enable(account, "n")
		q.waits(account, "n", 1, "")
	}
	if got := q.take(2, time.Minute); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestPutOff(t *testing.T) {
	q := opened(t)
	q.enable("juliet@x", "n1")
	q.waits("juliet@x", "n1", 4, "first")
	got := q.take(1, time.Minute)
	q.settle(edge.SettledPush{Push: got[0], Again: true, After: time.Hour})
	q.waits("juliet@x", "n1", 5, "second")
	if early := q.take(1, time.Minute); len(early) != 0 {
		t.Errorf("%+v", early)
	}
	q.exec(`UPDATE run.push SET due_at = now()`)
	got = q.take(1, time.Minute)
	if len(got) != 1 || got[0].Newest != 5 || got[0].Attempt != 2 {
		t.Fatalf("%+v", got)
	}
	q.settle(edge.SettledPush{Push: got[0], Again: true})
	if at := q.take(1, time.Minute); len(at) != 1 || at[0].Attempt != 3 {
		t.Errorf("%+v", at)
	}
}

func TestMoot(t *testing.T) {
	q := opened(t)
	q.enable("juliet@x", "n1")
	q.waits("juliet@x", "n1", 4, "delivered")
	q.waits("nurse@x", "n1", 5, "not registered")
	q.exec(`DELETE FROM views.inbox WHERE account = 'juliet@x'`)
	got := q.take(10, time.Minute)
	if len(got) != 2 || !got[0].Moot || !got[1].Moot {
		t.Errorf("%+v", got)
	}
	// Of several the newest that waits is told of.
	q.enable("romeo@x", "n1")
	q.waits("romeo@x", "n1", 6, "waits")
	q.waits("romeo@x", "n1", 7, "delivered")
	q.exec(`DELETE FROM views.inbox WHERE account = 'romeo@x' AND "offset" = 7`)
	if got := q.take(10, time.Minute); len(got) != 1 || got[0].Moot || got[0].Body != "waits" || got[0].Newest != 7 || got[0].Waiting != 1 {
		t.Errorf("%+v", got)
	}
}

// A message that went to a session whose connection is broken is told once it
// is projected, if it waits still.
func TestAdd(t *testing.T) {
	q := opened(t)
	q.exec(`INSERT INTO views.projected VALUES (1, 10, '', 3, now())`)
	for _, service := range []string{"push.x", "a@push.x/b", "romeos.x"} {
		q.exec(`INSERT INTO views.push VALUES ('juliet@x', $1, 'n', 1, '')`, service)
	}
	stored := func(offset int64) {
		q.exec(`INSERT INTO views.inbox (account, "offset", id, at, sender, resource, accepted)
			VALUES ('juliet@x', $1, gen_random_uuid(), now(), 'romeo@romeos.x/orchard', '', '')`, offset)
	}
	stored(5)
	asleep := []edge.Asleep{{Account: "juliet@x", Partition: 1, Offset: 5}, {Account: "juliet@x", Partition: 1, Offset: 6},
		{Account: "juliet@x", Partition: 1, Offset: 12}, {Account: "nurse@x", Partition: 1, Offset: 5}}
	early, err := q.Add(t.Context(), asleep, 0)
	if err != nil || len(early) != 1 || early[0].Offset != 12 {
		t.Fatal(early, err)
	}
	if again, err := q.Add(t.Context(), asleep, 0); err != nil || len(again) != 1 {
		t.Fatal(again, err)
	}
	// Not to who sent it, and not of what has been delivered.
	if n := q.left(); n != 2 {
		t.Errorf("%d are to be told", n)
	}
	if got := q.take(10, time.Minute); len(got) != 2 || got[0].Newest != 5 || got[1].Newest != 5 {
		t.Errorf("%+v", got)
	}
	stored(12)
	q.exec(`UPDATE views.projected SET next_offset = 13`)
	if early, err := q.Add(t.Context(), early, time.Hour); err != nil || len(early) != 0 || q.left() != 4 {
		t.Error(early, err, q.left())
	}
}

func TestExpire(t *testing.T) {
	q := opened(t)
	q.enable("juliet@x", "n1")
	q.waits("juliet@x", "n1", 4, "old")
	q.waits("juliet@x", "n1", 5, "new")
	q.exec(`UPDATE run.push SET created_at = now() - interval '2 hours' WHERE "offset" = 4`)
	if n, err := q.Expire(t.Context(), time.Hour); err != nil || n != 1 || q.left() != 1 {
		t.Error(n, err, q.left())
	}
}

// Edges that take at the same time share what there is.
func TestTakenOnce(t *testing.T) {
	q := opened(t)
	const accounts = 200
	for i := range accounts {
		account := string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@x"
		q.enable(account, "n")
		q.waits(account, "n", int64(i), "")
	}
	var mu sync.Mutex
	var all []string
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				got, err := q.Take(t.Context(), []string{"push.x"}, 7, time.Minute)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, p := range got {
					all = append(all, p.Account)
				}
				done := len(all) >= accounts || t.Failed()
				mu.Unlock()
				if done {
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != accounts || len(all) != accounts {
		t.Errorf("%d taken, %d different", len(all), n)
	}
}
