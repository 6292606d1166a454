package store

import (
	"strings"
	"time"

	"github.com/google/uuid"
)

// The rows of schema views as comparable values: two rows are the same row if
// they are ==. Bytes are strings, times are microseconds since 1970 UTC, an
// array of text is a literal (see textArray), NULL is "".
type (
	// AccountRow is a row of account.
	AccountRow struct {
		Account       string
		Partition     int32
		CreatedOffset int64
		CreatedAt     int64 // µs
		LeftAt        int64 // µs; 0 is NULL
		LeftStatus    string
	}
	// ItemRow is a row of roster_item.
	ItemRow struct {
		Account, Contact string
		Name             string
		Groups           string // text[] literal
		State            int16  // bits of subscription.State
		Version          int64
		Removed          bool
		Request          string // event.Presence, "" if none waits
	}
	// ResourceRow is a row of resource.
	ResourceRow struct {
		Account, Resource string
		Partition         int32
		Binding           uuid.UUID
		Edge              string
		Epoch             int64
		Available         bool
		Show, Status      string
		Priority          int16
		Payload           string
		Lang, StanzaID    string
		Version           int64
		BoundOffset       int64
		Since             int64 // µs
		Inherited         bool
		Session           uuid.UUID
		BeganOffset       int64
		Handled           int64
		Ahead             string
		Copies            bool
	}
	// DirectedRow is a row of directed.
	DirectedRow struct {
		Account, Resource, Target string
	}
	// InboxRow is a row of inbox.
	InboxRow struct {
		Account  string
		Offset   int64
		ID       uuid.UUID
		At       int64 // µs
		Sender   string
		Resource string
		Accepted string // event.MessageAccepted
	}
)

// Key types of the tables.
type (
	// ItemKey is the key of roster_item.
	ItemKey struct{ Account, Contact string }
	// ResourceKey is the key of resource, and of what it has in directed.
	ResourceKey struct{ Account, Resource string }
	// InboxKey is the key of inbox.
	InboxKey struct {
		Account string
		Offset  int64
	}
)

// Rows holds rows of every table of an account's state, each at most once.
type Rows struct {
	Accounts  []AccountRow
	Items     []ItemRow
	Resources []ResourceRow
	Directed  []DirectedRow
	Ended     []EndedRow
	Inbox     []InboxRow
	Origins   []OriginsRow
	Nodes     []NodeRow
	NodeItems []NodeItemRow
	Storage   []StorageRow
	Privacy   []PrivacyRow
	Hidden    []HiddenRow
	Refused   []RefusedRow
	Push      []PushRow
	Archive   []ArchiveRow
}

// Len is the number of rows.
func (r *Rows) Len() int {
	return len(r.Accounts) + len(r.Items) + len(r.Resources) + len(r.Directed) + len(r.Inbox) + len(r.Ended) + len(r.Origins) +
		len(r.Nodes) + len(r.NodeItems) + len(r.Storage) + len(r.Privacy) + len(r.Hidden) + len(r.Refused) + len(r.Push) + len(r.Archive)
}

// Keys names rows to delete.
type Keys struct {
	Accounts  []string
	Items     []ItemKey
	Resources []ResourceKey
	Directed  []ResourceKey // every target of the resource
	Ended     []EndedKey
	Inbox     []InboxKey
	Origins   []string
	Nodes     []NodeKey
	NodeItems []NodeItemKey
	Storage   []StorageKey
	Privacy   []string
	Hidden    []HiddenRow
	Refused   []RefusedRow
	Push      []PushKey
	Archive   []string
}

// Len is the number of keys.
func (k *Keys) Len() int {
	return len(k.Accounts) + len(k.Items) + len(k.Resources) + len(k.Directed) + len(k.Inbox) + len(k.Ended) + len(k.Origins) +
		len(k.Nodes) + len(k.NodeItems) + len(k.Storage) + len(k.Privacy) + len(k.Hidden) + len(k.Refused) + len(k.Push) + len(k.Archive)
}

// clean gives s without what text in Postgres cannot hold. Everything else in
// an event's strings is valid UTF-8, for the codec refuses the rest.
func clean(s string) string {
	if strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// textArray gives the literal of an array of text, one for each value.
func textArray(values []string) string {
	if len(values) == 0 {
		return "{}"
	}
	var b strings.Builder
	b.WriteByte('{')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('"')
		for j := range len(v) {
			switch c := v[j]; c {
			case 0:
			case '"', '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}

// micros is the precision of Postgres.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}
