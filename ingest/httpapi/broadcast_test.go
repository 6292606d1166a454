package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// online makes accounts that have an available resource.
func (h *house) online(names ...string) {
	h.t.Helper()
	h.accounts(names...)
	for _, name := range names {
		h.exec(`INSERT INTO views.resource (account, resource, partition, binding, edge, epoch, available, show, status, priority, payload, lang, stanza_id, version, bound_offset, since)
VALUES ($1, 'desk', 0, gen_random_uuid(), 'e', 1, true, '', '', 0, '', '', '', 2, 1, now()), ($1, 'phone', 0, gen_random_uuid(), 'e', 1, true, '', '', 0, '', '', '', 2, 1, now())`, name)
	}
}

// contact puts a contact into a roster.
func (h *house) contact(account, contact string, removed bool, groups ...string) {
	h.t.Helper()
	if groups == nil {
		groups = []string{}
	}
	h.exec(`INSERT INTO views.roster_item VALUES ($1, $2, '', $3, 3, 1, $4, NULL)`, account, contact, groups, removed)
}

// admitted gives who has a message as readers of the log see it, each as often
// as they count it.
func (h *house) admitted() map[string]int {
	h.t.Helper()
	got := make(map[string]int)
	marks := make(map[int32]*account.Marks)
	for _, r := range h.log() {
		p := topic.Partition(jid.MustBare(r.account), partitions)
		if marks[p] == nil {
			marks[p] = new(account.Marks)
		}
		if marks[p].Admit(r.Event) {
			got[r.account]++
		}
	}
	return got
}

// works has a door work until the test ends, or stop is called.
func (d *door) works(t testing.TB) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.work(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// ended waits for a broadcast's end.
func (d *door) ended(t testing.TB, id uuid.UUID) broadcastStatus {
	t.Helper()
	for {
		status := read[broadcastStatus](t, d.do(t, "GET", "/v1/broadcast/"+id.String(), "", false))
		if status.Ended != nil {
			return status
		}
		if t.Context().Err() != nil {
			t.Fatal(status)
		}
	}
}

// post begins a broadcast.
func (d *door) post(t testing.TB, members map[string]any) broadcastStatus {
	t.Helper()
	got := d.do(t, "POST", "/v1/broadcast", body(members), false)
	if got.status != 202 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	status := read[broadcastStatus](t, got)
	if got.header.Get("Location") != "/v1/broadcast/"+status.ID.String() {
		t.Errorf("Location %q", got.header.Get("Location"))
	}
	return status
}

func TestWhomABroadcastIsFor(t *testing.T) {
	h := newHouse(t)
	h.online("juliet@localhost", "nurse@localhost", "paris@example.com")
	h.accounts("romeo@localhost", "tybalt@localhost", "gone@localhost")
	h.exec(`UPDATE auth.account SET live = false WHERE account = 'gone@localhost'`)
	h.contact("romeo@localhost", "juliet@localhost", false, "Friends", "Verona")
	h.contact("romeo@localhost", "tybalt@localhost", false)
	h.contact("romeo@localhost", "nurse@localhost", true, "Friends")
	h.contact("romeo@localhost", "paris@example.com", false, "Friends")
	h.contact("romeo@localhost", "nobody@localhost", false, "Friends")
	d := h.door(func(o *Options) { o.Limits.Batch, o.Limits.Rate, o.Limits.Burst = 2, 1e6, 1e6 })
	d.works(t)
	d.key = h.key(Broadcast)
	for _, x := range []struct {
		members map[string]any
		want    string
	}{
		{map[string]any{"audience": "online"}, "juliet nurse"},
		{map[string]any{"audience": "all"}, "juliet nurse romeo tybalt"},
		{map[string]any{"audience": "all", "roster_of": "Romeo@localhost"}, "juliet tybalt"},
		{map[string]any{"audience": "online", "roster_of": "romeo@localhost"}, "juliet"},
		{map[string]any{"audience": "all", "roster_of": "romeo@localhost", "group": "Friends"}, "juliet"},
		{map[string]any{"audience": "all", "roster_of": "romeo@localhost", "group": "friends"}, ""},
		{map[string]any{"audience": "all", "roster_of": "juliet@localhost"}, ""},
	} {
		x.members["body"] = "x"
		status := d.ended(t, d.post(t, x.members).ID)
		var got []string
		for _, r := range h.log() {
			if r.GetOrigin() == "broadcast/"+status.ID.String() {
				got = append(got, strings.TrimSuffix(r.account, "@localhost"))
				if m := r.GetMessageAccepted(); m.GetFrom() != "localhost" || m.GetMessage().GetBody() != "x" || m.GetMaxWaiting() != 1000 || m.GetMessage().GetOriginId() != status.ID.String() {
					t.Errorf("%v", r)
				}
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != x.want || status.State != done || status.Sent != int64(len(got)) || status.Total != status.Sent {
			t.Errorf("%v: %q, %+v", x.members, got, status)
		}
	}
	var left int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.broadcast_recipient`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d recipients are still noted, %v", left, err)
	}
	h.exec(`UPDATE run.broadcast SET ended_at = ended_at - interval '31 days'`)
	if err := d.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.broadcast`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d broadcasts are still noted, %v", left, err)
	}
}

// crowd makes n accounts that are online.
func (h *house) crowd(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("u%03d@localhost", i))
	}
	h.online(names...)
	return names
}

func TestABroadcastRequestThatComesAgain(t *testing.T) {
	h := newHouse(t)
	h.crowd(3)
	d, other := h.door(), h.door()
	d.key = h.key(Broadcast)
	other.key = d.key
	const sends = `{"audience":"online","body":"x"}`
	first := d.do(t, "POST", "/v1/broadcast", sends, false, "Idempotency-Key", "k")
	again := other.do(t, "POST", "/v1/broadcast", sends, false, "Idempotency-Key", "k")
	if first.status != 202 || again.status != 202 || string(first.body) != string(again.body) || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("%d %s, %d %s", first.status, first.body, again.status, again.body)
	}
	if got := other.do(t, "POST", "/v1/broadcast", `{"audience":"online","body":"y"}`, false, "Idempotency-Key", "k"); got.status != 422 || got.problem() != IdempotencyReused {
		t.Errorf("another body: %d %s", got.status, got.body)
	}
	// The process died before it kept its answer.
	h.exec(`UPDATE run.idempotency SET status = NULL, answer = NULL`)
	if got := other.do(t, "POST", "/v1/broadcast", sends, false, "Idempotency-Key", "k"); got.status != 409 || got.problem() != IdempotencyConflict {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.die(d)
	again = other.do(t, "POST", "/v1/broadcast", sends, false, "Idempotency-Key", "k")
	if again.status != 202 || read[broadcastStatus](t, again).ID != read[broadcastStatus](t, first).ID {
		t.Errorf("%d %s", again.status, again.body)
	}
	var n int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.broadcast`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d broadcasts, %v", n, err)
	}
}

func TestBroadcastsThatCannotBe(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door()
	elsewhere := h.keyOf(Key{Domain: "example.com", Scopes: []string{Broadcast}})
	d.key = h.key(Broadcast)
	with := func(name string, value any) string {
		return body(map[string]any{"audience": "all", "body": "x", name: value})
	}
	for _, x := range []struct {
		name, body string
		status     int
		code       Code
	}{
		{"no JSON", "{", 400, MalformedJSON},
		{"an unknown field", with("to", "juliet@localhost"), 400, UnknownField},
		{"to nobody", `{"body":"x"}`, 400, InvalidField},
		{"an unknown audience", with("audience", "most"), 400, InvalidField},
		{"a group of nobody's", with("group", "Friends"), 400, InvalidField},
		{"a group that is none", with("group", "\x00"), 400, InvalidField},
		{"the roster of no JID", with("roster_of", "@"), 422, BadJID},
		{"the roster of nobody", with("roster_of", "nobody@localhost"), 422, UnknownAccount},
		{"a roster elsewhere", with("roster_of", "juliet@example.com"), 403, DomainNotAllowed},
		{"another's address", with("from", "juliet@localhost"), 403, SenderNotAllowed},
		{"nothing to say", `{"audience":"all"}`, 422, EmptyMessage},
		{"a payload that is none", with("payload", "<x>"), 422, BadPayload},
		{"a large one", with("body", strings.Repeat("x", 1<<20)), 413, BodyTooLarge},
	} {
		if got := d.do(t, "POST", "/v1/broadcast", x.body, true); got.status != x.status || got.problem() != x.code {
			t.Errorf("%s: %d %s", x.name, got.status, got.body)
		}
	}
	for _, method := range []string{"GET", "DELETE"} {
		if got := d.do(t, method, "/v1/broadcast/7", "", true); got.status != 400 || got.problem() != InvalidParameter {
			t.Errorf("%d %s", got.status, got.body)
		}
		if got := d.do(t, method, "/v1/broadcast/"+mustV7().String(), "", false); got.status != 404 || got.problem() != NotFound {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	id := d.post(t, map[string]any{"audience": "all", "body": "x"}).ID.String()
	d.key = elsewhere
	if got := d.do(t, "POST", "/v1/broadcast", with("audience", "all"), false); got.problem() != DomainNotAllowed {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if got := d.do(t, method, "/v1/broadcast/"+id, "", false); got.status != 404 {
			t.Errorf("another domain's key: %d %s", got.status, got.body)
		}
	}
	d.key = h.key(SendMessages)
	if got := d.do(t, "DELETE", "/v1/broadcast/"+id, "", false); got.status != 403 || got.problem() != MissingScope {
		t.Errorf("%d %s", got.status, got.body)
	}
	var n int
	if err := h.pool.QueryRow(t.Context(), `SELECT count(*) FROM run.broadcast WHERE state = 'running'`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d broadcasts, %v", n, err)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{100, 2000} {
		b.Run(fmt.Sprintf("online=%d", n), func(b *testing.B) {
			h := newHouse(b)
			h.crowd(n)
			d := h.door(func(o *Options) { o.Limits.Rate, o.Limits.Burst = 1e9, 1e9 })
			d.works(b)
			d.key = h.key(Broadcast)
			for b.Loop() {
				if status := d.ended(b, d.post(b, map[string]any{"audience": "online", "body": "x"}).ID); status.Sent != int64(n) {
					b.Fatal(status)
				}
			}
		})
	}
}
