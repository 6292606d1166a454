package httpapi

import (
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/topic"
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
				p := &progress{state: running, total: 10, attempt: 1}
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
			p := &progress{state: running, total: 10, attempt: 1, pending: 4}
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

// begun takes a broadcast to six who are online and notes its first batch.
func (d *door) begun(t *testing.T) (id uuid.UUID, p *progress, m *event.MessageAccepted) {
	t.Helper()
	id = d.post(t, map[string]any{"audience": "online", "body": "x"}).ID
	if _, err := d.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m, err := d.accepted(&Key{Domain: "localhost"}, &content{Body: "x"}, id)
	if err != nil {
		t.Fatal(err)
	}
	p = &progress{state: running, total: 6, attempt: 1}
	if err := d.advance(t.Context(), id, p); err != nil {
		t.Fatal(err)
	}
	return id, p, m
}

// Where an append fails the rest goes out under another origin.
func TestABroadcastWhoseAppendsFail(t *testing.T) {
	h := newHouse(t)
	names := h.crowd(6)
	d, other := h.door(), h.door()
	d.key = h.key(Broadcast)
	id, p, m := d.begun(t)
	d.kill()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.batch(ctx, id, p, m) }()
	for attempt := 1; attempt < 3; {
		if err := h.pool.QueryRow(t.Context(), `SELECT attempt FROM run.broadcast`).Scan(&attempt); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it is said to be appended")
	}
	h.die(d)
	other.key = d.key
	other.works(t)
	if status := other.ended(t, id); status.Sent != 6 {
		t.Errorf("%+v", status)
	}
	got := h.admitted()
	for _, name := range names {
		if got[name] != 1 {
			t.Errorf("%s has it %d times", name, got[name])
		}
	}
	for _, r := range h.log() {
		if strings.HasSuffix(r.GetOrigin(), "/1") {
			t.Errorf("%v is of the first attempt", r)
		}
	}
}

// Once an append was refused, whoever goes on appends the rest under another
// origin, though this process was stopped in the same moment: what is before an
// event that was stored would be taken for a copy.
func TestABroadcastIsStoppedWhenAnAppendFails(t *testing.T) {
	h := newHouse(t)
	names := h.crowd(6)
	d, other := h.door(), h.door()
	d.key = h.key(Broadcast)
	id, p, m := d.begun(t)
	ctx, cancel := context.WithCancel(t.Context())
	d.appender = &refusing{appender: d.appender, refused: cancel}
	if err := d.batch(ctx, id, p, m); err == nil {
		t.Error("it is said to be appended")
	}
	h.die(d)
	other.key = d.key
	other.works(t)
	if status := other.ended(t, id); status.Sent != 6 {
		t.Errorf("%+v", status)
	}
	// What was stored before comes again, as a copy by its origin id.
	for _, r := range h.log() {
		if r.GetMessageAccepted().GetMessage().GetOriginId() == "" {
			t.Errorf("%v has no origin id", r)
		}
	}
	got := h.admitted()
	for _, name := range names {
		if got[name] < 1 {
			t.Errorf("%s has it %d times", name, got[name])
		}
	}
}

// refusing refuses the first record, tells refused, and lets the others pass.
type refusing struct {
	appender
	refused func()
	done    bool
}

func (r *refusing) Append(record eventlog.Record, keep bool, done func(topic.Position, error)) {
	if !r.done {
		r.done = true
		done(topic.Position{}, eventlog.ErrRefused)
		defer r.refused()
		return
	}
	r.appender.Append(record, keep, done)
}
