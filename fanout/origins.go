package fanout

import (
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
)

// What the fold drops as a copy (XEP-0359), or refuses because too much waits,
// the worker neither delivers nor keeps: it remembers and counts the same.
// While an account's inbox is being loaded it does not know all of both; what
// it kept meanwhile is judged again afterwards.

// isCopy tells whether the client of a message's sender had sent it before.
func (p *partition) isCopy(a *acct, offset int64, m *event.MessageAccepted) bool {
	origin := account.OriginOf(m)
	if origin == 0 || !a.origins.Copied(origin, offset) {
		return false
	}
	p.worker.metrics.copies.Inc()
	return true
}

// remember notes a message that the fold takes.
func (a *acct) remember(offset int64, m *event.MessageAccepted) {
	last := int64(-1)
	if n := len(a.origins); n > 0 {
		last = a.origins[n-1].Offset
	}
	// What was loaded may be ahead of the tail.
	if origin := account.OriginOf(m); origin != 0 && offset > last {
		a.origins = a.origins.Note(origin, offset)
	}
}

// full tells that as many messages wait as may.
func full(waiting int, m *event.MessageAccepted) bool {
	return m.GetMaxWaiting() > 0 && waiting >= int(m.GetMaxWaiting())
}

// judge drops of the messages that came while the inbox was loaded those that
// the fold did not take: of what is older than the snapshot it is the rows, and
// on what came later the fold decides as is done here.
func (a *acct) judge(rows []*stored, asOf int64, origins message.Origins) {
	since := a.origins
	a.origins = slices.Clone(origins)
	for _, o := range since {
		if o.Offset >= asOf && !a.origins.Copied(o.Hash, o.Offset) {
			a.origins = a.origins.Note(o.Hash, o.Offset)
		}
	}
	kept := a.inbox[:0]
	waiting := len(rows)
	for _, s := range a.inbox {
		if s.offset < asOf {
			if _, there := slices.BinarySearchFunc(rows, s.offset, byOffset); there {
				kept = append(kept, s)
			}
			continue
		}
		if origin := account.OriginOf(s.accepted); origin != 0 && a.origins.Copied(origin, s.offset) {
			continue
		}
		if s.heaps && full(waiting, s.accepted) {
			a.origins = slices.DeleteFunc(a.origins, func(o message.Origin) bool { return o.Offset == s.offset })
			continue
		}
		kept = append(kept, s)
		waiting++
	}
	clear(a.inbox[len(kept):])
	a.inbox = kept
}

// readOrigins reads account, latest.
func readOrigins(rows pgx.Rows, found func(name string, o message.Origins)) error {
	for rows.Next() {
		var name string
		var latest []byte
		if err := rows.Scan(&name, &latest); err != nil {
			return err
		}
		var o message.Origins
		if err := o.UnmarshalBinary(latest); err != nil {
			return fmt.Errorf("origins of %s: %w", name, err)
		}
		found(name, o)
	}
	return rows.Err()
}
