package edge

import (
	"context"
	"time"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/node"
	"github.com/rollcall/rollcall/schema/privacy"
)

// Published reads from the projection what accounts publish and keep, and what
// is known of their clients.
type Published interface {
	// Stored gives what an account keeps under a name.
	Stored(ctx context.Context, q Asked, space event.StorageSet_Space, name string) (*Stored, error)
	// Node gives a node of an account with up to most items: those named, or
	// else the newest ones, as far as their payloads are not much more than
	// bytes together.
	Node(ctx context.Context, q Asked, name string, ids []string, most, bytes int) (*Node, error)
	// Nodes gives the nodes of an account, by name.
	Nodes(ctx context.Context, q Asked) (*Nodes, error)
	// LastItems gives the last item of each of these nodes of each of these
	// accounts, as far as the viewer may read it by the access of the node,
	// once the projection has everything below these offsets of partitions.
	LastItems(ctx context.Context, viewer jid.Bare, accounts, nodes []string, after map[int32]int64) ([]LastItem, error)
	// Missed gives the items that are there and were published in these gaps,
	// once the projection has everything of the partition below the offset after.
	Missed(ctx context.Context, partition int32, gaps []NewsGap, after int64) ([]LastItem, error)
	// LastActivity tells when an account was last available.
	LastActivity(ctx context.Context, q Asked) (*Activity, error)
	// Features gives what clients can do that announce it by this hash (XEP-0115).
	Features(ctx context.Context, hash, ver string) (features []string, known bool, err error)
	// Learn keeps that, once the hash is verified.
	Learn(ctx context.Context, hash, ver string, features []string) error
}

// Asked names an account and who asks about it. The answer has everything of
// the account's partition below the offset After.
type Asked struct {
	Account, Viewer jid.Bare
	Partition       int32
	After           int64
}

// Viewed is how an account stands to the viewer.
type Viewed struct {
	Exists   bool
	Admitted bool          // the viewer may see its presence, or is the account itself
	Policy   *event.Policy // of the account; nil lets everything through
}

// Stored is what is kept under a name.
type Stored struct {
	Viewed
	Payload []byte // nil if nothing is
	Entries int    // that the account keeps in all
}

// Node is a node with some of its items.
type Node struct {
	Viewed
	There bool
	node.Node
	Kept  int // items of the node in all
	Nodes int // nodes of the account in all
	Bytes int // of all items of the account; counted where no item is asked for
}

// Nodes are the nodes of an account.
type Nodes struct {
	Viewed
	All []NamedNode
}

// NamedNode is a node without its items.
type NamedNode struct {
	Name   string
	Access node.Access
}

// NewsGap is the end of an account's history, from an offset on.
type NewsGap struct {
	Account string
	From    int64
}

// LastItem is the last item of a node.
type LastItem struct {
	Account, Node string
	Access        node.Access
	Policy        *event.Policy // of the account
	Item          node.Item
}

// Activity is when an account was available.
type Activity struct {
	Viewed
	Online []string  // resources that are available now
	Since  time.Time // it is not any more; when it was created if it never was
	Status string    // that it left
}

// answersIQ tells whether the account, v, lets the client ask it: what is not
// there, or does not let it ask, is the same to it (XEP-0191, section 3.2).
func (s *session) answersIQ(v *Viewed, account jid.Bare) bool {
	return v.Exists && (account == s.local.account || privacy.Allows(v.Policy, privacy.IQ, "", s.jid()))
}

func (s *session) jid() jid.JID { return s.local.account.WithCanonical(s.resource).JID() }

// asks gives the question of this client about an account.
func (s *session) asks(q query) Asked {
	a := Asked{Account: q.to, Viewer: s.local.account, Partition: s.server.partitionOf(q.to)}
	if q.to == s.local.account {
		a.After = s.nodesAfter
	}
	return a
}
