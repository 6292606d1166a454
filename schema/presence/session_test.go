package presence

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the order in which the events come, and however often, Upto is the
// last stanza up to which all that were sent have left their event.
func TestHandled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 60), 0, 40, rapid.ID).Draw(t, "stanzas")
		slices.Sort(sent)
		before := func(i int) uint32 {
			if i == 0 {
				return 0
			}
			return sent[i-1]
		}
		var h Handled
		seen := make(map[int]bool)
		for range rapid.IntRange(0, 100).Draw(t, "events") {
			if len(sent) == 0 {
				break
			}
			i := rapid.IntRange(0, len(sent)-1).Draw(t, "event")
			seen[i] = true
			h = h.Note(before(i), sent[i])
			want := uint32(0)
			for i, n := range sent {
				if !seen[i] {
					break
				}
				want = n
			}
			if h.Upto != int64(want) {
				t.Fatalf("upto %d, want %d: %v of %v", h.Upto, want, seen, sent)
			}
		}
		if len(seen) == len(sent) && h.Ahead != "" {
			t.Fatalf("all is there, but beyond a gap is %q", h.Ahead)
		}
	})
}

func TestHandledIsBounded(t *testing.T) {
	var h Handled
	for n := uint32(2); n < 2+maxAhead; n++ {
		h = h.Note(n-1, n)
	}
	if h.Upto != 0 || len(h.Ahead) != maxAhead*link {
		t.Fatal(h.Upto, len(h.Ahead))
	}
	if all := h.Note(0, 1); all.Upto != 1+maxAhead || all.Ahead != "" {
		t.Error(all)
	}
	if h = h.Note(1+maxAhead, 2+maxAhead); h != (Handled{Upto: Unknown}) {
		t.Error(h)
	}
	if h = h.Note(0, 1); h.Upto != Unknown {
		t.Error("a gap that was forgotten is closed")
	}
}

func TestInherit(t *testing.T) {
	was := Resource{Name: "r", Available: true, Content: Content{Show: "away", Payload: []byte("<x/>"), ID: "1"}, Version: 7, Bound: 5}
	r := Resource{Name: "r", Version: 9, Bound: 9}
	if got := r.Inherit(Resource{Name: "r", Version: 7}); got.Inherited || got.Version != 9 {
		t.Errorf("nothing to inherit: %+v", got)
	}
	r = r.Inherit(was)
	if !r.Available || !r.Inherited || r.Takes() || r.Version != 7 || r.Bound != 9 || r.Show != "away" {
		t.Errorf("%+v", r)
	}
	if same, ok := r.Confirm(Content{Show: "away", Payload: []byte("<x/>"), ID: "2"}); !ok || same.Inherited || !same.Takes() || same.Version != 7 {
		t.Errorf("the same: %v %+v", ok, same)
	}
	for _, c := range []Content{{}, {Show: "away"}, {Show: "away", Payload: []byte("<y/>")}, {Show: "away", Payload: []byte("<x/>"), Priority: 1}} {
		if _, ok := r.Confirm(c); ok {
			t.Errorf("%+v is the same", c)
		}
	}
	if _, ok := was.Confirm(was.Content); ok {
		t.Error("who has not inherited says something")
	}
}
