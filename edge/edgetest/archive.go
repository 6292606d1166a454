package edgetest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// NoArchive as an edge's Archive has it open without one.
var NoArchive edge.Archive = new(Archive)

// Archive is an edge.Archive in memory, the house's. What it has of an owner is
// what the history writer and the tables behind it would have.
type Archive struct {
	mu      sync.Mutex
	of      map[jid.Bare][]edge.Archived // by id
	set     map[jid.Bare]*archive.Preferences
	reading func(context.Context) error
}

// OnArchive has f called before each answer of the archive; its error is the
// answer. nil: nothing is called.
func (h *House) OnArchive(f func(context.Context) error) {
	h.archive.mu.Lock()
	h.archive.reading = f
	h.archive.mu.Unlock()
}

// Add archives what a record of the owner's history says.
func (a *Archive) Add(owner jid.Bare, offset int64, e *event.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch e.GetKind().(type) {
	case *event.Event_AccountDeleted:
		delete(a.of, owner)
		delete(a.set, owner)
		return
	case *event.Event_ArchivePreferencesSet:
		if a.set == nil {
			a.set = make(map[jid.Bare]*archive.Preferences)
		}
		a.set[owner] = archive.Set(offset, e.GetArchivePreferencesSet())
		return
	case *event.Event_MessageWithheld:
		gone := e.GetMessageWithheld().GetOffset()
		if all := a.of[owner]; all != nil {
			a.of[owner] = slices.DeleteFunc(all, func(m edge.Archived) bool { return m.ID == gone })
		}
		return
	}
	m, ok := edge.ArchivedOf(owner, offset, e)
	if !ok || !m.Message.GetStorable() || bytes.Contains(m.Message.GetPayload(), []byte("<no-permanent-store")) {
		return
	}
	if a.of == nil {
		a.of = make(map[jid.Bare][]edge.Archived)
	}
	a.of[owner] = append(a.of[owner], m)
}

// read gives all that an archive has, once it may.
func (a *Archive) read(ctx context.Context, owner jid.Bare) ([]edge.Archived, error) {
	a.mu.Lock()
	reading := a.reading
	a.mu.Unlock()
	if reading != nil {
		if err := reading(ctx); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.of[owner]), nil
}

// Ends implements edge.Archive.
func (a *Archive) Ends(ctx context.Context, o edge.ArchiveOwner) (first, last *edge.Archived, err error) {
	all, err := a.read(ctx, o.Owner)
	if err != nil || len(all) == 0 {
		return nil, nil, err
	}
	return &all[0], &all[len(all)-1], nil
}

// Preferences implements edge.Archive.
func (a *Archive) Preferences(ctx context.Context, o edge.ArchiveOwner) (*archive.Preferences, error) {
	_, err := a.read(ctx, o.Owner)
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set[o.Owner], err
}

// Page implements edge.Archive.
func (a *Archive) Page(ctx context.Context, q edge.ArchiveQuery) (*edge.ArchivePage, error) {
	all, err := a.read(ctx, q.Owner)
	if err != nil {
		return nil, err
	}
	for _, id := range q.Known {
		if !slices.ContainsFunc(all, func(m edge.Archived) bool { return m.ID == id }) {
			return nil, edge.ErrNotArchived
		}
	}
	matching := slices.DeleteFunc(all, func(m edge.Archived) bool { return !matches(&q, &m) })
	from, to := 0, len(matching)
	for from < to && matching[from].ID <= q.After {
		from++
	}
	for to > from && matching[to-1].ID >= q.Before {
		to--
	}
	from = min(from+q.Skip, to)
	n, bytes, fits := 0, 0, true
	for ; n < to-from; n++ {
		next := &matching[from+n]
		if q.Last {
			next = &matching[to-1-n]
		}
		if bytes, fits = q.Fits(n, bytes, next); !fits {
			break
		}
	}
	p := &edge.ArchivePage{Complete: from+n == to, Count: len(matching)}
	if q.Last {
		from = to - n
	}
	p.Messages, p.Index = matching[from:from+n], from
	return p, nil
}

// matches tells whether a query is for a message.
func matches(q *edge.ArchiveQuery, m *edge.Archived) bool {
	from, to := jid.FromCanonical(m.From), jid.FromCanonical(m.To)
	if with := q.With; !with.IsZero() {
		is := func(a jid.JID) bool { return a == with || !with.IsFull() && a.Bare() == with.Bare() }
		if with == q.Owner.JID() && (!is(from) || !is(to)) || !is(from) && !is(to) {
			return false
		}
	}
	at := m.At.Truncate(time.Millisecond)
	switch {
	case !q.Start.IsZero() && at.Before(q.Start.Truncate(time.Millisecond)), !q.End.IsZero() && at.After(q.End.Truncate(time.Millisecond)):
		return false
	case m.ID <= q.Above || m.ID >= q.Below || q.IDs != nil && !slices.Contains(q.IDs, m.ID):
		return false
	case q.NoGroupchat && m.Message.GetType() == event.MessageType_MESSAGE_TYPE_GROUPCHAT:
		return false
	}
	for _, word := range strings.Fields(q.Text) {
		if !strings.Contains(folded(m.Message.GetBody()), folded(word)) {
			return false
		}
	}
	return true
}

// folded gives a text in the form in which it is searched.
func folded(text string) string {
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(text)))
}
