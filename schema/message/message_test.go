package message

import (
	"slices"
	"testing"

	"github.com/rollcall/rollcall/schema/presence"
	"pgregory.net/rapid"
)

func connected() presence.Resource { return presence.Resource{} }

func available(priority int8) presence.Resource {
	return presence.Resource{Available: true, Content: presence.Content{Priority: priority}}
}

type resources = map[string]presence.Resource

// Table 1 of RFC 6121, section 8.5.4, with our choices: O stored, E bounced, S
// ignored, D delivered to the one, A to all that are not negative.
func TestTable1(t *testing.T) {
	for _, c := range []struct {
		condition string
		addressed string
		resources resources
		all       []string
		want      string // Normal, Chat, Groupchat, Headline
	}{
		{"no active resources, bare", "", nil, nil, "OOES"},
		{"no active resources, full", "x", nil, nil, "EOES"},
		{"only connected resources, bare", "", resources{"a": connected()}, nil, "OOES"},
		{"only connected resources, full match", "a", resources{"a": connected()}, nil, "DDDD"},
		{"only connected resources, full no match", "x", resources{"a": connected()}, nil, "EOES"},
		{"1 negative, bare", "", resources{"a": available(-1)}, nil, "OOES"},
		{"1 negative, full match", "a", resources{"a": available(-1)}, nil, "DDDD"},
		{"1 negative, full no match", "x", resources{"a": available(-1)}, nil, "EOES"},
		{"2 negative, bare", "", resources{"a": available(-1), "b": available(-128)}, nil, "OOES"},
		{"1 non-negative, bare", "", resources{"a": available(0)}, []string{"a"}, "AAEA"},
		{"1 non-negative, full match", "a", resources{"a": available(0)}, nil, "DDDD"},
		{"1 non-negative, full no match", "x", resources{"a": available(0)}, []string{"a"}, "EAES"},
		{"more, bare", "", resources{"c": available(9), "a": available(0), "b": available(-1), "d": connected()}, []string{"a", "c"}, "AAEA"},
		{"more, full match", "a", resources{"c": available(9), "a": available(0)}, nil, "DDDD"},
		{"more, full match of a negative one", "b", resources{"c": available(9), "b": available(-1)}, nil, "DDDD"},
		{"more, full no match", "x", resources{"c": available(9), "a": available(0), "b": available(-1)}, []string{"a", "c"}, "EAES"},
	} {
		for i, kind := range []Type{Normal, Chat, Groupchat, Headline} {
			t.Run("8.5.4 "+c.condition+" "+[]string{"normal", "chat", "groupchat", "headline"}[i], func(t *testing.T) {
				got := Route(kind, c.addressed, c.resources)
				want := map[byte]Decision{
					'O': {Action: Store}, 'E': bounce, 'S': {},
					'D': {Action: Deliver, To: []string{c.addressed}}, 'A': {Action: Deliver, To: c.all},
				}[c.want[i]]
				if got.Action != want.Action || got.Condition != want.Condition || !slices.Equal(got.To, want.To) {
					t.Errorf("%v %v %s, want %v %v", got.Action, got.To, got.Condition, want.Action, want.To)
				}
			})
		}
	}
}

func TestErrors(t *testing.T) {
	one := resources{"a": available(0)}
	for _, c := range []struct {
		name      string
		addressed string
		want      Action
	}{
		{"8.5.2.1.1 error to the bare JID", "", Ignore},
		{"8.5.3.1 error to a matching full JID", "a", Deliver},
		{"8.5.3.2.1 error to another full JID", "x", Ignore},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Route(Error, c.addressed, one); got.Action != c.want {
				t.Error(got.Action)
			}
		})
	}
	t.Run("8.5.2.2.1 error without a resource", func(t *testing.T) {
		if got := Route(Error, "", nil); got.Action != Ignore {
			t.Error(got.Action)
		}
	})
	t.Run("5.2.2 no type is normal", func(t *testing.T) {
		if got := Route(0, "", one); got.Action != Deliver {
			t.Error(got.Action)
		}
	})
}

func TestUnknownAccount(t *testing.T) {
	for kind, want := range map[Type]Action{Normal: Bounce, Chat: Bounce, Groupchat: Bounce, Headline: Ignore, Error: Ignore} {
		if got := Unknown(kind); got.Action != want {
			t.Errorf("8.5.1 message %d: %v", kind, got.Action)
		}
	}
	if got := UnknownIQ(true); got.Action != Bounce || got.Condition != ServiceUnavailable {
		t.Errorf("8.5.1 iq: %v", got)
	}
	if got := UnknownIQ(false); got.Action != Ignore {
		t.Errorf("8.5.1 iq result: %v", got)
	}
}

func TestIQ(t *testing.T) {
	on := resources{"a": available(-1), "b": connected()}
	for _, c := range []struct {
		name      string
		request   bool
		addressed string
		shared    bool
		resources resources
		want      Action
	}{
		{"8.5.2.1.3 bare JID", true, "", true, on, Serve},
		{"8.5.2.2.3 bare JID without a resource", true, "", false, nil, Serve},
		{"8.5.3.1 request that may see presence", true, "a", true, on, Deliver},
		{"8.5.3.1 request to a connected resource", true, "b", true, on, Deliver},
		{"8.5.3.1 request that may not see presence", true, "a", false, on, Bounce},
		{"8.5.3.1 result", false, "a", false, on, Deliver},
		{"8.5.3.2.3 request without a match", true, "x", true, on, Bounce},
		{"8.5.3.2.3 result without a match", false, "x", true, on, Ignore},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := RouteIQ(c.request, c.addressed, c.shared, c.resources); got.Action != c.want {
				t.Error(got.Action)
			}
		})
	}
}

func TestPresence(t *testing.T) {
	on := resources{"b": available(5), "a": available(-1), "c": connected()}
	for _, c := range []struct {
		name      string
		addressed string
		resources resources
		to        []string
	}{
		{"8.5.2.1.2 bare JID: all available resources", "", on, []string{"a", "b"}},
		{"8.5.2.2.2 bare JID without an available resource", "", resources{"c": connected()}, nil},
		{"8.5.3.1 full JID", "a", on, []string{"a"}},
		{"8.5.3.1 full JID of a connected resource", "c", on, []string{"c"}},
		{"8.5.3.2.2 full JID without a match", "x", on, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := RoutePresence(c.addressed, c.resources)
			if !slices.Equal(got.To, c.to) || (got.Action == Deliver) != (c.to != nil) {
				t.Errorf("%v %v", got.Action, got.To)
			}
		})
	}
}

func TestStorable(t *testing.T) {
	for _, c := range []struct {
		name    string
		t       Type
		content Content
		want    bool
	}{
		{"chat with body", Chat, Content{Body: true}, true},
		{"normal with body", Normal, Content{Body: true}, true},
		{"no type with body", 0, Content{Body: true}, true},
		{"lone chat state", Chat, Content{}, false},
		{"receipt", Chat, Content{Messaging: true, Other: true}, true},
		{"lone chat state with ids", Chat, Content{Messaging: true}, false},
		{"hint store", Chat, Content{Store: true}, true},
		{"hint no-store", Chat, Content{Body: true, Store: true, NoStore: true}, false},
		{"headline", Headline, Content{Body: true}, false},
		{"groupchat", Groupchat, Content{Body: true}, false},
		{"error", Error, Content{Body: true}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if Storable(c.t, c.content) != c.want {
				t.Error(!c.want)
			}
		})
	}
}

// No message goes to a resource with a negative priority unless it was
// addressed (8.5.2.1.1), and only Deliver has addressees.
func TestNegativePriority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		on := rapid.MapOf(rapid.StringMatching("[a-c]"), rapid.Map(rapid.IntRange(-129, 127), func(p int) presence.Resource {
			if p == -129 {
				return connected()
			}
			return available(int8(p))
		})).Draw(t, "resources")
		addressed := rapid.StringMatching("[a-c]?").Draw(t, "addressed")
		got := Route(Type(rapid.IntRange(0, 5).Draw(t, "type")), addressed, on)
		if (got.Action == Deliver) != (len(got.To) > 0) || (got.Action == Bounce) != (got.Condition != "") || !slices.IsSorted(got.To) {
			t.Fatalf("%+v", got)
		}
		for _, name := range got.To {
			if r, there := on[name]; !there || name != addressed && !r.Takes() {
				t.Fatalf("%s must not get it", name)
			}
		}
	})
}
