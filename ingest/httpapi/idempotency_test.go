package httpapi

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
)

func mustV7() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func TestARequestThatComesAgain(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d, other := h.door(), h.door()
	d.key = h.key(SendMessages)
	other.key = d.key
	first := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", `"k 1"`)
	if first.status != 200 || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	for _, key := range []string{`"k 1"`, "k 1"} {
		again := other.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", key)
		if again.status != 200 || string(again.body) != string(first.body) || again.header.Get("Idempotency-Replayed") != "true" ||
			again.header.Get("Content-Type") != "application/json" {
			t.Errorf("%d %s, %v", again.status, again.body, again.header)
		}
	}
	got := d.do(t, "POST", "/v1/messages", `{"to":"juliet@localhost","body":"y"}`, false, "Idempotency-Key", "k 1")
	if got.status != 422 || got.problem() != IdempotencyReused {
		t.Errorf("another body: %d %s", got.status, got.body)
	}
	if n := len(h.log()); n != 1 {
		t.Errorf("%d messages are in the log", n)
	}
	d.key = h.key(SendMessages, Broadcast)
	if got := d.do(t, "POST", "/v1/broadcast", `{"audience":"online","body":"x"}`, false, "Idempotency-Key", "b"); got.status != 202 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "b"); got.status != 422 || got.problem() != IdempotencyReused {
		t.Errorf("the same for another path: %d %s", got.status, got.body)
	}
	// Another key's word is another.
	d.key = h.key(SendMessages)
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k 1"); got.status != 200 || got.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %s", got.status, got.body)
	}
	// After a day it may be used again.
	h.exec(`UPDATE run.idempotency SET created_at = created_at - interval '25 hours'`)
	if err := d.forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k 1"); got.status != 200 || got.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestARefusedRequestLeavesItsKeyFree(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door()
	d.key = h.key(SendMessages)
	if got := d.do(t, "POST", "/v1/messages", `{"to":"juliet@localhost"}`, false, "Idempotency-Key", "k"); got.problem() != EmptyMessage {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k"); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// A process dies between any two steps of a request; the next one finds what it
// did.
func TestARequestThatWasBrokenOff(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost", "romeo@localhost", "nurse@localhost")
	to := body(map[string]any{"to": []string{"juliet@localhost", "romeo@localhost", "nurse@localhost"}, "body": "x"})
	d, other := h.door(), h.door()
	d.key = h.key(SendMessages)
	other.key = d.key
	// crash leaves a request as a process does that dies when it has appended to
	// these.
	crash := func(key string, those ...string) {
		t.Helper()
		var request messageRequest
		if err := decode([]byte(to), &request); err != nil {
			t.Fatal(err)
		}
		r, _ := http.NewRequest("POST", "/v1/messages", nil)
		c := &call{body: []byte(to)}
		held, err := d.claim(t.Context(), keyID(d.key), key, hashOf(r, c))
		if err != nil || held.again || held.status != 0 {
			t.Fatal(held, err)
		}
		k := &Key{Domain: "localhost"}
		results, resolved, err := d.resolve(t.Context(), k, request.To, held.request)
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := d.accepted(k, &request.content, held.request)
		if err != nil {
			t.Fatal(err)
		}
		var some []recipient
		for _, r := range resolved {
			for _, name := range those {
				if r.to.String() == name {
					some = append(some, r)
				}
			}
		}
		d.append(some, accepted, results)
	}
	crash("after the claim")
	crash("after some", "romeo@localhost")
	crash("before the answer", "juliet@localhost", "romeo@localhost", "nurse@localhost")

	// While its process may live, nobody else does it.
	if got := other.do(t, "POST", "/v1/messages", to, false, "Idempotency-Key", "after some"); got.status != 409 || got.problem() != IdempotencyConflict {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := other.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "after some"); got.problem() != IdempotencyReused {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.die(d)
	before := h.log()
	if len(before) != 4 {
		t.Fatalf("%d messages are in the log", len(before))
	}
	answers := make(map[string]string)
	for _, key := range []string{"after the claim", "after some", "before the answer"} {
		got := other.do(t, "POST", "/v1/messages", to, false, "Idempotency-Key", key)
		if got.status != 200 || read[messageAnswer](t, got).Accepted != 3 {
			t.Errorf("%s: %d %s", key, got.status, got.body)
		}
		for _, r := range read[messageAnswer](t, got).Results {
			answers[r.Message] = r.To + " " + r.ID
		}
	}
	log := h.log()
	if len(log) != 9 {
		t.Errorf("%d messages are in the log", len(log))
	}
	for _, r := range log {
		want := r.account + " " + itoa(r.offset)
		if id := uuid.UUID(r.GetId()).String(); answers[id] != want {
			t.Errorf("of %s it was answered %q, want %q", id, answers[id], want)
		}
	}
}

// A try that hangs in a process that lives is given up after a while.
func TestARequestThatHangs(t *testing.T) {
	h := newHouse(t)
	h.accounts("juliet@localhost")
	d := h.door()
	d.key = h.key(SendMessages)
	r, _ := http.NewRequest("POST", "/v1/messages", nil)
	if _, err := d.claim(t.Context(), keyID(d.key), "k", hashOf(r, &call{body: []byte(sends)})); err != nil {
		t.Fatal(err)
	}
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k"); got.status != 409 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.exec(`UPDATE run.idempotency SET tried_at = tried_at - interval '2 minutes'`)
	if got := d.do(t, "POST", "/v1/messages", sends, false, "Idempotency-Key", "k"); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
}
