package generate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/rollcall/rollcall/schema/jid"
)

// A person is an account and how it is used.
type person struct {
	index    int32
	bare     jid.Bare
	language *language
	zone     int64   // added to UTC, µs
	activity float64 // how much it talks; 1 on average
	desk     bool    // has a computer at work
	friends  []int32 // the closest first

	online  []*session // connected, the latest last
	waiting []uint64   // numbers of the messages that wait
}

// Streams of random numbers, so that one part of a history does not change
// when another asks for more.
const (
	streamPeople = 1 + iota
	streamFriends
	streamDays
)

func random(o *Options, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(o.Seed, stream)) }

// makePeople gives the accounts, without friends.
func makePeople(o *Options) []person {
	r := random(o, streamPeople)
	people := make([]person, o.Accounts)
	for i := range people {
		l := pickLanguage(r)
		name := fmt.Sprintf("%s.%d@%s", strings.ToLower(pick(r, l.names)), i+1, o.Domain)
		people[i] = person{
			index: int32(i), bare: jid.MustBare(name), language: l,
			zone:     (l.zone + int64(r.IntN(3)-1)) * hour,
			activity: math.Min(math.Exp(r.NormFloat64()*0.9-0.405), 12), // log-normal with mean 1
			desk:     r.Float64() < 0.6,
		}
	}
	return people
}

// makeFriends connects people: who comes meets friends of friends and people
// who know many, mostly of the own language. So a few know very many and most
// know few, and friends have friends in common.
func makeFriends(o *Options, people []person) {
	r := random(o, streamFriends)
	byLanguage := make(map[*language][]int32) // each as often as it has friends, and once more
	var anybody []int32
	for i := range people {
		p := &people[i]
		known := make(map[int32]bool, o.Friends)
		// Half of an account's friendships are with who was there before it. Of
		// the first ones, who find few, the later ones make up.
		want := min(i, poisson(r, float64(o.Friends)/2))
		for tries := 8 * want; len(known) < want && tries > 0; tries-- {
			var other int32
			same := byLanguage[p.language]
			switch {
			case len(p.friends) > 0 && r.Float64() < 0.4:
				through := &people[p.friends[r.IntN(len(p.friends))]]
				other = through.friends[r.IntN(len(through.friends))]
			case len(same) > 0 && r.Float64() < 0.85:
				other = same[r.IntN(len(same))]
			default:
				other = anybody[r.IntN(len(anybody))]
			}
			if other == p.index || known[other] {
				continue
			}
			known[other] = true
			q := &people[other]
			p.friends, q.friends = append(p.friends, other), append(q.friends, p.index)
			byLanguage[q.language] = append(byLanguage[q.language], other)
			byLanguage[p.language] = append(byLanguage[p.language], p.index)
		}
		byLanguage[p.language] = append(byLanguage[p.language], p.index)
		anybody = append(anybody, p.index)
	}
}

// poisson gives a number whose mean is given.
func poisson(r *rand.Rand, mean float64) int {
	if mean > 30 {
		return max(0, int(math.Round(mean+r.NormFloat64()*math.Sqrt(mean))))
	}
	n := 0
	for left := math.Exp(-mean); ; n++ {
		if left /= r.Float64(); left >= 1 {
			return n
		}
	}
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// rank gives a place among n, the first ones most often.
func rank(r *rand.Rand, n int) int {
	return min(int(math.Expm1(r.Float64()*math.Log1p(float64(n)))), n-1)
}
