package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
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

// A push that the roster has already is dropped, one that came while it was
// being read waits.
func TestRFC6121_2_6_3_LatePushes(t *testing.T) {
	c := &counted{writes: make(chan string, 10)}
	x := &session{full: "juliet@example.com/balcony", interested: true, reading: true}
	x.out.conn, x.out.limits = c, &outboundLimits{soft: 1 << 16, hard: 1 << 20, timeout: time.Minute, metrics: newMetrics(nil)}
	push := func(version int64) {
		x.pushRoster(&event.RosterPush{Item: &event.RosterItem{Contact: fmt.Sprintf("c%d@example.com", version)}, Version: version})
	}
	push(9)
	push(12)
	if len(x.early) != 2 || len(c.writes) > 0 {
		t.Fatalf("while the roster is read: %d wait, %d are written", len(x.early), len(c.writes))
	}
	x.giveRoster(&stanza.Stanza{Header: stanza.Header{ID: "g"}}, stanza.New(stanza.NSRoster, "query"), &Roster{NextOffset: 11}, nil)
	push(10)
	push(11)
	var got string
	for strings.Count(got, "<item") < 2 {
		got += <-c.writes
	}
	if strings.Contains(got, "c9@") || strings.Contains(got, "c10@") || strings.Index(got, "c12@") > strings.Index(got, "c11@") {
		t.Error(got)
	}
}
