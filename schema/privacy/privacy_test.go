package privacy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

var juliet = jid.MustBare("juliet@capulet.lit")

func address(s string) jid.JID { return jid.FromCanonical(s) }

// items reads rules as "deny jid romeo@montague.lit message" in their order.
func items(rules ...string) []*event.PrivacyItem {
	var all []*event.PrivacyItem
	for n, text := range rules {
		words := strings.Fields(text)
		i := &event.PrivacyItem{Allow: words[0] == "allow", Order: uint32(n + 1)}
		words = words[1:]
		if len(words) > 1 && slices.Contains([]string{"jid", "group", "subscription"}, words[0]) {
			i.Type, i.Value = words[0], words[1]
			words = words[2:]
		}
		for _, kind := range words {
			switch kind {
			case "message":
				i.Message = true
			case "iq":
				i.Iq = true
			case "in":
				i.PresenceIn = true
			case "out":
				i.PresenceOut = true
			}
		}
		all = append(all, i)
	}
	return all
}

func withDefault(rules ...string) *State {
	return &State{Lists: map[string][]*event.PrivacyItem{"l": items(rules...)}, Default: "l"}
}

func TestMatching(t *testing.T) {
	for _, c := range []struct {
		name, listed, other string
		want                bool
	}{
		{"2.1 user@domain/resource: that resource", "romeo@montague.lit/orchard", "romeo@montague.lit/orchard", true},
		{"2.1 user@domain/resource: no other", "romeo@montague.lit/orchard", "romeo@montague.lit/home", false},
		{"2.1 user@domain/resource: not the bare JID", "romeo@montague.lit/orchard", "romeo@montague.lit", false},
		{"2.1 user@domain: the bare JID", "romeo@montague.lit", "romeo@montague.lit", true},
		{"2.1 user@domain: any resource", "romeo@montague.lit", "romeo@montague.lit/home", true},
		{"2.1 user@domain: nobody else", "romeo@montague.lit", "benvolio@montague.lit", false},
		{"2.1 domain/resource: that resource", "montague.lit/gate", "montague.lit/gate", true},
		{"2.1 domain/resource: no user", "montague.lit/gate", "romeo@montague.lit/gate", false},
		{"2.1 domain/resource: not the domain", "montague.lit/gate", "montague.lit", false},
		{"2.1 domain: itself", "montague.lit", "montague.lit", true},
		{"2.1 domain: any user", "montague.lit", "romeo@montague.lit/home", true},
		{"2.1 domain: its resources", "montague.lit", "montague.lit/gate", true},
		{"2.1 domain: no subdomain", "montague.lit", "chat.montague.lit", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			blocked := Compile(juliet, &State{Blocked: []string{c.listed}}, nil)
			listed := Compile(juliet, withDefault("deny jid "+c.listed), nil)
			for _, p := range []*event.Policy{blocked, listed} {
				for _, k := range []Kind{Message, IQ, PresenceIn, PresenceOut, Subscription, Sent} {
					if Allows(p, k, "balcony", address(c.other)) == c.want {
						t.Errorf("kind %b of %v with %s passes: %v", k, p, c.other, c.want)
					}
				}
			}
			if New(blocked).Blocks(address(c.other)) != c.want {
				t.Errorf("Blocks(%s) is not %v", c.other, c.want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	in := func(state subscription.State, groups ...string) roster.Item {
		return roster.Item{State: state, Groups: groups}
	}
	contacts := map[jid.Bare]roster.Item{
		jid.MustBare("both@m"): in(subscription.Both, "Friends"), jid.MustBare("to@m"): in(subscription.To | subscription.PendingIn),
		jid.MustBare("from@m"): in(subscription.From, "Friends", "Enemies"), jid.MustBare("none@m"): in(subscription.None, "Enemies"),
		jid.MustBare("gone@m"): {Removed: true}, jid.MustBare("asks@m"): {Removed: true, State: subscription.PendingIn},
	}
	names := []string{"asks", "both", "from", "gone", "none", "stranger", "to"}
	for _, c := range []struct {
		name  string
		rules []string
		kind  Kind
		deny  []string
	}{
		{"2.1 subscription both is exact", []string{"deny subscription both"}, Message, []string{"both"}},
		{"2.1 subscription to", []string{"deny subscription to"}, Message, []string{"to"}},
		{"2.1 subscription from", []string{"deny subscription from"}, Message, []string{"from"}},
		{"2.1 none is also who is not in the roster", []string{"deny subscription none"}, Message, []string{"asks", "gone", "none", "stranger"}},
		{"2.1 group", []string{"deny group Enemies"}, Message, []string{"from", "none"}},
		{"2.1 without a type it is for all", []string{"deny"}, Message, names},
		{"2.1 message is for messages that come", []string{"deny message"}, Message, names},
		{"2.1 message is not for what goes", []string{"deny message"}, Sent, nil},
		{"2.1 message is not for iqs", []string{"deny message"}, IQ, nil},
		{"2.12 iq", []string{"deny iq"}, IQ, names},
		{"2.10 presence-in", []string{"deny in"}, PresenceIn, names},
		{"2.10 presence-in is not for presence that goes", []string{"deny in"}, PresenceOut, nil},
		{"2.10 presence-in is not for subscriptions", []string{"deny in"}, Subscription, nil},
		{"2.11 presence-out", []string{"deny out"}, PresenceOut, names},
		{"2.11 presence-out is not for subscriptions", []string{"deny out"}, Subscription, nil},
		{"2.13 all is for subscriptions too", []string{"deny group Enemies"}, Subscription, []string{"from", "none"}},
		{"2.13 all is for what goes too", []string{"deny group Enemies"}, Sent, []string{"from", "none"}},
		{"2.2 rule 6: the first that matches decides", []string{"allow group Friends", "deny group Enemies"}, Message, []string{"none"}},
		{"2.2 rule 6: one of another kind does not match", []string{"allow iq", "deny message"}, Message, names},
		{"2.2 rule 7: else allow", []string{"deny subscription both", "allow jid both@m"}, Message, []string{"both"}},
		{"2.3 private", []string{"allow subscription both", "deny"}, PresenceIn, []string{"asks", "from", "gone", "none", "stranger", "to"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(Compile(juliet, withDefault(c.rules...), contacts))
			var denied []string
			for _, name := range names {
				if !p.Allows(c.kind, "balcony", address(name+"@m/r")) {
					denied = append(denied, name)
				}
			}
			if !slices.Equal(denied, c.deny) {
				t.Errorf("denied are %v, not %v", denied, c.deny)
			}
		})
	}
}

func TestWhichList(t *testing.T) {
	s := &State{
		Blocked: []string{"tybalt@m"},
		Lists: map[string][]*event.PrivacyItem{
			"public": items("deny jid paris@m"), "special": items("allow jid romeo@m", "deny"),
		},
		Default:  "public",
		Sessions: map[string]Session{"balcony": {Active: "special"}, "crypt": {Invisible: true}},
	}
	p := New(Compile(juliet, s, nil))
	for _, c := range []struct {
		name, resource, other string
		want                  bool
	}{
		{"2.2 rule 1: the active list alone", "balcony", "nurse@m", false},
		{"2.2 rule 1: it lets through what the default does not say", "balcony", "romeo@m", true},
		{"2.2 rule 1: no layering", "balcony", "paris@m", false},
		{"2.2 rule 2: the default for other sessions", "chamber", "paris@m", false},
		{"2.2 rule 2: the default for other sessions, what it allows", "chamber", "nurse@m", true},
		{"2.2 rule 2: the default without a session", "", "paris@m", false},
		{"0191 the block list for every session", "balcony", "tybalt@m", false},
		{"0191 the block list without a session", "", "tybalt@m", false},
		{"2.1 note: never between one's own resources", "balcony", "juliet@capulet.lit/chamber", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p.Allows(Message, c.resource, address(c.other)) != c.want {
				t.Errorf("%s passes: %v", c.other, !c.want)
			}
		})
	}
	t.Run("0186 3.1: invisible to everybody", func(t *testing.T) {
		if !p.Hides("crypt", address("nurse@m")) || p.Hides("chamber", address("nurse@m")) {
			t.Error("not the invisible session alone is hidden")
		}
		if p.Hides("crypt", address("juliet@capulet.lit/chamber")) {
			t.Error("hidden from the account itself")
		}
	})
	t.Run("0186 3.1.1: directed presence, messages and iqs pass", func(t *testing.T) {
		for _, k := range []Kind{PresenceOut, PresenceIn, Message, IQ, Sent} {
			if !p.Allows(k, "crypt", address("nurse@m")) {
				t.Errorf("kind %b is denied", k)
			}
		}
	})
}

func TestNothing(t *testing.T) {
	for _, s := range []*State{nil, {Lists: map[string][]*event.PrivacyItem{"unused": items("deny")}}} {
		if p := Compile(juliet, s, nil); p != nil {
			t.Errorf("2.2 rule 3: without a list in use there is the policy %v", p)
		}
	}
	if !Allows(nil, Message, "r", address("romeo@m")) || Hides(nil, "r", address("romeo@m")) || New(nil) != nil {
		t.Error("nil denies something")
	}
	if (*Compiled)(nil).Concerns(every, jid.MustBare("romeo@m")) || (*Compiled)(nil).Policy() != nil || (*Compiled)(nil).Blocks(address("romeo@m")) {
		t.Error("nil denies something")
	}
}

func TestBlock(t *testing.T) {
	block := func(s *State, c *event.BlockListChanged) (*State, *event.BlockListPush) {
		t.Helper()
		next, push, condition := s.Block(c)
		if condition != "" {
			t.Fatal(condition)
		}
		return next, push
	}
	var s *State
	s, push := block(s, &event.BlockListChanged{Blocked: []string{"romeo@m", "b@m", "romeo@m"}})
	if !slices.Equal(s.Blocked, []string{"b@m", "romeo@m"}) || !slices.Equal(push.GetBlocked(), []string{"romeo@m", "b@m"}) {
		t.Errorf("3.3 block: %v, push %v", s.Blocked, push)
	}
	if same, push := block(s, &event.BlockListChanged{Blocked: []string{"b@m"}, Unblocked: []string{"x@m"}}); same != s || push != nil {
		t.Errorf("3.3 nothing new: push %v", push)
	}
	before := s
	s, push = block(s, &event.BlockListChanged{Unblocked: []string{"b@m"}})
	if !slices.Equal(s.Blocked, []string{"romeo@m"}) || !slices.Equal(push.GetUnblocked(), []string{"b@m"}) || len(before.Blocked) != 2 {
		t.Errorf("3.4 unblock: %v, push %v", s.Blocked, push)
	}
	if s, push = block(s, &event.BlockListChanged{UnblockedAll: true}); s != nil || !push.GetUnblockedAll() {
		t.Errorf("3.5 unblock all: %v, push %v", s, push)
	}
	var many []string
	for i := range MaxBlocked {
		many = append(many, fmt.Sprintf("u%05d@m", i))
	}
	s, _ = block(nil, &event.BlockListChanged{Blocked: many})
	if same, _, condition := s.Block(&event.BlockListChanged{Blocked: []string{"one@more"}}); condition != TooMany || same != s {
		t.Errorf("one JID too many: %q", condition)
	}
}

func TestSetList(t *testing.T) {
	public := &event.PrivacyListChanged{Name: "public", Items: items("deny jid a@m", "allow"), Resource: "orchard"}
	slices.Reverse(public.Items)
	s, condition := (*State)(nil).SetList(public, nil)
	if condition != "" || len(s.Lists["public"]) != 2 || s.Lists["public"][0].GetAllow() {
		t.Fatalf("2.2 rule 5: not in ascending order: %v %q", s, condition)
	}
	twice := &event.PrivacyListChanged{Name: "x", Items: []*event.PrivacyItem{{Order: 1}, {Order: 1, Allow: true}}}
	for name, c := range map[string]*event.PrivacyListChanged{
		"2.1 an order twice":        twice,
		"2.1 an unknown type":       {Name: "x", Items: []*event.PrivacyItem{{Type: "domain", Value: "m"}}},
		"2.1 no such subscription":  {Name: "x", Items: []*event.PrivacyItem{{Type: "subscription", Value: "ask"}}},
		"2.1 a jid without a value": {Name: "x", Items: []*event.PrivacyItem{{Type: "jid"}}},
		"2.1 a value without type":  {Name: "x", Items: []*event.PrivacyItem{{Value: "a@m"}}},
		"a list without a name":     {Items: items("deny")},
	} {
		if same, condition := s.SetList(c, nil); condition != Malformed || same != s {
			t.Errorf("%s: %q", name, condition)
		}
	}
	remove := &event.PrivacyListChanged{Name: "public", Resource: "orchard"}
	if _, condition := s.SetList(&event.PrivacyListChanged{Name: "no"}, nil); condition != NotFound {
		t.Errorf("2.8 a list that is not there: %q", condition)
	}
	active := &State{Lists: s.Lists, Sessions: map[string]Session{"home": {Active: "public"}}}
	if same, condition := active.SetList(remove, []string{"home", "orchard"}); condition != InUse || same != active {
		t.Errorf("2.8 another session's active list: %q", condition)
	}
	def := &State{Lists: s.Lists, Default: "public"}
	if _, condition := def.SetList(remove, []string{"home", "orchard"}); condition != InUse {
		t.Errorf("2.8 the default that counts for another session: %q", condition)
	}
	if next, condition := def.SetList(remove, []string{"orchard"}); condition != "" || next != nil {
		t.Errorf("2.8 one's own list: %v %q", next, condition)
	}
	other := items("deny")
	elsewhere := &State{Lists: map[string][]*event.PrivacyItem{"public": s.Lists["public"], "o": other}, Default: "public", Sessions: map[string]Session{"home": {Active: "o"}}}
	if next, condition := elsewhere.SetList(remove, []string{"home", "orchard"}); condition != "" || next.Default != "" || next.Lists["o"] == nil {
		t.Errorf("2.8 the default that counts for nobody else: %v %q", next, condition)
	}
	full := &State{Lists: make(map[string][]*event.PrivacyItem)}
	for i := range MaxLists {
		full.Lists[fmt.Sprint(i)] = other
	}
	if _, condition := full.SetList(public, nil); condition != TooMany {
		t.Errorf("one list too many: %q", condition)
	}
	if _, condition := full.SetList(&event.PrivacyListChanged{Name: "1", Items: other}, nil); condition != "" {
		t.Errorf("2.7 a list is overwritten: %q", condition)
	}
}

func TestChoose(t *testing.T) {
	s := &State{Lists: map[string][]*event.PrivacyItem{"a": items("deny"), "b": items("allow")}}
	choose := func(s *State, c *event.PrivacyListChosen, connected ...string) (*State, string) {
		return s.Choose(c, connected)
	}
	if _, condition := choose(s, &event.PrivacyListChosen{Name: "x", Resource: "r"}); condition != NotFound {
		t.Errorf("2.4 no such list: %q", condition)
	}
	if _, condition := choose(nil, &event.PrivacyListChosen{Name: "x", Default: true}); condition != NotFound {
		t.Errorf("2.5 no such list: %q", condition)
	}
	active, condition := choose(s, &event.PrivacyListChosen{Name: "a", Resource: "r"}, "r", "other")
	if condition != "" || active.Sessions["r"].Active != "a" || s.Sessions != nil {
		t.Errorf("2.4 active: %v %q", active, condition)
	}
	if declined, condition := choose(active, &event.PrivacyListChosen{Resource: "r"}); condition != "" || len(declined.Sessions) != 0 {
		t.Errorf("2.4 declined: %v %q", declined, condition)
	}
	def, condition := choose(s, &event.PrivacyListChosen{Name: "a", Default: true, Resource: "r"}, "r", "other")
	if condition != "" || def.Default != "a" {
		t.Errorf("2.5 the first default: %v %q", def, condition)
	}
	for _, name := range []string{"b", ""} {
		c := &event.PrivacyListChosen{Name: name, Default: true, Resource: "r"}
		if same, condition := choose(def, c, "r", "other"); condition != InUse || same != def {
			t.Errorf("2.5 default to %q while it counts for another: %q", name, condition)
		}
		if next, condition := choose(def, c, "r"); condition != "" || next.Default != name {
			t.Errorf("2.5 default to %q: %v %q", name, next, condition)
		}
		busy := &State{Lists: def.Lists, Default: "a", Sessions: map[string]Session{"other": {Active: "b"}}}
		if _, condition := choose(busy, c, "r", "other"); condition != "" {
			t.Errorf("2.5 default to %q while another has a list of its own: %q", name, condition)
		}
	}
	if same, condition := choose(def, &event.PrivacyListChosen{Name: "a", Default: true, Resource: "r"}, "r", "other"); same != def || condition != "" {
		t.Errorf("2.5 the default again: %q", condition)
	}
}

func TestVisible(t *testing.T) {
	at := time.Unix(7, 0).UTC()
	s := (*State)(nil).Visible("r", false, at)
	if x := s.Session("r"); !x.Invisible || x.Since != at {
		t.Errorf("0186 3.1: %+v", x)
	}
	if s.Visible("r", false, at.Add(1)) != s {
		t.Error("0186 invisible twice is a change")
	}
	if s.Visible("r", true, at) != nil || s.Ended("r") != nil || s.Ended("other") != s {
		t.Error("0186 2: invisibility outlives its session")
	}
}

func TestStored(t *testing.T) {
	s := &State{
		Blocked: []string{"a@m", "b@m"}, Lists: map[string][]*event.PrivacyItem{"x": items("deny jid q@m iq"), "y": items("allow")}, Default: "y",
		Sessions: map[string]Session{"r": {Active: "x"}, "i": {Invisible: true, Since: time.UnixMicro(5).UTC()}},
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s.Proto())
	if err != nil {
		t.Fatal(err)
	}
	p := new(event.Privacy)
	if err := proto.Unmarshal(b, p); err != nil {
		t.Fatal(err)
	}
	back := FromProto(p)
	if !proto.Equal(back.Proto(), s.Proto()) || back.Sessions["i"] != s.Sessions["i"] || back.Sessions["r"] != s.Sessions["r"] {
		t.Errorf("stored %v, read %v", s, back)
	}
	if (*State)(nil).Proto() != nil || FromProto(nil) != nil {
		t.Error("nothing is something")
	}
}

func TestRoute(t *testing.T) {
	resources := map[string]presence.Resource{
		"a": {Name: "a", Available: true}, "b": {Name: "b", Available: true}, "c": {Name: "c"},
	}
	s := &State{
		Blocked: []string{"tybalt@m"}, Lists: map[string][]*event.PrivacyItem{"l": items("deny jid paris@m message")},
		Sessions: map[string]Session{"a": {Active: "l"}},
	}
	c := New(Compile(juliet, s, nil))
	for _, x := range []struct {
		name, from, to string
		t              message.Type
		none           bool // nobody is there
		want           string
	}{
		{"0191 3.3 a message is answered with service-unavailable", "tybalt@m/r", "", message.Chat, false, "bounce [] service-unavailable"},
		{"0191 3.3 to a full JID", "tybalt@m/r", "b", message.Normal, false, "bounce [] service-unavailable"},
		{"0191 3.3 to nobody", "tybalt@m/r", "", message.Chat, true, "bounce [] service-unavailable"},
		{"0191 3.3 a headline is ignored", "tybalt@m/r", "", message.Headline, false, "ignore [] "},
		{"0191 3.3 an error is ignored", "tybalt@m/r", "b", message.Error, false, "ignore [] "},
		{"0016 2.2 rule 1 by the list of each session", "paris@m/r", "", message.Chat, false, "deliver [b] "},
		{"0016 2.14 by the list of the addressed", "paris@m/r", "a", message.Chat, false, "bounce [] service-unavailable"},
		{"0016 2.2 rule 2 without a session by the default", "paris@m/r", "", message.Chat, true, "store [] "},
		{"others as ever", "romeo@m/r", "", message.Chat, false, "deliver [a b] "},
		{"others as ever, to who is not there", "romeo@m/r", "x", message.Normal, false, "bounce [] service-unavailable"},
	} {
		t.Run(x.name, func(t *testing.T) {
			there := resources
			if x.none {
				there = nil
			}
			d := c.Route(x.t, x.to, address(x.from), there)
			if got := fmt.Sprint(d.Action, " ", d.To, " ", d.Condition); got != x.want {
				t.Errorf("%s, not %s", got, x.want)
			}
		})
	}
	if d := (*Compiled)(nil).Route(message.Chat, "", address("tybalt@m"), resources); len(d.To) != 2 {
		t.Errorf("without a policy: %v", d)
	}
}
