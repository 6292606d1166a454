package privacy

import (
	"fmt"
	"testing"
)

func blockList(n int) *Compiled {
	s := &State{}
	for i := range n {
		s.Blocked = append(s.Blocked, fmt.Sprintf("user%04d@example.com", i))
	}
	return New(Compile(juliet, s, nil))
}

// BenchmarkAllows asks about somebody who is not in the block list.
func BenchmarkAllows(b *testing.B) {
	other := address("romeo@example.com/orchard")
	for _, n := range []int{0, 1, 100, 1000} {
		b.Run(fmt.Sprintf("blocked=%d", n), func(b *testing.B) {
			c := blockList(n)
			b.ReportAllocs()
			for b.Loop() {
				if !c.Allows(PresenceOut, "balcony", other) {
					b.Fatal("denied")
				}
			}
		})
	}
}

func TestAllowsDoesNotAllocate(t *testing.T) {
	c, other := blockList(100), address("romeo@example.com/orchard")
	if n := testing.AllocsPerRun(100, func() { c.Allows(Message, "balcony", other); c.Hides("balcony", other) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
