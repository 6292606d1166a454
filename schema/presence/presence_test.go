package presence

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestLife(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	r := Bind("balcony", uuid.UUID{1}, "e1", 3, 10, at(1))
	if r.Available || r.Takes() || r.Version != 10 || r.Bound != 10 || r.Since != at(1) {
		t.Errorf("2.2 connected: %+v", r)
	}
	r = r.Broadcast(Content{Show: "away", Priority: 5}, 11, at(2))
	if !r.Available || !r.Takes() || r.Show != "away" || r.Version != 11 || r.Since != at(2) || r.Bound != 10 {
		t.Errorf("4.2 initial presence: %+v", r)
	}
	r = r.Broadcast(Content{Priority: -1}, 12, at(3))
	if r.Show != "" || r.Version != 12 || r.Since != at(2) || r.Takes() {
		t.Errorf("4.4 subsequent presence: %+v", r)
	}
	r = r.Withdraw(Content{Show: "away", Priority: 7, Status: "gone home"}, 13, at(4))
	if r.Available || r.Show != "" || r.Priority != 0 || r.Status != "gone home" || r.Since != at(4) || r.Binding != (uuid.UUID{1}) {
		t.Errorf("4.5.1 unavailable: %+v", r)
	}
	if again := r.Withdraw(Content{}, 14, at(5)); again.Since != at(4) {
		t.Errorf("unavailable twice: %+v", again)
	}
	if r = r.Broadcast(Content{}, 15, at(6)); r.Since != at(6) {
		t.Errorf("4.5.2 initial again: %+v", r)
	}
}

func TestBest(t *testing.T) {
	all := map[string]Resource{
		"connected": {Name: "connected", Version: 99},
		"low":       {Name: "low", Available: true, Content: Content{Priority: -5}},
		"high-dnd":  {Name: "high-dnd", Available: true, Content: Content{Priority: 5, Show: "dnd"}},
		"high-xa":   {Name: "high-xa", Available: true, Content: Content{Priority: 5, Show: "xa"}},
		"high-away": {Name: "high-away", Available: true, Content: Content{Priority: 5, Show: "away"}},
		"high-old":  {Name: "high-old", Available: true, Content: Content{Priority: 5}, Version: 1},
		"high-new":  {Name: "high-new", Available: true, Content: Content{Priority: 5}, Version: 2},
		"high-chat": {Name: "high-chat", Available: true, Content: Content{Priority: 5, Show: "chat"}},
	}
	var names []string
	for _, r := range Sorted(all) {
		names = append(names, r.Name)
	}
	want := []string{"high-chat", "high-new", "high-old", "high-away", "high-xa", "high-dnd", "low", "connected"}
	if !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	if best, ok := Best(all); !ok || best.Name != "high-chat" {
		t.Errorf("best is %+v", best)
	}
	if _, ok := Best(map[string]Resource{"connected": all["connected"]}); ok {
		t.Error("a connected resource is the most available")
	}
}

func TestSyntax(t *testing.T) {
	for show, ok := range map[string]bool{"": true, "away": true, "chat": true, "dnd": true, "xa": true, "online": false, "Away": false} {
		if ValidShow(show) != ok {
			t.Errorf("4.7.2.1 show %q: %v", show, !ok)
		}
	}
	for _, c := range []struct {
		text string
		want int8
		ok   bool
	}{{"", 0, true}, {"1", 1, true}, {"+127", 127, true}, {"-128", -128, true}, {" 5\n", 5, true}, {"128", 0, false}, {"-129", 0, false}, {"1.5", 0, false}, {"x", 0, false}} {
		if got, err := ParsePriority(c.text); got != c.want || (err == nil) != c.ok {
			t.Errorf("4.7.2.3 priority %q: %d %v", c.text, got, err)
		}
	}
}

// Directed agrees with a set of pairs.
func TestDirected(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d Directed
		model := make(map[[2]string]bool)
		name := rapid.SampledFrom([]string{"a", "b", "c"})
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			r, target := name.Draw(t, "resource"), name.Draw(t, "target")
			pair := [2]string{r, target}
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				if d.Add(r, target) == model[pair] {
					t.Fatal("Add")
				}
				model[pair] = true
			case 2, 3:
				if d.Remove(r, target) != model[pair] {
					t.Fatal("Remove")
				}
				delete(model, pair)
			default:
				var want []string
				for _, target := range []string{"a", "b", "c"} {
					if model[[2]string{r, target}] {
						want = append(want, target)
						delete(model, [2]string{r, target})
					}
				}
				if got := d.Take(r); !slices.Equal(got, want) {
					t.Fatalf("Take: %v, want %v", got, want)
				}
			}
			n := 0
			for _, targets := range d {
				if len(targets) == 0 {
					t.Fatal("an empty set is kept")
				}
				n += len(targets)
			}
			if n != len(model) {
				t.Fatalf("%d targets, want %d", n, len(model))
			}
		}
	})
}
