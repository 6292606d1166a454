package message

// Copies tells which sessions may get a copy of a message besides those that
// it is for (XEP-0280). Their numbers are those of event.Copies.
type Copies uint8

// The copies of a message.
const (
	NoCopies   Copies = iota
	SentCopies        // those of its sender alone
	AllCopies         // those of its sender and of its recipient
)

// Copied tells who may get copies of a message (XEP-0280, section 6.1). Of
// an error that says nothing: it depends on what the error answers, see
// Recent. Nor is a message copied that has the hint no-copy (XEP-0334, section
// 4.3) or wraps a copy itself.
func Copied(t Type, c Content) Copies {
	switch {
	case t == Error, t == Groupchat, c.Private, c.NoCopy, c.Copy:
		return NoCopies
	case c.Invitation:
		return AllCopies
	case c.Room:
		// From an occupant of a room: the room itself sends it to each client
		// that is there.
		return SentCopies
	case t == Chat, t <= Normal && c.Body, c.Messaging:
		return AllCopies
	}
	return NoCopies
}

// ToReceiver tells that sessions of the recipient may get copies.
func (c Copies) ToReceiver() bool { return c == AllCopies }

// ToSender tells that sessions of the sender may get copies.
func (c Copies) ToSender() bool { return c != NoCopies }

// Recent remembers the latest messages of an account that its sessions got
// copies of, so that they get a copy of an error that answers one, too. The
// zero value is empty. It is not safe for concurrent use.
type Recent struct {
	sent [maxRecent]sent
	n    int
}

// sent is a message by its addressee, a bare JID, and its id.
type sent struct{ to, id string }

// maxRecent is how many messages are remembered.
const maxRecent = 32

// Note remembers a message to a bare JID. One without an id cannot be
// answered.
func (r *Recent) Note(to, id string) {
	if id != "" {
		r.sent[r.n%maxRecent] = sent{to, id}
		r.n++
	}
}

// Answers tells whether an error with the id, from a bare JID, answers one of
// them. A nil Recent remembers none.
func (r *Recent) Answers(from, id string) bool {
	if r == nil || id == "" {
		return false
	}
	for _, s := range r.sent {
		if s == (sent{from, id}) {
			return true
		}
	}
	return false
}
