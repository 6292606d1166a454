package roster

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/subscription"
	"pgregory.net/rapid"
)

var (
	juliet = jid.MustBare("juliet@example.com")
	nurse  = jid.MustBare("nurse@example.com")
)

func TestCheck(t *testing.T) {
	limits := Limits{Name: 10, Group: 8, Groups: 3}
	ok := Set{Contact: nurse, Name: "Nurse", Groups: []string{"Servants"}}
	for _, c := range []struct {
		name      string
		items     []Set
		condition string
	}{
		{"2.3.1 one item", []Set{ok}, ""},
		{"2.1.5 no item", nil, "bad-request"},
		{"2.3.3 more than one item", []Set{ok, ok}, "bad-request"},
		{"2.1.2.3 no jid", []Set{{Name: "x"}}, "bad-request"},
		{"2.3.3 duplicate groups", []Set{{Contact: nurse, Groups: []string{"a", "a"}}}, "bad-request"},
		{"2.3.3 oversized name", []Set{{Contact: nurse, Name: strings.Repeat("x", 11)}}, "not-acceptable"},
		{"2.3.3 name at the limit", []Set{{Contact: nurse, Name: strings.Repeat("x", 10)}}, ""},
		{"2.3.3 empty group", []Set{{Contact: nurse, Groups: []string{""}}}, "not-acceptable"},
		{"2.3.3 oversized group", []Set{{Contact: nurse, Groups: []string{strings.Repeat("x", 9)}}}, "not-acceptable"},
		{"too many groups", []Set{{Contact: nurse, Groups: []string{"a", "b", "c", "d"}}}, "not-acceptable"},
		{"2.3.3 interoperability: own bare JID", []Set{{Contact: juliet}}, "not-allowed"},
		{"2.5.1 remove", []Set{{Contact: nurse, Remove: true}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := limits.Check(juliet, c.items)
			var refusal *Refusal
			if errors.As(err, &refusal) {
				if refusal.Condition != c.condition || refusal.Error() == "" {
					t.Errorf("refused: %v, want %q", err, c.condition)
				}
				return
			}
			if c.condition != "" {
				t.Fatalf("not refused with %s", c.condition)
			}
			if !reflect.DeepEqual(got, c.items[0]) {
				t.Errorf("%+v", got)
			}
		})
	}
	if _, err := (Limits{}).Check(juliet, []Set{{Contact: nurse, Name: strings.Repeat("x", 1<<16)}}); err != nil {
		t.Errorf("without limits: %v", err)
	}
}

func TestSet(t *testing.T) {
	t.Run("2.3.2 create", func(t *testing.T) {
		i := Unknown(nurse).Set("Nurse", []string{"Servants"}, 5)
		if i.Removed || i.Name != "Nurse" || i.Version != 5 || i.State != subscription.None {
			t.Errorf("%+v", i)
		}
	})
	t.Run("2.4.1 update exactly as provided", func(t *testing.T) {
		i := Item{Contact: nurse, Name: "Nurse", Groups: []string{"a"}, State: subscription.Both, Version: 5}.Set("", nil, 6)
		if i.Name != "" || i.Groups != nil || i.State != subscription.Both || i.Version != 6 {
			t.Errorf("%+v", i)
		}
	})
	t.Run("A.1 pending request is kept when the owner adds the item", func(t *testing.T) {
		i := Unknown(nurse).Received(subscription.Subscribe, []byte("hi"), 5).Set("Nurse", nil, 6)
		if i.Removed || i.State != subscription.PendingIn || string(i.Request) != "hi" || i.Hidden() {
			t.Errorf("%+v", i)
		}
	})
}

func TestRemove(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  subscription.State
		cancel []subscription.Verb
	}{
		{"2.5.2 none", subscription.None, nil},
		{"2.5.2 to", subscription.To, []subscription.Verb{subscription.Unsubscribe}},
		{"2.5.2 from", subscription.From, []subscription.Verb{subscription.Unsubscribed}},
		{"2.5.2 both", subscription.Both, []subscription.Verb{subscription.Unsubscribe, subscription.Unsubscribed}},
		{"2.5.2 request is withdrawn", subscription.PendingOut, []subscription.Verb{subscription.Unsubscribe}},
		{"2.5.2 request is denied", subscription.PendingIn, []subscription.Verb{subscription.Unsubscribed}},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := Item{Contact: nurse, Name: "Nurse", State: c.state, Version: 5, Request: []byte("x")}
			next, cancel, ok := i.Remove(9)
			if !ok || !reflect.DeepEqual(cancel, c.cancel) {
				t.Errorf("ok=%v %v", ok, cancel)
			}
			if !reflect.DeepEqual(next, Item{Contact: nurse, Version: 9, Removed: true}) {
				t.Errorf("%+v", next)
			}
		})
	}
	t.Run("2.5.3 not in the roster", func(t *testing.T) {
		hidden := Unknown(nurse).Received(subscription.Subscribe, nil, 5)
		for _, i := range []Item{Unknown(nurse), hidden, {Contact: nurse, Removed: true, Version: 3}} {
			if next, _, ok := i.Remove(9); ok || !reflect.DeepEqual(next, i) {
				t.Errorf("%+v was removed: %+v", i, next)
			}
		}
	})
}

func TestSubscriptions(t *testing.T) {
	t.Run("3.1.3 request must not add an item", func(t *testing.T) {
		i := Unknown(nurse).Received(subscription.Subscribe, []byte("hi"), 5)
		if !i.Hidden() || i.Version != 0 || i.Empty() || string(i.Request) != "hi" {
			t.Errorf("%+v", i)
		}
		if again := i.Received(subscription.Subscribe, []byte("again"), 6); string(again.Request) != "hi" {
			t.Errorf("the second of two requests was stored: %q", again.Request)
		}
		if gone := i.Received(subscription.Unsubscribe, nil, 6); !gone.Empty() || gone.Request != nil {
			t.Errorf("3.3.3 withdrawn: %+v", gone)
		}
		if denied := i.Sent(subscription.Unsubscribed, 6); !denied.Empty() {
			t.Errorf("3.2 denied: %+v", denied)
		}
		approved := i.Sent(subscription.Subscribed, 6)
		if approved.Removed || approved.State != subscription.From || approved.Version != 6 || approved.Request != nil {
			t.Errorf("3.1.5 approved: %+v", approved)
		}
	})
	t.Run("3.4.2 pre-approval adds an item, and a request uses it up", func(t *testing.T) {
		i := Unknown(nurse).Sent(subscription.Subscribed, 5)
		if i.Removed || i.State != subscription.Approved || i.Version != 5 {
			t.Errorf("%+v", i)
		}
		if asked := i.Received(subscription.Subscribe, []byte("hi"), 6); asked.State != subscription.From || asked.Request != nil || asked.Version != 6 {
			t.Errorf("%+v", asked)
		}
		if gone := i.Sent(subscription.Unsubscribed, 6); gone.Removed || gone.State != subscription.None || gone.Version != 6 {
			t.Errorf("cancelled: %+v", gone)
		}
	})
	t.Run("3.1.2 request adds an item", func(t *testing.T) {
		i := Unknown(nurse).Sent(subscription.Subscribe, 5)
		if i.Removed || !i.State.Ask() || i.Version != 5 {
			t.Errorf("%+v", i)
		}
	})
	t.Run("2.6.3 request of a contact does not change the version", func(t *testing.T) {
		i := Item{Contact: nurse, State: subscription.To, Version: 5}.Received(subscription.Subscribe, nil, 9)
		if i.Version != 5 || i.State != subscription.To|subscription.PendingIn || i.Removed {
			t.Errorf("%+v", i)
		}
	})
	t.Run("2.6.3 tombstone outlives a request", func(t *testing.T) {
		i := Item{Contact: nurse, Version: 5, Removed: true}.Received(subscription.Subscribe, nil, 9)
		if !i.Hidden() || i.Version != 5 {
			t.Errorf("%+v", i)
		}
		if back := i.Received(subscription.Unsubscribe, nil, 10); back.Version != 5 || back.Hidden() || back.Empty() {
			t.Errorf("%+v", back)
		}
	})
	t.Run("A.2 verb without meaning adds nothing", func(t *testing.T) {
		for _, v := range []subscription.Verb{subscription.Unsubscribe, subscription.Unsubscribed} {
			if i := Unknown(nurse).Sent(v, 5); !i.Empty() {
				t.Errorf("%v: %+v", v, i)
			}
		}
	})
}

// Whatever happens, invariants of Item hold and only visible changes raise the
// version.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := Unknown(nurse)
		for version := int64(1); version < 30; version++ {
			before := i
			switch v := subscription.Verb(rapid.IntRange(1, 4).Draw(t, "verb")); rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				i = i.Set(rapid.SampledFrom([]string{"", "a"}).Draw(t, "name"), nil, version)
			case 1:
				i, _, _ = i.Remove(version)
			case 2, 3:
				i = i.Sent(v, version)
			default:
				i = i.Received(v, []byte{byte(version)}, version)
			}
			if !i.State.Valid() || i.Removed && (i.Name != "" || i.State&^subscription.PendingIn != 0) ||
				(i.State&subscription.PendingIn == 0) != (i.Request == nil) || !i.Removed && i.Version == 0 {
				t.Fatalf("%+v", i)
			}
			if Visible(before, i) && i.Version != version {
				t.Fatalf("%+v became %+v", before, i)
			}
		}
	})
}
