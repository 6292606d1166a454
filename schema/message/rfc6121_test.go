package message_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/message/messagetest"
)

// What this server chose is what RFC 6121 allows, in every cell of table 1.
func TestChoicesAreAllowed(t *testing.T) {
	for _, r := range messagetest.Messages {
		for i, kind := range messagetest.Types {
			t.Run(fmt.Sprintf("8.5.4 %s, %s, %s", r.Condition, r.Address, kind), func(t *testing.T) {
				if !messagetest.Allows(r.Allowed[i], messagetest.Outcome(r.Chosen[i])) {
					t.Errorf("%s allows no %c", r.Allowed[i], r.Chosen[i])
				}
			})
		}
	}
}

// accounts gives every account of at most three resources that are connected,
// or available with a priority at one of the ends, on either side of 0, or equal.
func accounts() (all [][]int) {
	classes := []int{messagetest.Connected, -128, -1, 0, 5, 127}
	all = append(all, nil)
	for from := 0; len(all[from]) < 3; from++ {
		for _, p := range classes {
			all = append(all, append(slices.Clone(all[from]), p))
		}
	}
	return all
}

// addresses gives the forms in which an account can be addressed, and the
// resource that is meant.
func addresses(priorities []int) (forms []messagetest.Address, resources []string) {
	forms, resources = []messagetest.Address{messagetest.Bare, messagetest.FullNoMatch}, []string{"", "none"}
	for i := range priorities {
		forms, resources = append(forms, messagetest.FullMatch), append(resources, messagetest.Name(i))
	}
	return forms, resources
}

func same(got message.Decision, want messagetest.Outcome, receivers []string) bool {
	condition := ""
	if want == messagetest.Error {
		condition = message.ServiceUnavailable
	}
	return got.Action == want.Action() && got.Condition == condition && slices.Equal(got.To, receivers)
}

// Section 8.5 for messages: every account, form of address and type.
func TestMessagesOfSection8_5(t *testing.T) {
	kinds := []struct {
		name string
		t    message.Type
	}{{"normal", message.Normal}, {"chat", message.Chat}, {"groupchat", message.Groupchat}, {"headline", message.Headline}, {"error", message.Error}, {"none", 0}}
	cases := 0
	for _, kind := range kinds {
		for _, a := range []messagetest.Address{messagetest.Bare, messagetest.FullNoMatch} {
			if want := messagetest.MessageOutcome(messagetest.NoAccount, a, kind.name); !same(message.Unknown(kind.t), want, nil) {
				t.Errorf("8.5.1 %s, %s: %+v, want %c", a, kind.name, message.Unknown(kind.t), want)
			}
		}
		for _, priorities := range accounts() {
			forms, resources := addresses(priorities)
			for i, a := range forms {
				cases++
				c := messagetest.ConditionOf(priorities)
				want := messagetest.MessageOutcome(c, a, kind.name)
				var to []string
				if want.Action() == message.Deliver {
					to = messagetest.Receivers(want, resources[i], priorities)
				}
				if got := message.Route(kind.t, resources[i], messagetest.Resources(priorities)); !same(got, want, to) {
					t.Errorf("8.5 %s, %s, %s to %q of %v: %+v, want %c %v", c, a, kind.name, resources[i], priorities, got, want, to)
				}
			}
		}
	}
	if cases < 5000 {
		t.Errorf("only %d cases", cases)
	}
}

// Section 8.5 for directed presence.
func TestPresenceOfSection8_5(t *testing.T) {
	for _, priorities := range accounts() {
		forms, resources := addresses(priorities)
		for i, a := range forms {
			c := messagetest.ConditionOf(priorities)
			want := messagetest.PresenceOutcome(c, a)
			var to []string
			if want.Action() == message.Deliver {
				to = messagetest.Receivers(want, resources[i], priorities)
			}
			if got := message.RoutePresence(resources[i], messagetest.Resources(priorities)); !same(got, want, to) {
				t.Errorf("8.5 %s, %s to %q of %v: %+v, want %c %v", c, a, resources[i], priorities, got, want, to)
			}
		}
	}
}

// Section 8.5 for iqs.
func TestIQsOfSection8_5(t *testing.T) {
	for _, kind := range []string{"get", "set", "result", "error"} {
		request := kind == "get" || kind == "set"
		for _, a := range []messagetest.Address{messagetest.Bare, messagetest.FullNoMatch} {
			if want := messagetest.IQOutcome(messagetest.NoAccount, a, kind, false); !same(message.UnknownIQ(request), want, nil) {
				t.Errorf("8.5.1 %s, %s: %+v, want %c", a, kind, message.UnknownIQ(request), want)
			}
		}
		for _, shared := range []bool{false, true} {
			for _, priorities := range accounts() {
				forms, resources := addresses(priorities)
				for i, a := range forms {
					c := messagetest.ConditionOf(priorities)
					want := messagetest.IQOutcome(c, a, kind, shared)
					var to []string
					if want == messagetest.Direct {
						to = []string{resources[i]}
					}
					if got := message.RouteIQ(request, resources[i], shared, messagetest.Resources(priorities)); !same(got, want, to) {
						t.Errorf("8.5 %s, %s, %s to %q of %v, shared %v: %+v, want %c %v", c, a, kind, resources[i], priorities, shared, got, want, to)
					}
				}
			}
		}
	}
}
