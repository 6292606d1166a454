package account

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

// Lines of text for archives:
//
//	juliet/balcony keeps roster always romeo,nurse/phone never tybalt

// archiveEvent gives the event of such a line, nil of any other.
func archiveEvent(resource, verb string, words []string) *event.Event {
	if verb != "keeps" {
		return nil
	}
	e := &event.ArchivePreferencesSet{
		Default:   event.ArchivePreferencesSet_Default(event.ArchivePreferencesSet_Default_value["DEFAULT_"+strings.ToUpper(words[0])]),
		RequestId: "a1", Resource: resource,
	}
	for i := 1; i+1 < len(words); i += 2 {
		for _, j := range strings.Split(words[i+1], ",") {
			if words[i] == "always" {
				e.Always = append(e.Always, address(j))
			} else {
				e.Never = append(e.Never, address(j))
			}
		}
	}
	return &event.Event{Kind: &event.Event_ArchivePreferencesSet{ArchivePreferencesSet: e}}
}

// changedArchive describes what was touched of preferences.
func (s *State) changedArchive(name string) []string {
	switch {
	case !s.Changes.Archive:
		return nil
	case s.Archive == nil:
		return []string{name + ": archive keeps all"}
	}
	p := s.Archive
	return []string{fmt.Sprintf("%s: archive keeps %s always %v never %v, version %d", name, p.Default, p.Always, p.Never, p.Version)}
}

func TestXEP0441(t *testing.T) {
	const friends = "create juliet; create romeo; juliet/balcony sets romeo Romeo; "
	const juliets = "=> juliet: message 5 from romeo/orchard of 5 is withheld: preferences"
	for _, c := range []struct {
		name   string
		script string
		has    []string
		hasNot []string
	}{
		{"2.1 set", "create juliet; juliet/balcony keeps roster always romeo never nurse/phone,tybalt",
			[]string{`>> juliet: answer a1 of "balcony" from ""`, "juliet: archive keeps DEFAULT_ROSTER always [romeo@example.com] never [nurse@example.com/phone tybalt@example.com], version 2"}, nil},
		{"2.1 set back", "create juliet; juliet/balcony keeps never; juliet/balcony keeps always", []string{"juliet: archive keeps all"}, nil},
		{"2.1 the account goes", "create juliet; juliet/balcony keeps never; delete juliet", []string{"juliet: archive keeps all"}, nil},
		{"2.1 of no account", "create romeo; juliet/balcony keeps never", nil, []string{"archive", ">>"}},
		{"2.1.1 nothing is set", friends + "create nurse; romeo/orchard -> juliet: chat hi", nil, []string{"withheld"}},
		{"2.1.1 never: what is received", friends + "juliet/balcony keeps never; romeo/orchard -> juliet: chat hi", []string{juliets}, []string{"=> romeo: message"}},
		{"2.1.1 never: what is sent", friends + "juliet/balcony keeps never; juliet/balcony -> romeo: chat hi", []string{"=> juliet: message 6 from romeo of 5 is withheld: preferences"}, []string{"=> romeo: message"}},
		{"2.1.1 roster: who is in it", friends + "juliet/balcony keeps roster; romeo/orchard -> juliet: chat hi; juliet -> romeo: chat hi", nil, []string{"withheld"}},
		{"2.1.1 roster: who is not", "create juliet; create romeo; create nurse; juliet/balcony keeps roster; romeo/orchard -> juliet: chat hi", []string{juliets}, nil},
		{"2.1.1 roster: who asks to be", "create juliet; create romeo; juliet/balcony keeps roster; romeo -> juliet: subscribe; romeo/orchard -> juliet: chat hi", []string{"=> juliet: message 6 from romeo/orchard of 6 is withheld: preferences"}, nil},
		{"2.1.2 always", friends + "juliet/balcony keeps never always romeo; romeo/orchard -> juliet: chat hi; juliet -> romeo: chat hi", nil, []string{"withheld"}},
		{"2.1.3 never", friends + "juliet/balcony keeps always never romeo; romeo/orchard -> juliet: chat hi", []string{juliets}, nil},
		{"2.3.2 to a full JID", friends + "juliet/balcony keeps always never romeo/orchard; juliet -> romeo: chat hi; juliet -> romeo/orchard: chat hi", []string{"=> juliet: message 8 from romeo/orchard of 7 is withheld: preferences"}, []string{"message 6 from romeo of"}},
		{"2.3.3 from a full JID", friends + "juliet/balcony keeps always never romeo/orchard; romeo/phone -> juliet: chat hi; romeo/orchard -> juliet: chat hi", []string{"=> juliet: message 7 from romeo/orchard of 7 is withheld: preferences"}, []string{"is withheld: refused", "message 5 from romeo/phone of"}},
		{"what no archive has needs no word", friends + "juliet/balcony keeps never; romeo/orchard -> juliet: headline hi", nil, []string{"withheld"}},
		{"what was said before stays", friends + "romeo/orchard -> juliet: chat hi; juliet/balcony keeps never", nil, []string{"withheld"}},
		{"it is delivered all the same", friends + "juliet/balcony keeps never; romeo/orchard -> juliet: chat hi", []string{`juliet: message 5 from romeo/orchard waits: "hi"`, `=> romeo: "orchard" sent "hi" to juliet`}, nil},
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
