package docs

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// Every kind of event is told in EVENTS.md, and no other.
func TestEventsTellsEveryKind(t *testing.T) {
	text, err := os.ReadFile("EVENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	var told, kinds []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^|]+ \\|$").FindAllSubmatch(text, -1) {
		if name := string(row[1]); name != "id" && name != "at" && name != "origin" && name != "binding" { // the envelope's
			told = append(told, name)
		}
	}
	fields := (&event.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	for i := range fields.Len() {
		kinds = append(kinds, string(fields.Get(i).Name()))
	}
	slices.Sort(told)
	slices.Sort(kinds)
	if !slices.Equal(told, kinds) {
		t.Errorf("EVENTS.md tells %q, the schema has %q", told, kinds)
	}
}

// Who computes partitions may check them by these.
func TestPartitionsInEvents(t *testing.T) {
	text, err := os.ReadFile("EVENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+@[^`]+)` \\| (\\d+) \\| (\\d+) \\|$").FindAllStringSubmatch(string(text), -1)
	if len(rows) < 4 {
		t.Fatalf("%d accounts have a row", len(rows))
	}
	for _, row := range rows {
		account := jid.MustBare(row[1])
		for i, n := range map[int]int{2: 8, 3: 64} {
			if got := topic.Partition(account, n); row[i] != strconv.Itoa(int(got)) || account.String() != row[1] {
				t.Errorf("%s of %d: EVENTS.md says %s, it is %d", row[1], n, row[i], got)
			}
		}
	}
}
