package edge

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

func TestRFC6121_2_6_3_WhatChangedSince(t *testing.T) {
	const tag = "-a"
	r := &Roster{Created: 3, CreatedAt: 10 + 5*36*36*36*36*36, Purged: 20}
	for i := range 40 {
		it := &event.RosterItem{Contact: fmt.Sprintf("contact%d@example.com", i), Name: "Somebody", Groups: []string{"Friends"}}
		r.Items = append(r.Items, RosterItem{RosterItem: it, Version: int64(100 - i)})
	}
	r.Items[5].RosterItem = &event.RosterItem{Contact: "contact5@example.com", Removed: true}
	r.Items = append(r.Items, RosterItem{RosterItem: &event.RosterItem{Contact: "asks@example.com", PendingIn: true, Removed: true}})
	if r.tag() != tag[1:] || r.current() != 100 {
		t.Fatal(r.tag(), r.current())
	}
	for _, c := range []struct {
		ver     string
		changed string // versions, "whole" if all of it is needed
	}{
		{"100" + tag, "[]"},
		{"98" + tag, "[99 100]"},
		{"94" + tag, "[95 96 97 98 99 100]"},
		{"60" + tag, "whole"}, // as pushes it is larger
		{"19" + tag, "whole"}, // a tombstone may be missing
		{"101" + tag, "whole"},
		{"2" + tag, "whole"},
		{"-1" + tag, "whole"},
		{"099" + tag, "whole"},
		{"98-b", "whole"}, // of another account of this name
		{"98", "whole"},
		{"ver98", "whole"},
		{"", "whole"},
	} {
		t.Run(c.ver, func(t *testing.T) {
			changed, ok := r.since(c.ver)
			got := "whole"
			if ok {
				versions := []int64{}
				for _, it := range changed {
					versions = append(versions, it.Version)
				}
				got = fmt.Sprint(versions)
			}
			if got != c.changed {
				t.Errorf("%s, want %s", got, c.changed)
			}
		})
	}
	quiet := &Roster{Created: 7, Items: []RosterItem{{RosterItem: &event.RosterItem{Contact: "asks@example.com", PendingIn: true, Removed: true}}}}
	if changed, ok := quiet.since(versionText(7, quiet.tag())); !ok || len(changed) > 0 {
		t.Errorf("of an empty roster: %v %v", changed, ok)
	}
	purged := &Roster{Created: 7, Purged: 9}
	if _, ok := purged.since(versionText(8, purged.tag())); ok || purged.current() != 9 {
		t.Errorf("whoever missed a removal keeps the item")
	}
	if _, ok := purged.since(versionText(9, purged.tag())); !ok {
		t.Errorf("nothing changed since")
	}
}
