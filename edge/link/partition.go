package link

import (
	"sync"

	"github.com/rollcall/rollcall/schema/wire"
)

// partition is what the link knows of one partition: who serves it, and what
// its worker has not been told yet.
type partition struct {
	number int32

	// deliver is held while the handler is called for the partition. It comes
	// before mu.
	deliver sync.Mutex

	mu       sync.Mutex
	claim    uint64           // the highest seen
	stream   *stream          // of who holds it; nil while none does
	counts   map[string]int32 // followers of each account
	followed map[string]*wire.Followed
	dropped  map[string]struct{}
	asked    uint64 // number of the last Interest
	taken    int64  // outbox: the next offset to be told in Taken
	untold   bool   // taken was not told yet
}

func newPartition(number int32) *partition {
	return &partition{number: number, counts: make(map[string]int32)}
}

// follow notes a follower and gives the stream that is to tell it.
func (p *partition) follow(account, follower string) *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[account]++
	delete(p.dropped, account)
	if p.stream == nil {
		return nil // it will be told with the whole
	}
	f := p.followed[account]
	if f == nil {
		if p.followed == nil {
			p.followed = make(map[string]*wire.Followed)
		}
		f = &wire.Followed{Account: account}
		p.followed[account] = f
	}
	f.Followers = append(f.Followers, follower)
	return p.stream
}

// unfollow notes that one follower fewer follows the account.
func (p *partition) unfollow(account string) *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts[account]--; p.counts[account] > 0 {
		return nil
	}
	delete(p.counts, account)
	delete(p.followed, account)
	if p.stream == nil {
		return nil
	}
	if p.dropped == nil {
		p.dropped = make(map[string]struct{})
	}
	p.dropped[account] = struct{}{}
	return p.stream
}

// serving gives the stream of who holds the partition, nil if none does.
func (p *partition) serving() *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream
}

// assign makes s the one that is listened to, unless a higher claim was seen.
// What was not told yet is forgotten: the whole, asked for later, has it.
func (p *partition) assign(s *stream, claim uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if claim < p.claim {
		return false
	}
	p.claim, p.stream = claim, s
	p.followed, p.dropped = nil, nil
	p.untold = false
	return true
}

// leave ends the service of s.
func (p *partition) leave(s *stream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == s {
		p.stream = nil
		p.followed, p.dropped = nil, nil
		p.untold = false
	}
}

// from calls f if s holds the partition with this claim; no later holder is
// heard before f returns.
func (p *partition) from(s *stream, claim uint64, f func()) bool {
	p.deliver.Lock()
	defer p.deliver.Unlock()
	p.mu.Lock()
	held := p.stream == s && p.claim == claim
	p.mu.Unlock()
	if held {
		f()
	}
	return held
}

// took notes that every output below next is with its sessions.
func (p *partition) took(s *stream, next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == s {
		p.taken, p.untold = next, true
	}
}

// tell gives what s has to say of the partition, at most chunk accounts in an
// Interest.
func (p *partition) tell(s *stream, chunk int) []*wire.FromEdge {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream != s {
		return nil
	}
	var out []*wire.FromEdge
	if len(p.followed)+len(p.dropped) > 0 {
		followed := make([]*wire.Followed, 0, len(p.followed))
		for _, f := range p.followed {
			followed = append(followed, f)
		}
		dropped := make([]string, 0, len(p.dropped))
		for account := range p.dropped {
			dropped = append(dropped, account)
		}
		p.followed, p.dropped = nil, nil
		out = p.interest(false, followed, dropped, chunk)
	}
	if p.untold {
		p.untold = false
		out = append(out, &wire.FromEdge{What: &wire.FromEdge_Taken{Taken: &wire.Taken{
			Partition: p.number, Claim: p.claim, NextOffset: p.taken,
		}}})
	}
	return out
}

// whole gives the whole interest for s, if it still holds the partition.
func (p *partition) whole(s *stream, claim uint64, all []*wire.Followed, chunk int) []*wire.FromEdge {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream != s || p.claim != claim {
		return nil
	}
	return p.interest(true, all, nil, chunk)
}

// interest cuts an interest into messages: the first of a whole replaces what
// was said before, the others add to it. p.mu is held.
func (p *partition) interest(whole bool, followed []*wire.Followed, dropped []string, chunk int) []*wire.FromEdge {
	var out []*wire.FromEdge
	for first := true; first || len(followed) > 0; first = false {
		n := min(chunk, len(followed))
		p.asked++
		out = append(out, &wire.FromEdge{What: &wire.FromEdge_Interest{Interest: &wire.Interest{
			Partition: p.number, Claim: p.claim, Number: p.asked, Whole: whole && first,
			Followed: followed[:n:n], Dropped: dropped,
		}}})
		followed, dropped = followed[n:], nil
	}
	return out
}
