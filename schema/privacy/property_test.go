package privacy

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

var (
	somebody = []string{"juliet@capulet.lit", "juliet@capulet.lit/x", "a@m", "a@m/x", "a@m/y", "b@m", "b@m/x", "c@n", "c@n/x", "m", "m/x", "n"}
	known    = []string{"a@m", "b@m", "c@n"}
	kinds    = []Kind{Message, IQ, PresenceIn, PresenceOut, Subscription, Sent}
)

func anyItems(t *rapid.T) []*event.PrivacyItem {
	var all []*event.PrivacyItem
	for n := range rapid.IntRange(1, 6).Draw(t, "rules") {
		i := &event.PrivacyItem{Allow: rapid.Bool().Draw(t, "allow"), Order: uint32(n)}
		i.Type = rapid.SampledFrom([]string{"jid", "jid", "jid", "group", "subscription", ""}).Draw(t, "type")
		switch i.Type {
		case "jid":
			i.Value = rapid.SampledFrom(somebody).Draw(t, "jid")
		case "group":
			i.Value = rapid.SampledFrom([]string{"G", "H"}).Draw(t, "group")
		case "subscription":
			i.Value = rapid.SampledFrom([]string{"both", "to", "from", "none"}).Draw(t, "subscription")
		}
		if rapid.Bool().Draw(t, "some kinds") {
			i.Message, i.Iq = rapid.Bool().Draw(t, "message"), rapid.Bool().Draw(t, "iq")
			i.PresenceIn, i.PresenceOut = rapid.Bool().Draw(t, "in"), rapid.Bool().Draw(t, "out")
		}
		all = append(all, i)
	}
	return all
}

func anyState(t *rapid.T) *State {
	s := &State{Lists: map[string][]*event.PrivacyItem{}, Sessions: map[string]Session{}}
	s.Blocked = rapid.SliceOfNDistinct(rapid.SampledFrom(somebody), 0, 3, rapid.ID[string]).Draw(t, "blocked")
	slices.Sort(s.Blocked)
	for _, name := range []string{"one", "two"} {
		s.Lists[name] = anyItems(t)
	}
	list := rapid.SampledFrom([]string{"", "one", "two"})
	s.Default = list.Draw(t, "default")
	for _, resource := range []string{"r", "q"} {
		if x := (Session{Active: list.Draw(t, "active"), Invisible: rapid.Bool().Draw(t, "invisible")}); x != (Session{}) {
			s.Sessions[resource] = x
		}
	}
	return s
}

func anyRoster(t *rapid.T) map[jid.Bare]roster.Item {
	items := make(map[jid.Bare]roster.Item)
	for _, name := range known {
		if rapid.Bool().Draw(t, "in the roster") {
			items[jid.MustBare(name)] = anyItem(t)
		}
	}
	return items
}

func anyItem(t *rapid.T) roster.Item {
	return roster.Item{
		State:   rapid.SampledFrom([]subscription.State{0, subscription.To, subscription.From, subscription.Both, subscription.To | subscription.PendingIn}).Draw(t, "state"),
		Groups:  rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"G", "H"}), 0, 2, rapid.ID[string]).Draw(t, "groups"),
		Removed: rapid.IntRange(0, 4).Draw(t, "removed") == 0,
	}
}

// naive evaluates the lists themselves, word by word as XEP-0016 has it.
func naive(s *State, items map[jid.Bare]roster.Item, k Kind, resource string, other jid.JID) bool {
	if other.Bare() == juliet {
		return true
	}
	match := func(value string) bool {
		return value == other.String() || value == other.Bare().String() || value == other.Domain()
	}
	if slices.ContainsFunc(s.Blocked, match) {
		return false
	}
	list := s.Default
	if active := s.Sessions[resource].Active; active != "" {
		list = active
	}
	it, in := items[other.Bare()]
	in = in && !it.Removed
	for _, i := range s.Lists[list] {
		some := i.GetMessage() || i.GetIq() || i.GetPresenceIn() || i.GetPresenceOut()
		if some && !(i.GetMessage() && k == Message || i.GetIq() && k == IQ || i.GetPresenceIn() && k == PresenceIn || i.GetPresenceOut() && k == PresenceOut) {
			continue
		}
		var matches bool
		switch i.GetType() {
		case "":
			matches = true
		case "jid":
			matches = match(i.GetValue())
		case "group":
			matches = in && slices.Contains(it.Groups, i.GetValue())
		case "subscription":
			matches = !in && i.GetValue() == "none" || in && it.State.Attribute() == i.GetValue()
		}
		if matches {
			return i.GetAllow()
		}
	}
	return true
}

func ask(t *rapid.T, do func(k Kind, resource string, other jid.JID)) {
	for _, k := range kinds {
		for _, resource := range []string{"", "r", "q", "z"} {
			for _, other := range append(somebody, "d@o/x") {
				do(k, resource, address(other))
			}
		}
	}
}

// The compiled policy lets through what the lists say, for any roster.
func TestCompiledIsNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, items := anyState(t), anyRoster(t)
		c := New(Compile(juliet, s, items))
		ask(t, func(k Kind, resource string, other jid.JID) {
			want := naive(s, items, k, resource, other)
			if got := c.Allows(k, resource, other); got != want {
				t.Fatalf("kind %b between %q and %s passes: %v", k, resource, other, got)
			}
			hidden := other.Bare() != juliet && (s.Sessions[resource].Invisible || !naive(s, items, PresenceOut, resource, other))
			if k == PresenceOut && c.Hides(resource, other) != hidden {
				t.Fatalf("%q is hidden from %s: %v", resource, other, !hidden)
			}
			if !want && !c.Concerns(k, other.Bare()) {
				t.Fatalf("kind %b of %s does not concern it, and is denied", k, other)
			}
			if k == PresenceOut && hidden && !c.Concerns(k, other.Bare()) {
				t.Fatalf("%q does not concern %s, and is hidden", resource, other)
			}
		})
	})
}

// Lists that have not changed stay known without the roster, and what is not
// known never lets more through.
func TestRecompile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		was, items := anyState(t), anyRoster(t)
		s := was.copy()
		for range rapid.IntRange(1, 2).Draw(t, "changes") {
			s = anyChange(t, s)
		}
		got, exact := Recompile(juliet, s, was, Compile(juliet, was, items))
		want := Compile(juliet, s, items)
		if exact && !proto.Equal(got, want) {
			t.Fatalf("%v is %v, not %v", s, got, want)
		}
		if !exact && !s.Roster() {
			t.Fatalf("%v needs no roster", s)
		}
		careful, c := New(got), New(want)
		ask(t, func(k Kind, resource string, other jid.JID) {
			if careful.Allows(k, resource, other) && !c.Allows(k, resource, other) {
				t.Fatalf("kind %b between %q and %s passes without a roster alone", k, resource, other)
			}
		})
		if same, exact := Recompile(juliet, was, was, Compile(juliet, was, items)); !exact || !proto.Equal(same, Compile(juliet, was, items)) {
			t.Fatalf("nothing has changed, and %v is not known", was)
		}
	})
}

func anyChange(t *rapid.T, s *State) *State {
	resource := rapid.SampledFrom([]string{"r", "q"}).Draw(t, "resource")
	name := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "list")
	var next *State
	switch rapid.IntRange(0, 4).Draw(t, "change") {
	case 0:
		next, _, _ = s.Block(&event.BlockListChanged{Blocked: []string{rapid.SampledFrom(somebody).Draw(t, "block")}})
	case 1:
		next, _ = s.SetList(&event.PrivacyListChanged{Name: name, Items: anyItems(t)}, nil)
	case 2:
		next, _ = s.Choose(&event.PrivacyListChosen{Name: name, Resource: resource, Default: rapid.Bool().Draw(t, "for all")}, nil)
	case 3:
		next = s.Visible(resource, rapid.Bool().Draw(t, "visible"), time.Time{})
	default:
		next = s.Ended(resource)
	}
	return next
}

// What is not known of the roster never lets more through.
func TestConservative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, items := anyState(t), anyRoster(t)
		blind := New(Conservative(juliet, s))
		before := Compile(juliet, s, items)
		contact := jid.MustBare(rapid.SampledFrom(known).Draw(t, "contact"))
		doubted := New(Doubt(before, contact.String()))
		items[contact] = anyItem(t)
		if rapid.Bool().Draw(t, "gone") {
			delete(items, contact)
		}
		after, was := New(Compile(juliet, s, items)), New(before)
		ask(t, func(k Kind, resource string, other jid.JID) {
			if blind.Allows(k, resource, other) && !after.Allows(k, resource, other) {
				t.Fatalf("kind %b between %q and %s passes without a roster alone", k, resource, other)
			}
			if doubted.Allows(k, resource, other) && !after.Allows(k, resource, other) {
				t.Fatalf("kind %b between %q and %s passes while %s is in doubt", k, resource, other, contact)
			}
			if other.Bare() != contact && doubted.Allows(k, resource, other) != was.Allows(k, resource, other) {
				t.Fatalf("the doubt of %s is one of %s", contact, other)
			}
		})
	})
}
