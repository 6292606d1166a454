package account

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/subscription"
)

// Lines of text for what an account lets through:
//
//	juliet/balcony blocks romeo nurse/x    juliet/balcony unblocks romeo    juliet/balcony unblocks
//	juliet/balcony lists foes deny jid romeo message ; allow group Friends ; deny
//	juliet/balcony unlists foes
//	juliet/balcony activates foes          juliet/balcony activates
//	juliet/balcony defaults foes           juliet/balcony defaults
//	juliet/balcony hides                   juliet/balcony appears

// privacyEvent gives the event of such a line.
func privacyEvent(resource, verb string, words []string) *event.Event {
	name := strings.Join(words[:min(1, len(words))], "")
	switch verb {
	case "blocks", "unblocks":
		c := &event.BlockListChanged{RequestId: "p1", Resource: resource, UnblockedAll: verb == "unblocks" && len(words) == 0}
		for _, w := range words {
			if verb == "blocks" {
				c.Blocked = append(c.Blocked, address(w))
			} else {
				c.Unblocked = append(c.Unblocked, address(w))
			}
		}
		return &event.Event{Kind: &event.Event_BlockListChanged{BlockListChanged: c}}
	case "lists", "unlists":
		c := &event.PrivacyListChanged{Name: name, RequestId: "p1", Resource: resource}
		if verb == "lists" {
			c.Items = privacyItems(strings.Join(words[1:], " "))
		}
		return &event.Event{Kind: &event.Event_PrivacyListChanged{PrivacyListChanged: c}}
	case "activates", "defaults":
		return &event.Event{Kind: &event.Event_PrivacyListChosen{PrivacyListChosen: &event.PrivacyListChosen{
			Name: name, Default: verb == "defaults", RequestId: "p1", Resource: resource,
		}}}
	case "hides", "appears":
		return &event.Event{Kind: &event.Event_VisibilityChanged{VisibilityChanged: &event.VisibilityChanged{
			Resource: resource, Invisible: verb == "hides", RequestId: "p1",
		}}}
	}
	return nil
}

func privacyItems(text string) (items []*event.PrivacyItem) {
	for n, rule := range strings.Split(text, ";") {
		words := strings.Fields(rule)
		i := &event.PrivacyItem{Allow: words[0] == "allow", Order: uint32(n)}
		if len(words) > 2 {
			i.Type, i.Value = words[1], words[2]
			if i.Type == "jid" {
				i.Value = address(i.Value)
			}
			words = words[2:]
		}
		for _, kind := range words[1:] {
			i.Message, i.Iq = i.Message || kind == "message", i.Iq || kind == "iq"
			i.PresenceIn, i.PresenceOut = i.PresenceIn || kind == "in", i.PresenceOut || kind == "out"
		}
		items = append(items, i)
	}
	return items
}

func shortAll(addresses []string) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, short(a))
	}
	return all
}

// changedPrivacy describes what was touched of privacy.
func (s *State) changedPrivacy(name string) (lines []string) {
	if s.Changes.Privacy {
		text := "lets everything through"
		if p := s.Privacy; p != nil {
			text = fmt.Sprintf("blocks %v, lists %v, default %q", shortAll(p.Blocked), p.Names(), p.Default)
			for _, r := range slices.Sorted(maps.Keys(p.Sessions)) {
				text += fmt.Sprintf(", %s %q invisible %v", r, p.Sessions[r].Active, p.Sessions[r].Invisible)
			}
		}
		lines = append(lines, name+": "+text)
	}
	for _, h := range slices.SortedFunc(maps.Keys(s.Changes.Hidden), compareHidden) {
		state := "visible to"
		if _, ok := s.Hidden[h]; ok {
			state = "hidden from"
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s/%s: %s %s", name, h.Resource, state, short(h.Viewer)), " "))
	}
	for _, contact := range slices.SortedFunc(maps.Keys(s.Changes.Refused), jid.Compare) {
		state := "takes in"
		if _, ok := s.Refused[contact]; ok {
			state = "refuses"
		}
		lines = append(lines, fmt.Sprintf("%s: %s %s", name, state, short(contact.String())))
	}
	return lines
}

func compareHidden(a, b Hidden) int {
	return strings.Compare(a.Resource+"\x00"+a.Viewer, b.Resource+"\x00"+b.Viewer)
}

func (s *State) touchPrivacy() {
	s.Changes.Privacy = s.Privacy != nil
	for h := range s.Hidden {
		note(&s.Changes.Hidden, h)
	}
	for contact := range s.Refused {
		note(&s.Changes.Refused, contact)
	}
}

// describePrivacy tells of an output of this part, empty for any other.
func describePrivacy(o *event.Output) string {
	switch k := o.GetKind().(type) {
	case *event.Output_PolicyChanged:
		return fmt.Sprintf("policy as of %d", k.PolicyChanged.GetVersion())
	case *event.Output_BlockListPush:
		p := k.BlockListPush
		return fmt.Sprintf("blocked %v, unblocked %v, all %v", shortAll(p.GetBlocked()), shortAll(p.GetUnblocked()), p.GetUnblockedAll())
	case *event.Output_PrivacyListPush:
		return "list " + k.PrivacyListPush.GetName() + " changed"
	}
	return ""
}

// anyPrivacyLine draws a line about privacy for a world of three accounts.
func anyPrivacyLine(t *rapid.T) string {
	who := rapid.SampledFrom([]string{"juliet/a", "juliet/b", "romeo/a", "romeo/b"}).Draw(t, "who")
	other := rapid.SampledFrom([]string{"juliet", "romeo", "nurse", "romeo/a", "nurse/b"}).Draw(t, "other")
	return who + " " + rapid.SampledFrom([]string{
		"blocks " + other, "blocks " + other, "unblocks " + other, "unblocks",
		"lists one deny jid " + other + " ; allow subscription both ; deny out", "lists two allow group Friends ; deny subscription from message",
		"unlists one", "activates one", "activates two", "activates", "defaults one", "defaults two", "defaults", "hides", "hides", "appears",
	}).Draw(t, "privacy")
}

// What is kept of privacy is what follows from the rest of the state, whatever
// happened; nobody who must get no presence is noted as one who got some.
func TestPrivacyFollows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		play(t, w, []string{"create juliet", "create romeo", "create nurse"})
		line := rapid.OneOf(rapid.Custom(anyLine), rapid.Custom(anyPrivacyLine), rapid.Just("juliet sets romeo R Friends"))
		for range rapid.IntRange(0, 60).Draw(t, "lines") {
			play(t, w, []string{line.Draw(t, "line")})
			for _, s := range w.states {
				fresh := privacy.New(privacy.Compile(s.Account, s.Privacy, s.Roster))
				if !proto.Equal(s.Policy().Policy(), fresh.Policy()) {
					t.Fatalf("the policy of %s is %v, not %v", s.Account, s.Policy().Policy(), fresh.Policy())
				}
				hidden := make(map[Hidden]struct{})
				for name := range s.Resources {
					if fresh.Invisible(name) {
						hidden[Hidden{Resource: name}] = struct{}{}
						continue
					}
					for contact, i := range s.Roster {
						if i.State&subscription.From != 0 && !i.Removed && fresh.Hides(name, contact.JID()) {
							hidden[Hidden{name, contact.String()}] = struct{}{}
						}
					}
				}
				for contact, i := range s.Roster {
					_, refused := s.Refused[contact]
					if refused != (!i.Removed && i.State&subscription.To != 0 && !fresh.Allows(privacy.PresenceIn, "", contact.JID())) {
						t.Fatalf("%s refuses %s: %v", s.Account, contact, refused)
					}
				}
				if !maps.Equal(hidden, s.Hidden) {
					t.Fatalf("hidden of %s is %v, not %v", s.Account, s.Hidden, hidden)
				}
				for name, targets := range s.Directed {
					for target := range targets {
						if !fresh.Allows(privacy.PresenceOut, name, jid.FromCanonical(target)) {
							t.Fatalf("%s/%s has directed presence to %s", s.Account, name, target)
						}
					}
				}
				for name := range s.Privacy.Proto().GetSessions() {
					if resource := s.Privacy.Proto().GetSessions()[name].GetResource(); s.Resources[resource].Name == "" {
						t.Fatalf("%s/%s is gone, what its session had is not", s.Account, resource)
					}
				}
				if !s.Exists && s.Privacy != nil {
					t.Fatalf("%s has lists and does not exist", s.Account)
				}
			}
		}
	})
}
