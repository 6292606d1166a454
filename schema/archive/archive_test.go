package archive

import (
	"slices"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

const (
	always = event.ArchivePreferencesSet_DEFAULT_ALWAYS
	never  = event.ArchivePreferencesSet_DEFAULT_NEVER
	roster = event.ArchivePreferencesSet_DEFAULT_ROSTER
)

func TestKeeps(t *testing.T) {
	lists := func(d event.ArchivePreferencesSet_Default) *Preferences {
		return Set(7, &event.ArchivePreferencesSet{Default: d, Always: []string{"a@x", "n@x/but", "both@x"}, Never: []string{"n@x", "a@x/not", "both@x", "n@x"}})
	}
	for _, c := range []struct {
		name   string
		p      *Preferences
		other  string
		roster bool
		want   bool
	}{
		{"nothing is set", nil, "b@x", false, true},
		{"2.1.1 always", lists(always), "b@x/r", false, true},
		{"2.1.1 never", lists(never), "b@x/r", true, false},
		{"2.1.1 roster, in it", lists(roster), "b@x/r", true, true},
		{"2.1.1 roster, not in it", lists(roster), "b@x/r", false, false},
		{"2.1.2 listed always", lists(never), "a@x", false, true},
		{"2.1.2 listed always, roster", lists(roster), "a@x", false, true},
		{"2.1.3 listed never", lists(always), "n@x", true, false},
		{"2.1.3 listed never, roster", lists(roster), "n@x", true, false},
		{"2.3.1 a bare JID is for its resources", lists(never), "a@x/r", false, true},
		{"2.3.1 a bare JID is for its resources, never", lists(always), "n@x/r", true, false},
		{"2.3.1 a full JID is for itself", lists(always), "n@x/but", true, true},
		{"2.3.1 a full JID is for itself, never", lists(never), "a@x/not", true, false},
		{"in both lists", lists(always), "both@x", true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.p.Keeps(jid.FromCanonical(c.other), c.roster); got != c.want {
				t.Errorf("%s in roster %t: %t", c.other, c.roster, got)
			}
		})
	}
}

func TestSet(t *testing.T) {
	for _, nothing := range []*event.ArchivePreferencesSet{{}, {Default: always}} {
		if p := Set(7, nothing); p != nil {
			t.Errorf("%v sets %v", nothing, p)
		}
	}
	p := Set(7, &event.ArchivePreferencesSet{Never: []string{"c@x", "b@x", "c@x"}})
	if p.Version != 7 || p.Default != always || p.Always != nil || !slices.Equal(p.Never, []string{"b@x", "c@x"}) {
		t.Errorf("%+v", p)
	}
}
