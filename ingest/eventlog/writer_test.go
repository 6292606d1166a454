package eventlog

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

func available(status string) *event.Event {
	return &event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
		Resource: "balcony", Presence: &event.Presence{Status: status},
	}}}
}

// The sequence grows within each partition in the log's order, whoever writes.
func TestWriterNumbersInOrder(t *testing.T) {
	const partitions, writers, each = 4, 8, 200
	c := fake(t, 2, partitions)
	w := NewWriter(appender(t, Options{Brokers: c.ListenAddrs()}), "edge/a/1", partitions)
	var owned sync.WaitGroup
	answers := newCollector()
	for i := range writers {
		owned.Go(func() {
			for n := range each {
				account := jid.MustBare(fmt.Sprintf("user%d@example.com", (i+n)%7))
				w.Append(account, available(number(n)), answers.done)
			}
		})
	}
	owned.Wait()
	answers.wait(t, writers*each)
	seen := make(map[uint64]bool)
	for p, records := range readerOf(t, c.ListenAddrs(), everyFrom0(partitions)).wait(writers * each) {
		last := uint64(0)
		for _, f := range records {
			e, err := event.Decode(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			if e.Sequence <= last || seen[e.Sequence] || e.Origin != "edge/a/1" || e.At == 0 {
				t.Fatalf("%d/%d after sequence %d: %v", p, f.Offset, last, e)
			}
			last, seen[e.Sequence] = e.Sequence, true
			if id := event.ID(e); id.Version() != 7 {
				t.Fatalf("id %s is not a UUIDv7", id)
			}
			if kind := string(f.Header(topic.HeaderKind)); kind != "presence_available" {
				t.Fatalf("header kind is %q", kind)
			}
			if topic.Partition(jid.MustBare(string(f.Key)), partitions) != p {
				t.Fatalf("%s is in partition %d", f.Key, p)
			}
		}
	}
}

func TestWriterWaits(t *testing.T) {
	c := fake(t, 1, 4)
	w := NewWriter(appender(t, Options{Brokers: c.ListenAddrs()}), "edge/a/1", 4)
	juliet := jid.MustBare("juliet@example.com")
	e := available("")
	at, err := w.AppendWait(testContext(t), juliet, e)
	if want := (topic.Position{Topic: topic.Account, Partition: topic.Partition(juliet, 4)}); err != nil || at != want {
		t.Errorf("got %s, %v, want %s", at, err, want)
	}
	if at, err = w.AppendWait(testContext(t), juliet, available("")); err != nil || at.Offset != 1 {
		t.Errorf("got %s, %v", at, err)
	}
	over, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.AppendWait(over, juliet, &event.Event{}); err == nil {
		t.Error("an event of no kind was appended")
	}
	if err := w.AppendEdgeLost(testContext(t), "a", 1); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, records := range readerOf(t, c.ListenAddrs(), everyFrom0(4)).wait(6) {
		for _, f := range records {
			e, err := event.Decode(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			if l := e.GetEdgeLost(); l != nil {
				lost++
				if l.Edge != "a" || l.Epoch != 1 || e.Origin != "" || f.Key != nil {
					t.Errorf("got %v", e)
				}
			}
		}
	}
	if lost != 4 {
		t.Errorf("%d partitions were told of the lost edge, want 4", lost)
	}
}

func TestKept(t *testing.T) {
	for _, v := range []struct {
		e    *event.Event
		kept bool
	}{
		{&event.Event{Kind: &event.Event_PresenceUnavailable{}}, true},
		{&event.Event{Kind: &event.Event_ResourceClosed{}}, true},
		{&event.Event{Kind: &event.Event_Delivered{}}, true},
		{&event.Event{Kind: &event.Event_EdgeLost{}}, true},
		{&event.Event{Kind: &event.Event_MessageAccepted{}}, false},
		{&event.Event{Kind: &event.Event_PresenceAvailable{}}, false},
	} {
		if k := event.KindOf(v.e); kept(k) != v.kept {
			t.Errorf("%s kept: %t, want %t", k, !v.kept, v.kept)
		}
	}
}
