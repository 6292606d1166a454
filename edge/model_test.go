package edge_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/edgetest/model"
	played "github.com/rollcall/rollcall/edge/edgetest/play"
)

var (
	modelSeed     = flag.Uint64("model.seed", 0, "the first seed of the random commands; 0: a new one, or ROLLCALL_MODEL_SEED")
	modelShrink   = flag.Duration("model.shrink", 20*time.Second, "how long a shorter list that fails is looked for")
	modelCommands = flag.Int("model.commands", 100_000, "how many random commands are done; fewer with -short")
)

// playLength is how many commands one world lives.
const playLength = 400

// After quiet, every client's view, roster and messages are what an
// executable model of the specifications says, whatever went before: five
// people with two resources each on two edges, which die now and then.
func TestRandomCommandsAgainstTheModel(t *testing.T) {
	seed, commands := *modelSeed, *modelCommands
	if text := os.Getenv("ROLLCALL_MODEL_SEED"); seed == 0 && text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) >> 10 % 1_000_000_000
	}
	if testing.Short() {
		commands = min(commands, 5_000)
	}
	began, done := time.Now(), 0
	t.Logf("-model.seed=%d -model.commands=%d", seed, commands)
	for n := uint64(0); done < commands; n++ {
		world := randomWorld{seed: seed + n}
		all, err := world.play(playLength)
		done += len(all)
		if err != nil {
			failed(t, world, all, done, err)
			return
		}
	}
	t.Logf("%d commands, %.1f s", done, time.Since(began).Seconds())
}

// failed tells of the shortest list that fails, which it looks for.
func failed(t *testing.T, w randomWorld, all []model.Command, done int, err error) {
	t.Helper()
	var b strings.Builder
	least := played.Shrink(all, func(some []model.Command) bool { return w.again(some) != nil }, *modelShrink)
	for _, c := range least {
		burst := ""
		if c.Burst != 0 {
			burst = fmt.Sprintf(" (burst %d)", c.Burst)
		}
		fmt.Fprintf(&b, "\t%s %s%s\n", c.ID, c, burst)
	}
	t.Errorf("after %d commands: %v\n-model.seed=%d, shrunk from %d to %d commands:\n%sand then: %v",
		done, err, w.seed, len(all), len(least), b.String(), w.again(least))
}

// A randomWorld is what one seed makes. In every other one, frames of some
// partitions come late.
type randomWorld struct{ seed uint64 }

var modelNames = []string{"ann", "bob", "cat", "dan", "eve"}

// open makes the world and calls do in it.
func (w randomWorld) open(within time.Duration, do func(*model.Model, *played.Play) error) (err error) {
	const domain = "example.com"
	h, err := played.NewHouse(domain, 4, edge.Options{ID: "e0"}, edge.Options{ID: "e1"})
	if err != nil {
		return err
	}
	h.Create(modelNames...)
	m := model.New(domain, modelNames...)
	p := played.New(h, m, domain, within)
	p.Late = w.seed%2 == 1
	defer func() {
		p.Close()
		err = errors.Join(err, h.End())
	}()
	return do(m, p)
}

// checkEvery is how many commands are done between two quiet points.
const checkEvery = 25

// play does n commands, or some more, and gives those that were done.
func (w randomWorld) play(n int) (all []model.Command, err error) {
	err = w.open(3*time.Second, func(m *model.Model, p *played.Play) error {
		random := played.NewRandom(w.seed, m, 2)
		return steps(p, func() []model.Command {
			if len(all) >= n {
				return nil
			}
			some := random.Next()
			all = append(all, some...)
			return some
		})
	})
	return all, err
}

// again does commands that were done before.
func (w randomWorld) again(all []model.Command) error {
	return w.open(300*time.Millisecond, func(_ *model.Model, p *played.Play) error {
		left := played.Steps(all)
		return steps(p, func() (some []model.Command) {
			if len(left) > 0 {
				some, left = left[0], left[1:]
			}
			return some
		})
	})
}

// steps does what next gives, until it gives nothing, with quiet points.
func steps(p *played.Play, next func() []model.Command) error {
	for unchecked := 0; ; {
		some := next()
		if len(some) == 0 {
			return p.Check()
		}
		if err := p.Step(some); err != nil {
			return err
		}
		if unchecked += len(some); unchecked < checkEvery {
			continue
		}
		unchecked = 0
		if err := p.Check(); err != nil {
			return err
		}
	}
}
