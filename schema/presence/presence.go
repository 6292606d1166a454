// Package presence holds the resources of an account and what is known of
// them: bound, available, or gone (RFC 6121, section 4), whom a resource told
// of itself by directed presence, and which of several is the most available.
package presence

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Content is what a presence stanza says (RFC 6121, section 4.7).
type Content struct {
	Show     string // "", "away", "chat", "dnd" or "xa"
	Status   string // in the stanza's own language
	Priority int8
	Payload  []byte // all other children, XML
	Lang     string // the stanza's xml:lang
	ID       string // the stanza's id
}

// A Resource is a connected resource of an account. Of a resourcepart only the
// latest binding is one.
type Resource struct {
	Name    string    // resourcepart, never empty
	Binding uuid.UUID // id of the ResourceBound of its session
	Edge    string    // that holds the session, in its Epoch
	Epoch   uint64
	Bound   int64 // offset of the ResourceBound

	// Session and Began are Binding and Bound as the session began: others than
	// these only after it was resumed on another edge.
	Session uuid.UUID
	Began   int64
	Handled Handled // stanzas of its client
	Copies  bool    // its client gets copies of messages (XEP-0280), as far as a resumption must know

	Available bool
	Inherited bool      // what it is, an earlier session said: see Inherit; unless Available, what it was: see Recall
	Content             // of the latest broadcast presence; zero before any
	Version   int64     // offset of the event that made it what it is; >= Bound unless Inherited
	Since     time.Time // when it became available, or else unavailable or connected
}

// Bind gives a resource that is connected and not available (RFC 6121, section 2.2).
func Bind(name string, binding uuid.UUID, edge string, epoch uint64, offset int64, at time.Time) Resource {
	return Resource{
		Name: name, Binding: binding, Edge: edge, Epoch: epoch, Bound: offset,
		Session: binding, Began: offset, Version: offset, Since: at,
	}
}

// Broadcast gives r after it sent available presence: initial presence if it
// was not available (RFC 6121, section 4.2), else a subsequent one (4.4).
func (r Resource) Broadcast(c Content, offset int64, at time.Time) Resource {
	if !r.Available {
		r.Since = at
	}
	r.Available, r.Inherited, r.Content, r.Version = true, false, c, offset
	return r
}

// Withdraw gives r after it sent unavailable presence. It stays connected; a
// presence that follows is initial again (RFC 6121, section 4.5.2). Show and
// priority belong to available resources only (4.5.1).
func (r Resource) Withdraw(c Content, offset int64, at time.Time) Resource {
	if r.Available {
		r.Since = at
	}
	c.Show, c.Priority = "", 0
	r.Available, r.Inherited, r.Content, r.Version = false, false, c, offset
	return r
}

// Takes tells that r may get a message that is sent to the bare JID: it is
// available, by its own word, and its priority is not negative (RFC 6121,
// section 8.5.2.1.1).
func (r Resource) Takes() bool { return r.Available && !r.Inherited && r.Priority >= 0 }

// Compare orders resources, the most available first: available before
// connected, then by priority (RFC 6121, section 8.5.2.1.1 leaves the rest to
// the server), by what show says, the latest change first, by name.
func Compare(a, b Resource) int {
	if a.Available != b.Available {
		if a.Available {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(b.Priority, a.Priority),
		cmp.Compare(rank(a.Show), rank(b.Show)),
		cmp.Compare(b.Version, a.Version),
		strings.Compare(a.Name, b.Name))
}

func rank(show string) int {
	switch show {
	case "chat":
		return 0
	case "away":
		return 2
	case "xa":
		return 3
	case "dnd":
		return 4
	}
	return 1
}

// Best gives the most available of resources; it is not ok if none is
// available.
func Best(resources map[string]Resource) (best Resource, ok bool) {
	for _, r := range resources {
		if r.Available && (!ok || Compare(r, best) < 0) {
			best, ok = r, true
		}
	}
	return best, ok
}

// Sorted gives resources, the most available first.
func Sorted(resources map[string]Resource) []Resource {
	return slices.SortedFunc(maps.Values(resources), Compare)
}

// ValidShow tells that show may stand in <show/>, or that there is none
// (RFC 6121, section 4.7.2.1).
func ValidShow(show string) bool {
	switch show {
	case "", "away", "chat", "dnd", "xa":
		return true
	}
	return false
}

// ParsePriority reads the text of <priority/>; without any it is 0. It returns
// an error for what is no integer between -128 and 127 (RFC 6121, section 4.7.2.3).
func ParsePriority(text string) (int8, error) {
	text = strings.Trim(text, " \t\r\n")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("presence: priority %q is not between -128 and 127", text)
	}
	return int8(n), nil
}
