package fanout_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/fanout"
	"github.com/rollcall/rollcall/fanout/lease"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// eventTail is a Tail of the event log's own.
type eventTail struct{ *eventlog.Tail }

func (l eventTail) Run(ctx context.Context, handle func(context.Context, fanout.Batch) error) error {
	return l.Tail.Run(ctx, func(ctx context.Context, b eventlog.Batch) error {
		out := fanout.Batch{Partition: b.Partition, HighWater: b.HighWater, Records: make([]fanout.Fetched, len(b.Records))}
		for i := range b.Records {
			r := &b.Records[i]
			out.Records[i] = fanout.Fetched{Offset: r.Offset, Key: r.Key, Value: r.Value}
		}
		return handle(ctx, out)
	})
}

// kafka gives the parts of a worker that read a real log.
func kafka(t *testing.T, brokers []string, id string) func(*fanout.Options) {
	t.Helper()
	return func(o *fanout.Options) {
		account, err := eventlog.NewTail(eventlog.TailOptions{Brokers: brokers, Topic: topic.Account, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		outbox, err := eventlog.NewTail(eventlog.TailOptions{Brokers: brokers, Topic: topic.Outbox, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		group, err := eventlog.NewMember(eventlog.MemberOptions{
			Brokers: brokers, Group: "rollcall-fanout", ID: id, Topics: []string{topic.Account, topic.Outbox},
			SessionTimeout: 600 * time.Millisecond, Heartbeat: 100 * time.Millisecond, Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Account, o.Outbox, o.Offsets, o.Member = eventTail{account}, eventTail{outbox}, account, group
	}
}

// start starts a worker whose group says what it holds.
func (w *world) start(id string, change func(*fanout.Options)) *worker {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	k := &worker{id: id, address: l.Addr().String()}
	w.run(k, l, change)
	return k
}

// TestOverTheEventLog runs two workers of one group on the event log's client:
// partitions move to the one that is left, and presence goes on.
func TestOverTheEventLog(t *testing.T) {
	w := newWorld(t)
	brokers := localtest.Kafka(t)
	if err := eventlog.EnsureTopics(t.Context(), brokers, eventlog.TopicsOptions{Partitions: parts}); err != nil {
		t.Fatal(err)
	}
	appender, err := eventlog.New(eventlog.Options{Brokers: brokers, Topics: []string{topic.Account, topic.Outbox}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = appender.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	writer := eventlog.NewWriter(appender, "edge/e/1", parts)
	var _ lease.Log = writer

	e := w.attach("e", 1)
	first := w.start("w1", kafka(t, brokers, "w1"))
	second := w.start("w2", kafka(t, brokers, "w2"))
	names := []string{"a@x", "b@x", "c@x", "d@x", "e@x", "f@x"}
	bindings := make(map[string][]byte)
	write := func(name string, e *event.Event) {
		t.Helper()
		e.Binding = bindings[name]
		if _, err := writer.AppendWait(t.Context(), jid.BareFromCanonical(name), e); err != nil {
			t.Fatal(err)
		}
	}
	said := func(status string) {
		t.Helper()
		for _, name := range names {
			write(name, &event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
				Resource: "r", Presence: &event.Presence{Status: status},
			}}})
		}
	}
	for _, name := range names {
		ev := &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r", Edge: "e", Epoch: 1}}}
		write(name, ev)
		bindings[name] = ev.GetId()
		e.follow(name, name)
	}
	said("two workers")
	for _, name := range names {
		e.hears("presence " + name + "/r true two workers")
	}
	value, err := event.MarshalOutput(&event.Output{Origin: "p/9", Kind: &event.Output_Outcome{Outcome: &event.Outcome{Id: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	n := partitionOf(names[0])
	appender.Append(eventlog.Record{Topic: topic.Outbox, Partition: n, Key: []byte(names[0]), Value: value}, true, func(topic.Position, error) {})
	eventually(t, "an output", e.look(func() bool { return len(e.outputs) == 1 }))
	group, err := eventlog.NewMember(eventlog.MemberOptions{Brokers: brokers, Group: "rollcall-fanout", ID: "reader", Topics: []string{topic.Account, topic.Outbox}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	eventually(t, "the outbox is committed", func() bool {
		at, err := group.Committed(t.Context(), topic.Outbox)
		return err == nil && at[n] == 1
	})
	first.stop()
	said("one is left")
	for _, name := range names {
		full := name + "/r"
		eventually(t, "presence of "+full, e.look(func() bool { return e.registers[full].GetPresence().GetStatus() == "one is left" }))
	}
	if err := writer.AppendEdgeLost(t.Context(), "e", 1); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		full := name + "/r"
		eventually(t, full+" offline", e.look(func() bool { return !e.registers[full].GetAvailable() }))
	}
	second.stop()
}
