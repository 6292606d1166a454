package play

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/rollcall/rollcall/edge/edgetest/model"
)

// Random gives commands for a world of so many edges, where each account has
// two resources. The same seed gives the same commands.
type Random struct {
	r     *rand.Rand
	m     *model.Model
	edges int
	n     int
	burst int

	// Alone leaves bursts out, Immortal edges that die.
	Alone, Immortal bool
}

// NewRandom makes one that follows a model.
func NewRandom(seed uint64, m *model.Model, edges int) *Random {
	return &Random{r: rand.New(rand.NewPCG(seed, 0)), m: m, edges: edges}
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// Next gives what to do next: a command, or a burst of them.
func (g *Random) Next() []model.Command {
	if !g.Alone && g.r.IntN(12) == 0 {
		if all := g.makeBurst(2 + g.r.IntN(6)); len(all) > 0 {
			return all
		}
	}
	return []model.Command{g.one()}
}

// makeBurst makes commands of which the log's order says what comes of them:
// nobody directs presence to a person whose resources come or go, or who gets a
// subscription, at the same time.
func (g *Random) makeBurst(n int) (all []model.Command) {
	g.burst++
	moved, addressed, related := make(map[string]bool), make(map[string]bool), make(map[string]bool)
	for range n {
		c := g.one()
		name, _, _ := strings.Cut(c.Who, "/")
		if c.Verb != "kill" && g.m.ByRoster(name) {
			continue // what it may send depends on when it hears of its roster
		}
		switch c.Verb {
		case "available", "unavailable":
			if moved[c.Who] || addressed[name] {
				continue
			}
			moved[c.Who], moved[name] = true, true
		case "direct", "undirect":
			to, _, _ := strings.Cut(c.Args[0], "/")
			if moved[to] || related[to] || related[name] {
				continue
			}
			addressed[to] = true
		case "unsubscribe", "unsubscribed", "remove":
		case "subscribe", "subscribed":
			if addressed[name] || addressed[c.Args[0]] {
				continue
			}
			related[name], related[c.Args[0]] = true, true
		case "set", "message":
		default:
			continue
		}
		c.Burst = g.burst
		all = append(all, c)
	}
	return all
}

// one gives a command that does something where the model stands, or mostly.
func (g *Random) one() model.Command {
	g.n++
	r := g.r
	names := g.m.Accounts()
	name := pick(r, names...)
	resource := pick(r, "1", "2")
	c := model.Command{ID: fmt.Sprintf("c%d", g.n), Who: name + "/" + resource}
	other := pick(r, names...)
	for other == name {
		other = pick(r, names...)
	}
	to := other
	if r.IntN(2) == 0 {
		to += "/" + pick(r, "1", "1", "2", "2", "3")
	}
	s := g.m.Session(c.Who)
	do := func(verb string, args ...string) model.Command {
		c.Verb, c.Args = verb, args
		return c
	}
	if s == nil || r.IntN(60) == 0 {
		return do("connect", strconv.Itoa(r.IntN(g.edges)))
	}
	show := pick(r, "", "", "away", "chat", "dnd", "xa")
	status := pick(r, "", fmt.Sprintf("s%d", g.n))
	if !s.Available && r.IntN(3) == 0 {
		if !s.Interested && r.IntN(4) > 0 {
			return do("roster")
		}
		return do("available", show, status, pick(r, "0", "0", "5", "-1"))
	}
	switch n := r.IntN(118); {
	case n >= 116:
		if !s.Available || g.m.Invisible(c.Who) || r.IntN(3) == 0 {
			return do("visible")
		}
		return do("invisible")
	case n >= 112:
		return do(pick(r, "active", "default"), pick(r, "", "one", "two"))
	case n >= 108:
		return do("list", pick(r, "one", "two"), pick(r, "", g.rules(other), g.rules(other)))
	case n >= 104:
		return do("unblock", pick(r, "", other, other, other))
	case n >= 100:
		return do("block", other)
	case n < 20:
		return do("available", show, status, pick(r, "0", "0", "5", "-1"))
	case n < 26:
		return do("unavailable")
	case n < 30:
		return do("roster")
	case n < 55:
		return do(pick(r, "subscribe", "subscribe", "subscribed", "subscribed", "unsubscribe", "unsubscribed"), other)
	case n < 59:
		return do("set", other, pick(r, "", "friend", "foe"), pick(r, "", "work", "home,work"))
	case n < 62:
		return do("remove", other)
	case n < 70:
		return do("direct", to, show, status)
	case n < 73:
		return do("undirect", to)
	case n < 88:
		origin := ""
		if r.IntN(3) == 0 { // a few for each session, which sends in order: so that some come again
			origin = resource + "-" + pick(r, "1", "2", "3")
		}
		return do("message", pick(r, "chat", "chat", "normal", "headline", "groupchat"), to, origin)
	case n < 93:
		return do("cut")
	case n < 97:
		return do("close")
	case n < 98 && !g.Immortal:
		c.Who = "edge"
		return do("kill", strconv.Itoa(r.IntN(g.edges)))
	}
	return do("connect", strconv.Itoa(r.IntN(g.edges)))
}

// rules gives those of a privacy list.
func (g *Random) rules(other string) string {
	r := g.r
	what := pick(r, "", "", " message", " presence-in", " presence-out", " presence-in,message", " iq")
	rule := pick(r, "jid "+other, "jid "+other, "subscription "+pick(r, "none", "to", "from", "both"), "group "+pick(r, "home", "work"))
	switch r.IntN(4) {
	case 0:
		return "allow " + rule + what + "; deny" + what
	case 1:
		return "deny" + what
	}
	return "deny " + rule + what
}
