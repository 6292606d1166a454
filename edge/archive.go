package edge

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Archive reads what accounts sent and received (XEP-0313). Whose archive it is
// comes with each question: any bare JID may have one. Its methods may be called
// by any goroutine, wait no longer than their context, and give
// ErrNotArchived, the context's error or whatever else keeps the archive from
// answering now.
type Archive interface {
	// Page gives messages of an archive, as one page of what matches.
	Page(ctx context.Context, q ArchiveQuery) (*ArchivePage, error)
	// Ends gives the first and the last message of an archive without what they
	// say; both nil if it is empty.
	Ends(ctx context.Context, o ArchiveOwner) (first, last *Archived, err error)
	// Preferences gives which messages the owner has set to be kept; nil if
	// nothing is set.
	Preferences(ctx context.Context, o ArchiveOwner) (*archive.Preferences, error)
}

// ErrNotArchived means that a message which a query names is not in the archive.
var ErrNotArchived = errors.New("edge: no such message in the archive")

// ArchiveOwner names an archive, and what an answer must have.
type ArchiveOwner struct {
	Owner     jid.Bare
	Partition int32 // of the owner
	// Wrote has the last offsets, by partition, of what the asker wrote to the
	// log: what came of it in the owner's history is in the answer.
	Wrote map[int32]int64
}

// ArchiveQuery says which messages match, and which page of them is wanted.
// The id of a message is its offset in the owner's history.
type ArchiveQuery struct {
	ArchiveOwner
	With        jid.JID   // the other side, or the sender or addressee if it is full; zero: whoever
	Start, End  time.Time // both inclusive, to the millisecond; zero: none
	Above       int64     // ids that match are greater; -1: all
	Below       int64     // and smaller; NoBound: all
	IDs         []int64   // these alone; nil: all
	Text        string    // words that the body has, whatever their case; "": any
	NoGroupchat bool
	Known       []int64 // ids that must be in the archive

	// Of what matches, in the order of ids, the page begins behind After and
	// ends before Before, at whose end it is if Last, else at the beginning, and
	// leaves out the first Skip.
	After, Before int64
	Last          bool
	Skip          int
	Max           int // messages; >= 0
	Bytes         int // of messages, each of its Size and Each more; a page of one may have more
	Each          int
}

// Fits tells whether a page may hold the message after n others of so many
// bytes, and how many bytes they are then.
func (q *ArchiveQuery) Fits(n, bytes int, m *Archived) (int, bool) {
	bytes += m.Size() + q.Each
	return bytes, n < q.Max && (n == 0 || bytes <= q.Bytes)
}

// NoBound is no upper bound of ids.
const NoBound = math.MaxInt64

// ArchivePage is a page of an archive.
type ArchivePage struct {
	Messages []Archived // by id
	Complete bool       // nothing that matches is left in the direction of the page
	Count    int        // of what matches
	Index    int        // of the first of Messages, among what matches
}

// Archived is a message in an archive.
type Archived struct {
	ID       int64
	At       time.Time
	From, To string
	Message  *event.Message
}

// Size gives about how many bytes the message has.
func (a *Archived) Size() int {
	return len(a.From) + len(a.To) + len(a.Message.GetId()) + len(a.Message.GetPayload())
}

// ArchivedOf gives the message that a record of the owner's history, at an
// offset, puts into its archive. Of what one sends to oneself the archive has
// one copy, which was received (XEP-0313, section 6.1.1).
func ArchivedOf(owner jid.Bare, offset int64, e *event.Event) (a Archived, ok bool) {
	a = Archived{ID: offset, At: event.Time(e)}
	self := func(resource string) string {
		if resource == "" {
			return owner.String()
		}
		return owner.WithCanonical(resource).String()
	}
	switch k := e.GetKind().(type) {
	case *event.Event_MessageAccepted:
		m := k.MessageAccepted
		a.From, a.To, a.Message = m.GetFrom(), self(m.GetResource()), m.GetMessage()
		return a, true
	case *event.Event_MessageSent:
		m := k.MessageSent
		a.From, a.To, a.Message = self(m.GetResource()), m.GetTo(), m.GetMessage()
		return a, jid.FromCanonical(m.GetTo()).Bare() != owner
	}
	return a, false
}
