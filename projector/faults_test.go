package projector_test

import (
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/schema/topic"
)

// Postgres drops every connection, again and again, in the middle of commits.
func TestSurvivesLostConnections(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 9, 10)
	w.Create()
	b.group.Give("a", all()...)
	o := b.options("a")
	o.BatchRecords = 50
	stop, _ := b.start(o)
	for range 10 {
		w.Write(200)
		// It ends the connection that asks, too.
		_, _ = b.pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	}
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.verify()
}

// The log's client is full now and then, and nothing overtakes what it refused.
func TestWaitsForAFullAppender(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 10, 8)
	w.Create()
	w.Write(400)
	var calls atomic.Int64
	b.log.Break(func(projector.Record) error {
		if calls.Add(1)%5 == 0 {
			return logtest.ErrFull
		}
		return nil
	})
	b.group.Give("a", all()...)
	o := b.options("a")
	o.MaxReactions = 30
	stop, _ := b.start(o)
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.verify()
}

// What the log will never take is given up, and the rest goes on.
func TestGivesUpWhatTheLogRefuses(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 11, 8)
	w.Create()
	w.Write(300)
	var refused, taken atomic.Int64
	b.log.Break(func(r projector.Record) error {
		if r.Topic == topic.Outbox && taken.Add(1)%10 == 0 {
			refused.Add(1)
			return logtest.ErrRefused
		}
		return nil
	})
	b.group.Give("a", all()...)
	stop, _ := b.start(b.options("a"))
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
}

func TestRunLeavesNoGoroutine(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 12, 5)
	w.Create()
	b.group.Give("a", all()...)
	known := goleak.IgnoreCurrent()
	stop, _ := b.start(b.options("a"))
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, known, goleak.IgnoreAnyFunction("github.com/jackc/puddle/v2.(*Pool[...]).initResourceValue.func1"), goleak.IgnoreTopFunction("github.com/jackc/pgx/v5/pgxpool.(*Pool).backgroundHealthCheck"))
}
