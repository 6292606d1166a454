package fanout_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
)

// parts is the number of partitions of every log here.
const parts = 4

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// eventually waits for a condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// world is a log, its projection in a real Postgres, workers and edges.
type world struct {
	t    testing.TB
	log  *memory
	pool *pgxpool.Pool

	mu        sync.Mutex
	sequences map[string]uint64
	projector projection
	workers   []*worker // those that live
}

func newWorld(t testing.TB) *world {
	t.Helper()
	url := localtest.Postgres(t)
	engines := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, engines) })
	if err := postgres.Migrate(context.Background(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := &world{t: t, log: newMemory(), pool: pool, sequences: make(map[string]uint64)}
	w.projector.states = make(map[string]*account.State)
	return w
}

func partitionOf(name string) int32 { return topic.Partition(jid.BareFromCanonical(name), parts) }

// write appends an event of an origin to an account's history.
func (w *world) write(origin, name string, e *event.Event) int64 {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sequences[origin]++
	e.Origin, e.Sequence = origin, w.sequences[origin]
	if e.At == 0 {
		e.At = time.Now().UnixMicro()
	}
	if len(e.Id) == 0 {
		id := uuid.Must(uuid.NewV7())
		e.Id = id[:]
	}
	return w.put(name, e)
}

func (w *world) put(name string, e *event.Event) int64 {
	value, err := event.Marshal(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.log.append(topic.Account, partitionOf(name), name, value)
}

// lose says that an edge's epoch is over, in every partition.
func (w *world) lose(edge string, epoch uint64) {
	value, err := event.Marshal(&event.Event{At: time.Now().UnixMicro(), Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: edge, Epoch: epoch}}})
	if err != nil {
		w.t.Fatal(err)
	}
	for n := range int32(parts) {
		w.log.append(topic.Account, n, "", value)
	}
}

// projection folds the log as the projector does, when a test says so.
type projection struct {
	next   [parts]int64
	marks  [parts]account.Marks
	states map[string]*account.State
}

// fold folds all of a partition's records below end.
func (p *projection) fold(w *world, n int32, end int64) (touched map[string]bool, reactions []func()) {
	touched = make(map[string]bool)
	w.log.mu.Lock()
	all := w.log.records[topic.Account][n]
	w.log.mu.Unlock()
	for ; p.next[n] < end; p.next[n]++ {
		r := all[p.next[n]]
		e, err := event.Decode(r.Value)
		if err != nil {
			w.t.Fatal(err)
		}
		if !p.marks[n].Admit(e) {
			continue
		}
		names := []string{string(r.Key)}
		if e.GetEdgeLost() != nil {
			names = nil
			for name := range p.states {
				if partitionOf(name) == n {
					names = append(names, name)
				}
			}
			slices.Sort(names)
		}
		index := uint32(0)
		for _, name := range names {
			s := p.states[name]
			if s == nil {
				s = account.New(jid.BareFromCanonical(name))
				p.states[name] = s
			}
			touched[name] = true
			for _, re := range s.Apply(r.Offset, e) {
				origin, to, at, sequence := fmt.Sprintf("p/%d", n), re.Account.String(), index, uint64(r.Offset)
				index++
				reactions = append(reactions, func() {
					if re.Output != nil {
						re.Output.Origin, re.Output.Sequence, re.Output.Index = origin, sequence, at
						value, err := event.MarshalOutput(re.Output)
						if err != nil {
							w.t.Fatal(err)
						}
						w.log.append(topic.Outbox, partitionOf(to), to, value)
						return
					}
					id := uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "%s/%d/%d", origin, sequence, at))
					re.Event.Id, re.Event.Origin, re.Event.Sequence, re.Event.Index = id[:], origin, sequence, at
					w.put(to, re.Event)
				})
			}
		}
	}
	return touched, reactions
}

// project folds up to most records of a partition and commits them. It tells
// whether there were any.
func (w *world) project(n int32, most int64) bool {
	w.t.Helper()
	ends, _ := w.log.Ends(context.Background(), topic.Account)
	p := &w.projector
	end := min(ends[n], p.next[n]+most)
	if p.next[n] >= end {
		return false
	}
	touched, reactions := p.fold(w, n, end)
	marks, _ := p.marks[n].MarshalBinary()
	err := pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
		b := new(pgx.Batch)
		for name := range touched {
			w.store(b, n, p.states[name])
		}
		b.Queue(`INSERT INTO views.projected VALUES ($1, $2, $3, 1, now())
			ON CONFLICT (partition) DO UPDATE SET next_offset = excluded.next_offset, marks = excluded.marks`, n, p.next[n], marks)
		return tx.SendBatch(context.Background(), b).Close()
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, publish := range reactions {
		publish()
	}
	return true
}

// projectAll projects until nothing is left, reactions too.
func (w *world) projectAll() {
	w.t.Helper()
	for again := true; again; {
		again = false
		for n := range int32(parts) {
			again = w.project(n, 1<<40) || again
		}
	}
}

// store writes the rows of an account anew.
func (w *world) store(b *pgx.Batch, n int32, s *account.State) {
	name := s.Account.String()
	for _, table := range []string{"account", "resource", "roster_item", "inbox", "origins", "directed", "privacy"} {
		b.Queue(`DELETE FROM views.`+table+` WHERE account = $1`, name)
	}
	if s.Exists {
		b.Queue(`INSERT INTO views.account VALUES ($1, $2, $3, $4)`, name, n, s.Created, s.CreatedAt)
	}
	for _, r := range s.Resources {
		payload := r.Payload
		if payload == nil {
			payload = []byte{}
		}
		b.Queue(`INSERT INTO views.resource VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17)`,
			name, r.Name, n, [16]byte(r.Binding), r.Edge, int64(r.Epoch), r.Available, r.Show, r.Status, int16(r.Priority),
			payload, r.Lang, r.ID, r.Version, r.Bound, r.Since, r.Inherited)
	}
	for contact, i := range s.Roster {
		b.Queue(`INSERT INTO views.roster_item VALUES ($1,$2,$3,$4,$5,$6,$7,$8)`,
			name, contact.String(), i.Name, []string{}, int16(i.State), i.Version, i.Removed, nil)
	}
	if s.Privacy != nil {
		state, err := proto.Marshal(s.Privacy.Proto())
		if err != nil {
			w.t.Fatal(err)
		}
		policy, err := proto.Marshal(s.Policy().Policy())
		if err != nil {
			w.t.Fatal(err)
		}
		b.Queue(`INSERT INTO views.privacy VALUES ($1,$2,$3,$4,$5,$6)`, name, n, append([]string{}, s.Privacy.Blocked...), s.Privacy.Default, append([]byte{}, state...), append([]byte{}, policy...))
	}
	for resource, targets := range s.Directed {
		for target := range targets {
			b.Queue(`INSERT INTO views.directed VALUES ($1,$2,$3)`, name, resource, target)
		}
	}
	if len(s.Origins) > 0 {
		latest, _ := s.Origins.AppendBinary(nil)
		b.Queue(`INSERT INTO views.origins VALUES ($1,$2)`, name, latest)
	}
	for _, m := range s.Inbox {
		accepted, err := proto.Marshal(m.Accepted)
		if err != nil {
			w.t.Fatal(err)
		}
		b.Queue(`INSERT INTO views.inbox VALUES ($1,$2,$3,$4,$5,$6,$7)`,
			name, m.Offset, [16]byte(m.ID), m.At, m.Accepted.GetFrom(), m.Accepted.GetResource(), accepted)
	}
}

// truth is the fold of the whole log.
func (w *world) truth() map[string]*account.State {
	w.t.Helper()
	p := projection{states: make(map[string]*account.State)}
	ends, _ := w.log.Ends(context.Background(), topic.Account)
	for n := range int32(parts) {
		p.fold(w, n, ends[n])
	}
	return p.states
}

// worker is a running Worker.
type worker struct {
	*fanout.Worker
	id      string
	address string
	member  *member
	account *tail
	outbox  *tail
	stop    func()
}

// work starts a worker that holds the partitions; change changes its options.
func (w *world) work(id string, change func(*fanout.Options), partitions ...int32) *worker {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	k := &worker{
		id: id, address: l.Addr().String(),
		member:  &member{log: w.log, assign: make(chan []int32)},
		account: w.log.tail(topic.Account), outbox: w.log.tail(topic.Outbox),
	}
	w.run(k, l, change)
	k.assign(partitions...)
	return k
}

// run starts k, until its stop or the end of the test.
func (w *world) run(k *worker, l net.Listener, change func(*fanout.Options)) {
	w.t.Helper()
	o := fanout.Options{
		ID: k.id, Postgres: w.pool, Offsets: w.log, Listener: l,
		CommitEvery: 5 * time.Millisecond, InboxEvery: time.Millisecond, ProjectedEvery: 10 * time.Millisecond,
		RetryEvery: 10 * time.Millisecond, Logger: quiet,
	}
	if k.member != nil {
		o.Account, o.Outbox, o.Member = k.account, k.outbox, k.member
	}
	if change != nil {
		change(&o)
	}
	var err error
	if k.Worker, err = fanout.New(o); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := k.Run(ctx); err != nil {
			w.t.Errorf("worker %s: %v", k.id, err)
		}
	}()
	var once sync.Once
	k.stop = func() {
		once.Do(func() {
			w.mu.Lock()
			w.workers = slices.DeleteFunc(w.workers, func(o *worker) bool { return o == k })
			w.mu.Unlock()
			cancel()
			<-done
		})
	}
	w.t.Cleanup(k.stop)
	w.mu.Lock()
	w.workers = append(w.workers, k)
	w.mu.Unlock()
}

func (k *worker) assign(partitions ...int32) { k.member.assign <- partitions }

var all = []int32{0, 1, 2, 3}
