package projector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/projector"
	"github.com/rollcall/rollcall/projector/logtest"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// deposit puts a message into the log that came so long ago.
func (b *bench) deposit(to jid.Bare, age time.Duration, origin string) {
	id := uuid.New()
	b.sequence++
	value, err := event.Marshal(&event.Event{Id: id[:], Origin: "edge/sender/1", Sequence: b.sequence, At: time.Now().Add(-age).UnixMicro(), Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: "sender@localhost/s", MaxWaiting: 3,
		Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Body: "b", Payload: []byte("<body>b</body>"), Storable: true, OriginId: origin},
	}}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.log.Put(projector.Record{Topic: topic.Account, Partition: topic.Partition(to, partitions), Key: []byte(to.String()), Value: value})
}

// counter gives the value of a counter with those labels.
func counter(t *testing.T, r *prometheus.Registry, name string, labels ...string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if f.GetName() == name && fmt.Sprint(has) == fmt.Sprint(labels) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// A message that nobody took for too long leaves the inbox, by an event that
// every replay folds the same; what is younger stays. What does not fit, and
// copies, are told to the archive. All of it is counted.
func TestMessagesExpire(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 1, 8)
	w.Create()
	for _, a := range w.Accounts() {
		b.deposit(a, 2*time.Hour, "o1")
		b.deposit(a, time.Minute, "")
		b.deposit(a, 2*time.Hour, "o1") // a copy
		b.deposit(a, time.Minute, "")
		b.deposit(a, time.Minute, "") // too many
	}
	registry := prometheus.NewRegistry()
	o := b.options("p1")
	o.MessageExpiry, o.Registerer = time.Hour, registry
	stop, _ := b.start(o.ExpiringEvery(5 * time.Millisecond))
	b.group.Give("p1", all()...)
	waiting := func() (n, old int) {
		err := b.pool.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE at < now() - interval '1 hour') FROM views.inbox").Scan(&n, &old)
		if err != nil {
			t.Fatal(err)
		}
		return n, old
	}
	b.until("old messages are gone", func() bool { n, old := waiting(); return n == 16 && old == 0 })
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.verify()
	for _, c := range []struct {
		name, reason string
		want         float64
	}{
		{"rollcall_projector_messages_withheld_total", "copy", 8},
		{"rollcall_projector_messages_withheld_total", "full", 8},
		{"rollcall_projector_messages_withheld_total", "refused", 0},
	} {
		if got := counter(t, registry, c.name, c.reason); got != c.want {
			t.Errorf("%s %s: %v, want %v", c.name, c.reason, got, c.want)
		}
	}
	if got := counter(t, registry, "rollcall_projector_messages_expired_total"); got < 8 {
		t.Errorf("%v expired", got)
	}
}
