package edge

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Whatever the order in which appends are settled, an answer comes after all
// appends before it, and answers come in the order they were given.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var o order
		var open []uint64
		settled := make(map[uint64]bool)
		given, came := 0, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				open = append(open, o.issue())
			case 1:
				if len(open) > 0 {
					i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
					n := open[i]
					open = slices.Delete(open, i, i+1)
					settled[n] = true
					o.settle(n)
				}
			case 2:
				number, before := given, o.issued
				given++
				o.then(func() {
					for n := range before {
						if !settled[n] {
							t.Fatalf("answer %d before append %d", number, n)
						}
					}
					if number != came {
						t.Fatalf("answer %d after %d others", number, came)
					}
					came++
				})
			}
		}
		for _, n := range open {
			settled[n] = true
			o.settle(n)
		}
		if came != given || o.backlog() != 0 {
			t.Fatalf("%d of %d answers, backlog %d", came, given, o.backlog())
		}
	})
}

// What is posted runs once, one at a time, each poster's in its order.
func TestMailbox(t *testing.T) {
	var m mailbox
	const posters, each = 8, 500
	last := make([]int, posters)
	total, inside := 0, 0
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := 1; i <= each; i++ {
				f := func() {
					inside++
					if inside != 1 || last[p] != i-1 {
						t.Errorf("%d inside; %d of %d after %d", inside, i, p, last[p])
					}
					last[p] = i
					total++
					inside--
				}
				if rand.IntN(2) == 0 {
					m.post(f)
				} else {
					m.postWait(f)
				}
			}
		})
	}
	wg.Wait()
	if total != posters*each {
		t.Errorf("%d ran", total)
	}
}

func TestAHeldMailboxTakesNoMoreOfTheClient(t *testing.T) {
	var m mailbox
	m.hold(true)
	ran := make(chan int, 2)
	go m.postWait(func() { ran <- 2 })
	m.post(func() { ran <- 1 })
	if got := <-ran; got != 1 {
		t.Error("the client's stanza was taken")
	}
	m.hold(false)
	<-ran
}
