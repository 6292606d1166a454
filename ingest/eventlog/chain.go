package eventlog

import "slices"

// A Chain is of records that a reader knows by one mark: in a partition none
// may be stored while an earlier one is not, for that one would be taken for a
// copy when it comes. Once a record of a chain has failed, what is behind it in
// the chain and its partition fails with ErrBroken, and all of it can be
// appended again under the same origin and sequences, in a chain of its own.
// The zero value is a chain; it belongs to one Appender.
type Chain struct {
	broken map[laneKey]bool // guarded by the Appender's mu
}

// brokenIn tells that a record of the chain failed in a lane. The caller holds
// the Appender's mu.
func (c *Chain) brokenIn(l laneKey) bool { return c != nil && c.broken[l] }

// breakChain says that a record of the chain failed in l. The caller holds mu.
func (l *lane) breakChain(c *Chain) {
	if c == nil {
		return
	}
	if c.broken == nil {
		c.broken = make(map[laneKey]bool)
	}
	c.broken[l.laneKey], l.broken = true, true
}

// unchain gives up what waits in l behind a failed record of its chain. The
// caller holds mu, and no request has l's batch.
func (a *Appender) unchain(l *lane) {
	if !l.broken {
		return
	}
	for _, waiting := range [][]entry{l.batch, l.queue} {
		for i := range waiting {
			if waiting[i].record.Chain.brokenIn(l.laneKey) {
				a.settle(l, &waiting[i], -1, ErrBroken)
			}
		}
	}
	l.queue = slices.DeleteFunc(l.queue, func(e entry) bool { return e.settled })
	l.broken = false
}
