package fanout

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

func testQueue(maxBytes, conflateAbove int) *queue {
	q := newQueue(maxBytes, conflateAbove, newMetrics(nil, nil))
	q.open(1, 7)
	return q
}

// drain takes everything, in words.
func drain(q *queue, maxBytes int) (words []string) {
	var p parcel
	for q.take(&p, maxBytes) {
		if p.whole != nil {
			words = append(words, string(p.whole))
		}
		for _, i := range p.entries {
			words = append(words, string(i.bytes))
		}
	}
	return words
}

func TestConflationMovesToTheEndAndOvertakesNothing(t *testing.T) {
	for _, above := range []int{0, 1, 100} {
		q := testQueue(1<<20, above)
		q.push(1, 7, []item{
			{register: "a/1", bytes: []byte("a online")},
			{register: "b/1", bytes: []byte("b online")},
			{kind: kindAdmission, bytes: []byte("revoked")},
		})
		q.push(1, 7, []item{{register: "a/1", bytes: []byte("a after")}})
		want := []string{"b online", "revoked", "a after"}
		if above == 100 {
			want = []string{"a online", "b online", "revoked", "a after"}
		}
		if got := drain(q, 1<<20); !slices.Equal(got, want) {
			t.Errorf("conflating above %d: %q", above, got)
		}
	}
}

// Presence that was said before a change of policy is not replaced by presence
// that was said after it: an edge would show what it had before, which was
// perhaps not for those who may see more now.
func TestPolicyKeepsPresenceBeforeIt(t *testing.T) {
	for _, above := range []int{0, 1, 3, 100} {
		q := testQueue(20, above)
		q.push(1, 7, []item{
			{register: "a/1", bytes: []byte("a secret")},
			{register: "a/1", bytes: []byte("a harmless")},
			{register: "ab/1", bytes: []byte("ab before")},
			{kind: kindAudience, pins: "a/", bytes: []byte("a opens")},
			{register: "a/1", bytes: []byte("a after")},
			{register: "a/1", bytes: []byte("a last")},
			{register: "ab/1", bytes: []byte("ab after")},
		})
		want := []string{"a harmless", "a opens", "a last", "ab after"}
		if above > 1 {
			want = []string{"a secret", "a harmless", "ab before", "a opens", "a after", "a last", "ab after"}
			if above == 3 {
				want = []string{"a harmless", "a opens", "a last", "ab after"}
			}
		}
		if got := drain(q, 1<<20); !slices.Equal(got, want) {
			t.Errorf("conflating above %d: %q", above, got)
		}
		if q.queued != 0 || q.depth != 0 || q.overflowed {
			t.Errorf("conflating above %d: %d bytes and %d items are left, overflowed %v", above, q.queued, q.depth, q.overflowed)
		}
	}
}

// TestQueueKeepsOrder compares with a plain list: every item that is no
// register comes, in order; of a register the last one comes, in its place.
func TestQueueKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := testQueue(1<<30, rapid.IntRange(0, 20).Draw(t, "above"))
		most := rapid.IntRange(1, 200).Draw(t, "bytes")
		var pushed, got []item
		var p parcel
		take := func() {
			got = append(got, p.entries...)
			if p.whole != nil {
				got = append(got, item{bytes: p.whole})
			}
		}
		for n := range rapid.IntRange(1, 400).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "step") == 0 {
				if q.take(&p, most) {
					take()
				}
				continue
			}
			i := item{bytes: fmt.Append(nil, n)}
			switch r := rapid.IntRange(-2, 5).Draw(t, "register"); {
			case r >= 0:
				i.register = fmt.Sprint(r)
			case r == -2:
				i.whole = true
			}
			pushed = append(pushed, i)
			q.push(1, 7, []item{i})
		}
		for q.take(&p, most) {
			take()
		}
		if q.depth != 0 || q.queued != 0 || len(q.ready) != 0 {
			t.Fatalf("depth %d, %d bytes, %d ready after all is taken", q.depth, q.queued, len(q.ready))
		}
		latest := make(map[string]string)
		at := 0
		for _, i := range got {
			for at < len(pushed) && string(pushed[at].bytes) != string(i.bytes) {
				if pushed[at].register == "" {
					t.Fatalf("%s was lost", pushed[at].bytes)
				}
				at++
			}
			if at == len(pushed) {
				t.Fatalf("%s came out of order", i.bytes)
			}
			latest[pushed[at].register] = string(i.bytes)
			at++
		}
		want := make(map[string]string)
		for _, i := range pushed {
			want[i.register] = string(i.bytes)
		}
		for r, bytes := range want {
			if latest[r] != bytes {
				t.Fatalf("register %q ended at %q, not %q", r, latest[r], bytes)
			}
		}
	})
}

func TestQueueBoundsAllButPresence(t *testing.T) {
	q := testQueue(100, 0)
	for n := range 1000 {
		q.push(1, 7, []item{{register: fmt.Sprint(n), bytes: make([]byte, 10)}, {kind: kindAnswer, whole: true, bytes: make([]byte, 10)}})
	}
	select {
	case <-q.overflow:
		t.Fatal("presence overflowed")
	default:
	}
	q.push(1, 7, []item{{kind: kindMessage, bytes: make([]byte, 101)}})
	select {
	case <-q.overflow:
	default:
		t.Fatal("no overflow")
	}
}

func TestLanesOfOldClaimsAreDropped(t *testing.T) {
	q := testQueue(1<<20, 0)
	q.push(1, 7, []item{{bytes: []byte("old")}})
	q.open(1, 8)
	q.push(1, 7, []item{{bytes: []byte("late")}})
	q.push(1, 8, []item{{bytes: []byte("new")}})
	q.open(2, 9)
	q.push(2, 9, []item{{bytes: []byte("closed")}})
	q.close(2, 9)
	q.close(1, 7)
	if got := drain(q, 1<<20); !slices.Equal(got, []string{"new"}) || q.len() != 0 {
		t.Errorf("took %q, %d left", got, q.len())
	}
}

// TestHandWrittenBytes reads what encode.go writes with the generated code.
func TestHandWrittenBytes(t *testing.T) {
	said := &wire.Presence{
		Account: "juliet@x", Resource: "balcony", Version: 12, Available: true, At: 99,
		Presence: &event.Presence{Show: "away", Status: "ü", Priority: -3, Payload: []byte("<x/>")},
	}
	admission := &wire.Admission{Account: "juliet@x", Follower: "romeo@x", Offset: 4, Admitted: true}
	for _, partition := range []int32{0, 63} {
		entries := append(presenceFrame(marshal(said)), frame(&wire.Frame{What: &wire.Frame_Admission{Admission: admission}})...)
		got := new(wire.ToEdge)
		if err := proto.Unmarshal(append(framesHead(nil, partition, 300, len(entries)), entries...), got); err != nil {
			t.Fatal(err)
		}
		want := &wire.ToEdge{What: &wire.ToEdge_Frames{Frames: &wire.Frames{Partition: partition, Claim: 300, Frames: []*wire.Frame{
			{What: &wire.Frame_Presence{Presence: said}}, {What: &wire.Frame_Admission{Admission: admission}},
		}}}}
		if !proto.Equal(got, want) {
			t.Errorf("frames %v", got)
		}
		m := newAnswer(partition, 300, 5, true, 13)
		m.account("juliet@x")
		m.present(marshal(said))
		m.admission(admission)
		if err := proto.Unmarshal(m.toEdge(), got); err != nil {
			t.Fatal(err)
		}
		want = &wire.ToEdge{What: &wire.ToEdge_Answer{Answer: &wire.Answer{
			Partition: partition, Claim: 300, Number: 5, Whole: true, NextOffset: 13,
			Present: []*wire.Presence{said}, Admissions: []*wire.Admission{admission}, Accounts: []string{"juliet@x"},
		}}}
		if !proto.Equal(got, want) {
			t.Errorf("answer %v", got)
		}
	}
}
