package httpapi

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
)

// A process dies between any two steps; the next one goes on.
func TestABroadcastThatIsBrokenOff(t *testing.T) {
	for _, x := range []struct {
		name   string
		cancel bool
		crash  func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error
		sent   int64
	}{
		{"before anything", false, nil, 10},
		{"with a batch noted", false, func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
			return d.advance(t.Context(), id, p)
		}, 10},
		{"with half a batch appended", false, func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
			if err := d.advance(t.Context(), id, p); err != nil {
				return err
			}
			p.pending = p.sent + 2
			return d.batch(t.Context(), id, p, m)
		}, 10},
		{"with a batch appended", false, func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
			if err := d.advance(t.Context(), id, p); err != nil {
				return err
			}
			return d.batch(t.Context(), id, p, m)
		}, 10},
		{"with a batch appended, and cancelled", true, func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
			if err := d.advance(t.Context(), id, p); err != nil {
				return err
			}
			return d.batch(t.Context(), id, p, m)
		}, 4},
		{"with half a batch appended, and cancelled", true, func(d *door, id uuid.UUID, p *progress, m *event.MessageAccepted) error {
			if err := d.advance(t.Context(), id, p); err != nil {
				return err
			}
			p.pending = p.sent + 2
			return d.batch(t.Context(), id, p, m)
		}, 4},
		{"before anything, and cancelled", true, nil, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHouse(t)
			names := h.crowd(10)
			change := func(o *Options) { o.Limits.Batch = 4 }
			d, other := h.door(change), h.door(change)
			d.key = h.key(Broadcast)
			other.key = d.key
			status := d.post(t, map[string]any{"audience": "online", "body": "x"})
			if status.Total != 10 || status.Sent != 0 || status.State != running {
				t.Fatalf("%+v", status)
			}
			id, err := d.take(t.Context(), nil)
			if err != nil || id != status.ID {
				t.Fatal(id, err)
			}
			if x.crash != nil {
				m, err := d.accepted(&Key{Domain: "localhost"}, &content{Body: "x"}, id)
				if err != nil {
					t.Fatal(err)
				}
				p := &progress{state: running, total: 10}
				if err := x.crash(d, id, p, m); err != nil {
					t.Fatal(err)
				}
			}
			if id, err := other.take(t.Context(), nil); err != nil || id != uuid.Nil {
				t.Fatalf("while its process lives another takes it: %v, %v", id, err)
			}
			if x.cancel {
				if got := other.do(t, "DELETE", "/v1/broadcast/"+id.String(), "", false); got.status != 202 || read[broadcastStatus](t, got).State != cancelling {
					t.Errorf("%d %s", got.status, got.body)
				}
			}
			h.die(d)
			other.works(t)
			status = other.ended(t, id)
			want := done
			if x.cancel {
				want = cancelled
			}
			if status.State != want || status.Sent != x.sent || status.Total != 10 {
				t.Errorf("%+v", status)
			}
			got := h.admitted()
			for i, name := range names {
				if n := got[name]; n != btoi(int64(i) < x.sent) {
					t.Errorf("%s has it %d times", name, n)
				}
			}
			// The dead one comes to life, at last.
			p := &progress{state: running, total: 10, pending: 4}
			if err := d.advance(t.Context(), id, p); err != errTaken {
				t.Errorf("it goes on: %v", err)
			}
			if got := other.do(t, "DELETE", "/v1/broadcast/"+id.String(), "", false); got.status != 200 || read[broadcastStatus](t, got).State != want {
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Kafka refuses a batch of one partition, and takes what comes. Nothing behind
// the refused is stored, so whoever goes on appends the rest under the same
// origin, and each has it once, though messages that are not stored have
// nothing else to be known by.
func TestABroadcastWhoseAppendsFail(t *testing.T) {
	for _, x := range []struct {
		name string
		dies bool // it is gone before it could note anything
	}{{"and that goes on", false}, {"and whose process dies", true}} {
		t.Run(x.name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			h := newHouseOn(t, cluster.ListenAddrs())
			names := h.crowd(40)
			// Some events of a partition in a batch, so that there are some behind the refused.
			small := func(o *eventlog.Options) { o.MaxBatchBytes = 600 }
			d, other := h.doorWith(small), h.door()
			d.key = h.key(Broadcast)
			other.key = d.key
			id := d.post(t, map[string]any{"audience": "online", "body": "x", "hints": []string{"no-store"}}).ID
			if _, err := d.take(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			refused := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{1}, Err: kerr.TopicAuthorizationFailed, Count: 1})
			if x.dies {
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- d.run(ctx, id) }()
				if err := refused.Wait(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				cancel()
				<-ended
				d.kill()
				h.die(d)
				other.works(t)
			} else {
				d.works(t)
			}
			if status := other.ended(t, id); status.Sent != 40 || status.State != done {
				t.Errorf("%+v", status)
			}
			if refused.Hits() != 1 {
				t.Errorf("%d batches were refused", refused.Hits())
			}
			got := h.admitted()
			for _, name := range names {
				if got[name] != 1 {
					t.Errorf("%s has it %d times", name, got[name])
				}
			}
		})
	}
}
