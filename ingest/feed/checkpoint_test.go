package feed

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// However long the log is, few checkpoints are kept, the oldest that is of use
// among them, and how far one is from the next is in proportion to its age.
func TestFewCheckpointsAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var there []int64 // newest first
		end, first := int64(0), int64(0)
		for range rapid.IntRange(1, 400).Draw(t, "saved") {
			end += int64(rapid.IntRange(1, 30_000).Draw(t, "records"))
			there = append([]int64{end}, there...)
			if rapid.IntRange(0, 20).Draw(t, "retention") == 0 {
				first = rapid.Int64Range(first, end).Draw(t, "first")
			}
			oldest := int64(-1)
			for _, next := range there {
				if next >= first {
					oldest = next
				}
			}
			gone := superfluous(there, first)
			there = slices.DeleteFunc(there, func(next int64) bool { return slices.Contains(gone, next) })
			if len(there) == 0 || there[0] != end || there[len(there)-1] != oldest {
				t.Fatalf("of use are those from %d on; kept are %v", oldest, there)
			}
		}
		if len(there) > keepNewest+50 {
			t.Fatalf("%d are kept of %d records", len(there), end)
		}
	})
}
