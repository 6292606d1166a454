package play

import (
	"slices"
	"time"

	"github.com/rollcall/rollcall/edge/edgetest/model"
)

// Shrink drops commands from a list that fails, as long as it still does and
// there is time.
func Shrink(all []model.Command, fails func([]model.Command) bool, within time.Duration) []model.Command {
	deadline := time.Now().Add(within)
	for size := len(all) / 2; size > 0; size /= 2 {
		for i := 0; i+size <= len(all); {
			if time.Now().After(deadline) {
				return all
			}
			if fewer := slices.Delete(slices.Clone(all), i, i+size); fails(fewer) {
				all = fewer
			} else {
				i += size
			}
		}
	}
	return all
}
