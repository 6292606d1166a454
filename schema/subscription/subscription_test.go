package subscription

import (
	"testing"

	"pgregory.net/rapid"
)

// The nine states by their names in Appendix A.1, and those with an approval
// that waits for a request (section 3.4).
var twelve = map[string]State{
	"None":                  None,
	"None + Pending Out":    PendingOut,
	"None + Pending In":     PendingIn,
	"None + Pending Out+In": PendingOut | PendingIn,
	"To":                    To,
	"To + Pending In":       To | PendingIn,
	"From":                  From,
	"From + Pending Out":    From | PendingOut,
	"Both":                  Both,

	"None, approved":               Approved,
	"None + Pending Out, approved": PendingOut | Approved,
	"To, approved":                 To | Approved,
}

func TestNames(t *testing.T) {
	attributes := map[string]string{"None": "none", "To": "to", "From": "from", "Both": "both"}
	for name, s := range twelve {
		t.Run("A.1 "+name, func(t *testing.T) {
			if s.String() != name || !s.Valid() {
				t.Errorf("%v valid=%v", s, s.Valid())
			}
			if got := s.Attribute(); got != attributes[(s&Both).String()] {
				t.Errorf("subscription=%q", got)
			}
			if s.Ask() != (s&PendingOut != 0) {
				t.Errorf("ask %v", s.Ask())
			}
		})
	}
	valid := 0
	for s := range 256 {
		if State(s).Valid() {
			valid++
		}
	}
	if valid != len(twelve) {
		t.Errorf("%d valid states", valid)
	}
	for v, name := range map[Verb]string{Subscribe: "subscribe", Subscribed: "subscribed", Unsubscribe: "unsubscribe", Unsubscribed: "unsubscribed", 0: "no verb"} {
		if v.String() != name {
			t.Errorf("%v, want %s", v, name)
		}
	}
}

// A row of a table of Appendix A: "yes" is MUST route or deliver, an empty
// state is "no state change".
type row struct {
	from, yes, to string
}

func check(t *testing.T, section string, v Verb, rows []row, decide func(State, Verb) bool, next func(State, Verb) State) {
	t.Helper()
	if len(rows) != len(twelve) {
		t.Fatalf("%s has %d rows", section, len(rows))
	}
	for _, r := range rows {
		t.Run(section+" "+v.String()+" in "+r.from, func(t *testing.T) {
			s := twelve[r.from]
			if s.String() != r.from {
				t.Fatalf("no state %q", r.from)
			}
			want := s
			if r.to != "" {
				want = twelve[r.to]
				if want.String() != r.to {
					t.Fatalf("no state %q", r.to)
				}
			}
			if got := next(s, v); got != want {
				t.Errorf("new state %v, want %v", got, want)
			}
			if got := decide(s, v); got != (r.yes == "yes") {
				t.Errorf("decided %v, want %s", got, r.yes)
			}
		})
	}
}

func TestOutbound(t *testing.T) {
	check(t, "A.2.1", Subscribe, []row{
		{"None", "yes", "None + Pending Out"},
		{"None + Pending Out", "yes", ""},
		{"None + Pending In", "yes", "None + Pending Out+In"},
		{"None + Pending Out+In", "yes", ""},
		{"To", "yes", ""},
		{"To + Pending In", "yes", ""},
		{"From", "yes", "From + Pending Out"},
		{"From + Pending Out", "yes", ""},
		{"Both", "yes", ""},
		{"None, approved", "yes", "None + Pending Out, approved"},
		{"None + Pending Out, approved", "yes", ""},
		{"To, approved", "yes", ""},
	}, Routed, Outbound)
	check(t, "A.2.2", Unsubscribe, []row{
		{"None", "yes", ""},
		{"None + Pending Out", "yes", "None"},
		{"None + Pending In", "yes", ""},
		{"None + Pending Out+In", "yes", "None + Pending In"},
		{"To", "yes", "None"},
		{"To + Pending In", "yes", "None + Pending In"},
		{"From", "yes", ""},
		{"From + Pending Out", "yes", "From"},
		{"Both", "yes", "From"},
		{"None, approved", "yes", ""},
		{"None + Pending Out, approved", "yes", "None, approved"},
		{"To, approved", "yes", "None, approved"},
	}, Routed, Outbound)
	check(t, "A.2.3", Subscribed, []row{
		{"None", "no", "None, approved"},
		{"None + Pending Out", "no", "None + Pending Out, approved"},
		{"None + Pending In", "yes", "From"},
		{"None + Pending Out+In", "yes", "From + Pending Out"},
		{"To", "no", "To, approved"},
		{"To + Pending In", "yes", "Both"},
		{"From", "no", ""},
		{"From + Pending Out", "no", ""},
		{"Both", "no", ""},
		{"None, approved", "no", ""},
		{"None + Pending Out, approved", "no", ""},
		{"To, approved", "no", ""},
	}, Routed, Outbound)
	check(t, "A.2.4", Unsubscribed, []row{
		{"None", "no", ""},
		{"None + Pending Out", "no", ""},
		{"None + Pending In", "yes", "None"},
		{"None + Pending Out+In", "yes", "None + Pending Out"},
		{"To", "no", ""},
		{"To + Pending In", "yes", "To"},
		{"From", "yes", "None"},
		{"From + Pending Out", "yes", "None + Pending Out"},
		{"Both", "yes", "To"},
		{"None, approved", "no", "None"},
		{"None + Pending Out, approved", "no", "None + Pending Out"},
		{"To, approved", "no", "To"},
	}, Routed, Outbound)
}

func TestInbound(t *testing.T) {
	check(t, "A.3.1", Subscribe, []row{
		{"None", "yes", "None + Pending In"},
		{"None + Pending Out", "yes", "None + Pending Out+In"},
		{"None + Pending In", "no", ""},
		{"None + Pending Out+In", "no", ""},
		{"To", "yes", "To + Pending In"},
		{"To + Pending In", "no", ""},
		{"From", "no", ""},
		{"From + Pending Out", "no", ""},
		{"Both", "no", ""},
		{"None, approved", "no", "From"},
		{"None + Pending Out, approved", "no", "From + Pending Out"},
		{"To, approved", "no", "Both"},
	}, Delivered, Inbound)
	check(t, "A.3.2", Unsubscribe, []row{
		{"None", "no", ""},
		{"None + Pending Out", "no", ""},
		{"None + Pending In", "yes", "None"},
		{"None + Pending Out+In", "yes", "None + Pending Out"},
		{"To", "no", ""},
		{"To + Pending In", "yes", "To"},
		{"From", "yes", "None"},
		{"From + Pending Out", "yes", "None + Pending Out"},
		{"Both", "yes", "To"},
		{"None, approved", "no", ""},
		{"None + Pending Out, approved", "no", ""},
		{"To, approved", "no", ""},
	}, Delivered, Inbound)
	check(t, "A.3.3", Subscribed, []row{
		{"None", "no", ""},
		{"None + Pending Out", "yes", "To"},
		{"None + Pending In", "no", ""},
		{"None + Pending Out+In", "yes", "To + Pending In"},
		{"To", "no", ""},
		{"To + Pending In", "no", ""},
		{"From", "no", ""},
		{"From + Pending Out", "yes", "Both"},
		{"Both", "no", ""},
		{"None, approved", "no", ""},
		{"None + Pending Out, approved", "yes", "To, approved"},
		{"To, approved", "no", ""},
	}, Delivered, Inbound)
	check(t, "A.3.4", Unsubscribed, []row{
		{"None", "no", ""},
		{"None + Pending Out", "yes", "None"},
		{"None + Pending In", "no", ""},
		{"None + Pending Out+In", "yes", "None + Pending In"},
		{"To", "yes", "None"},
		{"To + Pending In", "yes", "None + Pending In"},
		{"From", "no", ""},
		{"From + Pending Out", "yes", "From"},
		{"Both", "yes", "From"},
		{"None, approved", "no", ""},
		{"None + Pending Out, approved", "yes", "None, approved"},
		{"To, approved", "yes", "None, approved"},
	}, Delivered, Inbound)
}

func TestReply(t *testing.T) {
	for name, s := range twelve {
		t.Run("3.1.3 subscribe in "+name, func(t *testing.T) {
			want := Verb(0)
			if s&(From|Approved) != 0 {
				want = Subscribed
			}
			if got := Reply(s, Subscribe); got != want {
				t.Errorf("%v, want %v", got, want)
			}
			for _, v := range []Verb{Subscribed, Unsubscribe, Unsubscribed} {
				if got := Reply(s, v); got != 0 {
					t.Errorf("%v is answered by %v", v, got)
				}
			}
		})
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	for name, s := range twelve {
		t.Run("2.5.2 remove in "+name, func(t *testing.T) {
			left := s
			for _, v := range Cancel(s) {
				if !Routed(left, v) {
					t.Errorf("%v is not routed", v)
				}
				left = Outbound(left, v)
			}
			if left&^Approved != None {
				t.Errorf("left in %v", left)
			}
			if s == Both && len(Cancel(s)) != 2 {
				t.Error("a mutual subscription needs both")
			}
		})
	}
	if Cancel(None) != nil {
		t.Error("None is cancelled")
	}
}

func TestUnknownVerb(t *testing.T) {
	for _, s := range twelve {
		if Outbound(s, 9) != s || Inbound(s, 9) != s || Routed(s, 9) || Delivered(s, 9) || Reply(s, 9) != 0 {
			t.Errorf("an unknown verb means something in %v", s)
		}
	}
}

// Only the twelve states are reached, whatever is sent and comes.
func TestOnlyTwelveStatesAreReached(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := None
		for _, step := range rapid.SliceOf(rapid.Uint8Range(0, 15)).Draw(t, "steps") {
			v := Verb(step % 5)
			if step < 8 {
				s = Outbound(s, v)
			} else {
				s = Inbound(s, v)
			}
			if !s.Valid() {
				t.Fatalf("reached %v", s)
			}
		}
	})
}

// Two sides that talk in turn hold mirror images of each other; the contact
// does not know what is approved.
func TestBothSidesAgree(t *testing.T) {
	mirror := func(s State) State {
		return s&To<<1 | s&From>>1 | s&PendingOut<<1 | s&PendingIn>>1
	}
	rapid.Check(t, func(t *rapid.T) {
		var side [2]State
		for _, step := range rapid.SliceOf(rapid.Uint8Range(0, 7)).Draw(t, "steps") {
			v, who := Verb(step%4+1), step/4
			routed := Routed(side[who], v)
			side[who] = Outbound(side[who], v)
			if routed {
				reply := Reply(side[1-who], v)
				side[1-who] = Inbound(side[1-who], v)
				side[who] = Inbound(side[who], reply)
			}
			if side[0]&^Approved != mirror(side[1]) {
				t.Fatalf("%v and %v", side[0], side[1])
			}
		}
	})
}
