package account

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/push"
)

// Lines of text for push services:
//
//	juliet/balcony enables push.x node [2]      of at most 2
//	juliet/balcony disables push.x node         juliet/balcony disables push.x

// pushEvent gives the event of such a line, nil of any other.
func pushEvent(resource, verb string, words []string) *event.Event {
	node := ""
	if len(words) > 1 {
		node = words[1]
	}
	switch verb {
	case "enables":
		e := &event.PushEnabled{Service: words[0], Node: node, Options: []byte("<x/>"), RequestId: "p1", Resource: resource}
		if len(words) > 2 {
			e.MaxServices = uint32(words[2][0] - '0')
		}
		return &event.Event{Kind: &event.Event_PushEnabled{PushEnabled: e}}
	case "disables":
		return &event.Event{Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{
			Service: words[0], Node: node, RequestId: "p1", Resource: resource}}}
	}
	return nil
}

// changedPush describes what was touched of push services, and what they hear.
func (s *State) changedPush(name string) (lines []string) {
	for key := range s.Changes.Push {
		text := "gone"
		if r, ok := s.Push[key]; ok {
			text = fmt.Sprintf("version %d", r.Version)
		}
		lines = append(lines, fmt.Sprintf("%s: push %s %q %s", name, key.Service, key.Node, text))
	}
	for _, p := range s.Changes.Pushes {
		lines = append(lines, fmt.Sprintf("%s: %s %q is told of %d", name, p.Service, p.Node, p.Offset))
	}
	slices.Sort(lines)
	return lines
}

func (s *State) touchPush() {
	for key := range s.Push {
		note(&s.Changes.Push, key)
	}
}

func TestXEP0357(t *testing.T) {
	const enabled = "create juliet; create romeo; juliet/balcony enables push.x n1"
	for _, c := range []struct {
		name   string
		script string
		has    []string
		hasNot []string
	}{
		{"5 enable", enabled, []string{`>> juliet: answer p1 of "balcony" from ""`, `juliet: push push.x "n1" version 3`}, []string{"told"}},
		{"5 the last options count", enabled + "; juliet enables push.x n1", []string{`juliet: push push.x "n1" version 4`}, nil},
		{"5 as many as may be", enabled + "; juliet enables push.x n2 1", []string{`>> juliet: answer p1 of "" from "" policy-violation`}, []string{"n2"}},
		{"5 one that is there may change when there are as many", enabled + "; juliet enables push.x n1 1", []string{`>> juliet: answer p1 of "" from ""`, `juliet: push push.x "n1" version 4`}, nil},
		{"6 disable a node", enabled + "; juliet enables push.x n2; juliet disables push.x n1", []string{`>> juliet: answer p1 of "" from ""`, `juliet: push push.x "n1" gone`}, []string{"n2"}},
		{"6 disable a service", enabled + "; juliet enables push.x n2; juliet disables push.x", []string{`juliet: push push.x "n1" gone`, `juliet: push push.x "n2" gone`}, nil},
		{"6 disable what is not there", enabled + "; juliet disables push.y n1", []string{`>> juliet: answer p1 of "" from ""`}, []string{"gone"}},
		{"the account goes", enabled + "; delete juliet", []string{`juliet: push push.x "n1" gone`}, nil},
		{"of no account", "create romeo; juliet enables push.x n1", nil, []string{"push", ">>"}},
		{"7 a message that waits", enabled + "; romeo/orchard -> juliet: chat hi", []string{`juliet: push.x "n1" is told of 4`}, nil},
		{"7 to each service", enabled + "; juliet enables push.y n2; romeo/orchard -> juliet: chat hi", []string{`juliet: push.x "n1" is told of 5`, `juliet: push.y "n2" is told of 5`}, nil},
		{"6 not to one that is disabled", enabled + "; juliet disables push.x; romeo/orchard -> juliet: chat hi", nil, []string{"told"}},
		{"7 not of what is not stored", enabled + "; romeo/orchard -> juliet: headline hi", nil, []string{"told"}},
		{"7 not of what a resource takes", enabled + "; juliet/balcony binds e1/3; juliet/balcony available 0; romeo/orchard -> juliet: chat hi", nil, []string{"told"}},
		{"7 when no resource takes any", enabled + "; juliet/balcony binds e1/3; juliet/balcony available -1; romeo/orchard -> juliet: chat hi", []string{`juliet: push.x "n1" is told of 6`}, nil},
		{"7 what the last resource did not take", enabled + "; juliet/balcony binds e1/3; juliet/balcony available 0; romeo/orchard -> juliet: chat hi; romeo/orchard -> juliet: chat there; juliet/balcony closes",
			[]string{`juliet: push.x "n1" is told of 8`}, []string{"told of 6"}},
		{"7 not what it took", enabled + "; juliet/balcony binds e1/3; juliet/balcony available 0; romeo/orchard -> juliet: chat hi; juliet/balcony took 6; juliet/balcony closes", nil, []string{"told"}},
		{"7 not while another takes messages", enabled + "; juliet/balcony binds e1/3; juliet/balcony available 0; juliet/phone binds e1/3; juliet/phone available 0; romeo/orchard -> juliet: chat hi; juliet/balcony closes", nil, []string{"told"}},
		{"7 not what the service says itself", enabled + "; juliet enables example.com n2; romeo/orchard -> juliet: chat hi", []string{`juliet: push.x "n1" is told of 5`}, []string{"n2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Join(newWorld().run(t, strings.Split(c.script, "; ")...), "\n")
			for _, want := range c.has {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in\n%s", want, text)
				}
			}
			for _, piece := range c.hasNot {
				if strings.Contains(text, piece) {
					t.Errorf("%q must not be there:\n%s", piece, text)
				}
			}
		})
	}
}

// What is to be told is forgotten with the changes that are written with it.
func TestPushesAreForgotten(t *testing.T) {
	s := New(bare("juliet"))
	s.Apply(1, &event.Event{Kind: &event.Event_AccountCreated{}})
	s.Apply(2, pushEvent("", "enables", []string{"push.x", "n1"}))
	s.Changes.Reset()
	s.Apply(3, &event.Event{At: 5, Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: "romeo@example.com/orchard", Message: &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Storable: true}}}})
	want := Push{push.Key{Service: "push.x", Node: "n1"}, 3, 5}
	if s.Changes.Empty() || len(s.Changes.Pushes) != 1 || s.Changes.Pushes[0] != want {
		t.Fatal(s.Changes.Pushes)
	}
	if s.Changes.Reset(); !s.Changes.Empty() || len(s.Changes.Pushes) != 0 {
		t.Error(s.Changes.Pushes)
	}
}
