package projector_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/projector/replay"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
)

const partitions = 4

// A bench is a log, a database and the projectors on them.
type bench struct {
	t     testing.TB
	log   *logtest.Log
	group *logtest.Group
	pool  *pgxpool.Pool

	sequence uint64 // of deposit
}

func newBench(t testing.TB) *bench {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &bench{t: t, log: logtest.New(partitions), group: logtest.NewGroup(), pool: pool}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func (b *bench) options(id string) projector.Options {
	return projector.Options{Postgres: b.pool, Partitions: b.log.Partitions, Tail: b.log.Tail(500), Appender: b.log.Appender(),
		Member: b.group.Member(id), Logger: quiet}
}

// start runs a projector until stop, which gives what Run returned.
func (b *bench) start(o projector.Options) (stop func() error, ended <-chan error) {
	p, err := projector.New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	var once sync.Once
	var result error
	stop = func() error {
		once.Do(func() { cancel(); result = <-done })
		return result
	}
	b.t.Cleanup(func() { cancel() })
	return stop, done
}

func all() (every []int32) {
	for p := range int32(partitions) {
		every = append(every, p)
	}
	return every
}

// settle waits until everything in the log is projected and nothing is pending.
func (b *bench) settle() {
	b.t.Helper()
	b.until("the log is projected", func() bool {
		ends, _ := b.log.Ends(b.t.Context())
		for p, end := range ends {
			var next int64
			err := b.pool.QueryRow(b.t.Context(), "SELECT next_offset FROM views.projected WHERE partition = $1", p).Scan(&next)
			if err != nil || next < end {
				return false
			}
		}
		var pending int
		err := b.pool.QueryRow(b.t.Context(), "SELECT count(*) FROM run.reaction").Scan(&pending)
		again, _ := b.log.Ends(b.t.Context())
		return err == nil && pending == 0 && fmt.Sprint(again) == fmt.Sprint(ends)
	})
}

func (b *bench) until(what string, done func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			b.t.Fatalf("waited a minute until %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (b *bench) replay() replay.Options {
	return replay.Options{Postgres: b.pool, Log: b.log, Partitions: b.log.Partitions}
}

// verify compares the views with the log, and wants each reaction to be in the
// log, with copies left out exactly once and in order.
func (b *bench) verify() {
	b.t.Helper()
	report, err := replay.Verify(b.t.Context(), b.replay())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, d := range report.Diffs {
		b.t.Error(d)
	}
	if report.Rows == 0 {
		b.t.Error("nothing was compared")
	}
	b.reactions()
}

// reactions folds the whole log in memory and compares what it causes with what
// the marks admit of the reactions in the log.
func (b *bench) reactions() {
	b.t.Helper()
	w := newModel(b.t, b.log)
	for p := range int32(partitions) {
		w.partition(p)
	}
	for place, want := range w.caused {
		if got := w.arrived[place]; got != 1 {
			b.t.Errorf("reaction %s (%s): admitted %d times", place, want, got)
		}
	}
	for place := range w.arrived {
		if _, caused := w.caused[place]; !caused {
			b.t.Errorf("reaction %s is in the log and was never caused", place)
		}
	}
	if len(w.caused) == 0 {
		b.t.Error("no reactions")
	}
}

func TestProjectsRandomHistories(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			b := newBench(t)
			w := logtest.NewWriter(b.log, seed, 12)
			w.Create()
			w.Write(700)
			b.group.Give("a", all()...)
			o := b.options("a")
			o.CacheRows = 60 // so that accounts come and go
			o.BatchRecords = 40
			stop, _ := b.start(o)
			w.Write(1500)
			b.settle()
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			b.verify()
		})
	}
}

// Kill the projector at random steps, again and again.
func TestSurvivesCrashes(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 7, 10)
	w.Create()
	b.group.Give("a", all()...)
	crash := errors.New("crash")
	dice := rand.New(rand.NewPCG(7, 7))
	crashes := 0
	for round := range 25 {
		w.Write(60)
		left := 1 + dice.IntN(6)
		var mu sync.Mutex
		once := func(string) error {
			mu.Lock()
			defer mu.Unlock()
			if left--; left <= 0 {
				return crash
			}
			return nil
		}
		o := b.options("a")
		o.BatchRecords = 20
		switch round % 3 {
		case 0: // between a commit and the publication of its reactions, or before a commit
			o = o.WithFault(once)
		case 1: // between two publications
			b.log.Break(func(projector.Record) error { return once("") })
		case 2: // after a publication, before its rows are deleted: see below
		}
		if round%3 == 2 {
			stop, _ := b.start(o)
			b.until("some are projected", func() bool {
				var next int64
				return b.pool.QueryRow(t.Context(), "SELECT coalesce(sum(next_offset), 0) FROM views.projected").Scan(&next) == nil && next > 0
			})
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		} else {
			stop, ended := b.start(o)
			select {
			case err := <-ended:
				if !errors.Is(err, crash) {
					t.Fatalf("ended with %v", err)
				}
				crashes++
			case <-time.After(300 * time.Millisecond): // it had less to do than that
				if err := stop(); err != nil && !errors.Is(err, crash) {
					t.Fatal(err)
				}
			}
		}
		b.log.Break(nil)
	}
	if crashes < 10 {
		t.Errorf("only %d crashes", crashes)
	}
	stop, _ := b.start(b.options("a"))
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.verify()
}

// Two projectors that both believe to own everything.
func TestFencesASecondWriter(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 3, 10)
	w.Create()
	b.group.Give("a", all()...)
	b.group.Give("b", all()...)
	stopA, _ := b.start(b.options("a"))
	stopB, _ := b.start(b.options("b"))
	for range 8 {
		w.Write(120)
		b.settle()
	}
	if err := errors.Join(stopA(), stopB()); err != nil {
		t.Fatal(err)
	}
	b.verify()
}

// One of two dies; the other takes its partitions over. Later one moves back.
func TestTakesOver(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 4, 10)
	w.Create()
	b.group.Give("a", 0, 1)
	b.group.Give("b", 2, 3)
	stopA, _ := b.start(b.options("a"))
	stopB, _ := b.start(b.options("b"))
	w.Write(300)
	b.settle()
	if err := stopA(); err != nil {
		t.Fatal(err)
	}
	w.Write(300)
	b.group.Give("b", all()...)
	b.settle()
	stopA, _ = b.start(b.options("a"))
	b.group.Give("b", 1, 2, 3)
	w.Write(300)
	b.settle()
	if err := errors.Join(stopA(), stopB()); err != nil {
		t.Fatal(err)
	}
	b.verify()
}

func TestSetsGarbageAside(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 5, 3)
	w.Create()
	p := topic.Partition(w.Accounts()[0], partitions)
	garbage := b.log.Put(projector.Record{Topic: topic.Account, Partition: p, Key: []byte("\xfe"), Value: []byte("\xff\xff")})
	misplaced := b.log.Put(projector.Record{Topic: topic.Account, Partition: (p + 1) % partitions, Key: []byte(w.Accounts()[0].String()), Value: b.log.Records(topic.Account, p)[0].Value})
	b.group.Give("a", all()...)
	stop, _ := b.start(b.options("a"))
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	letters := b.log.Records(topic.DeadLetter, 0)
	if len(letters) != 2 {
		t.Fatalf("%d dead letters, want 2: %q", len(letters), letters)
	}
	for _, letter := range letters {
		from := string(letter.Headers[0].Value)
		if letter.Headers[0].Key != topic.HeaderFrom || from != garbage.String() && from != misplaced.String() {
			t.Errorf("dead letter from %q", from)
		}
		if from == garbage.String() && (string(letter.Value) != "\xff\xff" || string(letter.Key) != "\xfe" || len(letter.Headers[1].Value) == 0) {
			t.Errorf("dead letter %q %q, error %q", letter.Key, letter.Value, letter.Headers[1].Value)
		}
	}
}

// A record of a newer kind stops its partition and no other.
func TestStopsAtANewerKind(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 6, 8)
	w.Create()
	p := topic.Partition(w.Accounts()[0], partitions)
	// A whole envelope with field 100 as its kind.
	newer := append([]byte{}, b.log.Records(topic.Account, p)[0].Value...)
	newer = append(newer[:len(newer)-3], 0xa2, 0x06, 0x00)
	at := b.log.Put(projector.Record{Topic: topic.Account, Partition: p, Key: []byte(w.Accounts()[0].String()), Value: newer})
	if _, err := fold.Decode(p, at.Offset, nil, newer); !errors.Is(err, event.ErrNewer) {
		t.Fatalf("the test's record decodes with %v", err)
	}
	w.Create()
	b.group.Give("a", all()...)
	stop, _ := b.start(b.options("a"))
	b.until("the others are projected", func() bool {
		for q := range int32(partitions) {
			want := int64(len(b.log.Records(topic.Account, q)))
			if q == p {
				want = at.Offset
			}
			var next int64
			if b.pool.QueryRow(t.Context(), "SELECT next_offset FROM views.projected WHERE partition = $1", q).Scan(&next) != nil || next != want {
				return false
			}
		}
		return true
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
