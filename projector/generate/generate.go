// Package generate makes up the history of a domain: accounts, who is in whose
// roster, and days of presence and chat in several languages, with people who
// come and go by their own time of day. It is for benchmarks, dashboards and
// demonstrations, which want much data that looks like what people leave.
//
// A history is the events that clients would cause, in the order of their
// times. IntoLog writes these and no others: the projector adds the reactions,
// as it does for anybody's. IntoArchive has no projector: it folds each event
// by the projector's own code, numbers events and reactions as the log would,
// and inserts what history would make of them. The same Options give the same
// bytes, and nothing of a history is kept in memory but the accounts, who knows
// whom, and what is going on at the moment that is told.
package generate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rollcall/rollcall/schema/jid"
)

// Options tell what a history is like. The same ones give the same history.
type Options struct {
	Seed     uint64
	Accounts int       // 2 or more
	Friends  int       // contacts of an account, on average; less than Accounts
	Days     int       // of presence and chat
	Messages int       // that an account sends on a day, on average and roughly
	Start    time.Time // of the first of these days; midnight UTC. Accounts and friendships are made on the day before
	Domain   string    // of all accounts: a domainpart in its prepared form
	Edges    int       // that the clients are spread over
	// Records, if it is not 0, ends the history before its time, when about so
	// many records are written: everybody leaves then.
	Records int64
}

// The largest history: it bounds memory, which grows with accounts and
// friendships, and keeps times within what the archive can tell.
const (
	mostAccounts    = 1_000_000
	mostFriendships = 20_000_000
	mostDays        = 3_660
	mostMessages    = 10_000
	mostEdges       = 254
)

// Check tells what is wrong with o.
func (o *Options) Check() error {
	d, err := jid.ParseBare(o.Domain)
	switch {
	case err != nil || d.Local() != "" || d.String() != o.Domain:
		return fmt.Errorf("domain %q: say a domain, such as example.com", o.Domain)
	case o.Accounts < 2 || o.Accounts > mostAccounts:
		return fmt.Errorf("%d accounts: say 2 to %d", o.Accounts, mostAccounts)
	case o.Friends < 0 || o.Friends >= o.Accounts:
		return fmt.Errorf("%d friends: say 0 to %d, fewer than there are accounts", o.Friends, o.Accounts-1)
	case o.Friends*o.Accounts/2 > mostFriendships:
		return fmt.Errorf("%d accounts with %d friends: that is over %d friendships", o.Accounts, o.Friends, mostFriendships)
	case o.Days < 0 || o.Days > mostDays:
		return fmt.Errorf("%d days: say 0 to %d", o.Days, mostDays)
	case o.Messages < 0 || o.Messages > mostMessages:
		return fmt.Errorf("%d messages a day: say 0 to %d", o.Messages, mostMessages)
	case o.Edges < 1 || o.Edges > mostEdges:
		return fmt.Errorf("%d edges: say 1 to %d", o.Edges, mostEdges)
	case o.Records < 0:
		return errors.New("records: say 0 or more")
	case o.Start.UnixMicro()%day != 0 || o.Start.Year() < 1971 || o.Start.Year() > 2180:
		return fmt.Errorf("start %s: say a day, midnight UTC, of the years 1971 to 2180", o.Start.Format(time.RFC3339))
	}
	return nil
}

// fingerprint is the epoch of the edges that o's history tells of: two
// histories in one log have different origins, and a history that goes on
// after a crash has its own.
func (o *Options) fingerprint() uint64 {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "1 %d %d %d %d %d %d %q %d %d",
		o.Seed, o.Accounts, o.Friends, o.Days, o.Messages, o.Start.UnixMicro(), o.Domain, o.Edges, o.Records)
	return sum.Sum64() >> 1 // positive as a signed number too
}

// Accounts gives the bare JIDs of a history, in the order in which they are made.
func Accounts(o Options) ([]jid.Bare, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("generate: %w", err)
	}
	people := makePeople(&o)
	names := make([]jid.Bare, len(people))
	for i := range people {
		names[i] = people[i].bare
	}
	return names, nil
}

// Progress tells how far a history is. Its methods may be called from any
// goroutine while it is made.
type Progress struct {
	records atomic.Int64
	skipped atomic.Int64
	part    atomic.Uint64 // of a million
	begun   atomic.Int64  // when the first record was made, ns since 1970; 0 before
}

// partly is the whole of Progress.part.
const partly = 1_000_000

// Records is how many were written, and how many of them were there before.
func (p *Progress) Records() (written, skipped int64) { return p.records.Load(), p.skipped.Load() }

// String says it in a line: records, how fast, how much of the time told, and
// how long the rest will take.
func (p *Progress) String() string {
	records, skipped, done := p.records.Load(), p.skipped.Load(), float64(p.part.Load())/partly
	var b strings.Builder
	fmt.Fprintf(&b, "%d records", records)
	if begun := p.begun.Load(); begun != 0 {
		took := time.Since(time.Unix(0, begun))
		fmt.Fprintf(&b, ", %.0f/s, %.1f %%", float64(records)/took.Seconds(), 100*done)
		if done > 0 && done < 1 {
			fmt.Fprintf(&b, ", %s left", time.Duration(float64(took)*(1-done)/done).Round(time.Second))
		}
	}
	if skipped > 0 {
		fmt.Fprintf(&b, ", %d of them were there", skipped)
	}
	return b.String()
}

func (p *Progress) begin() { p.begun.CompareAndSwap(0, time.Now().UnixNano()) }

// at notes how much of the history is written. It never goes back.
func (p *Progress) at(part float64) {
	if n := uint64(part * partly); n > p.part.Load() {
		p.part.Store(min(n, partly))
	}
}
