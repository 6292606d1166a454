package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// Log appends to the histories of accounts, as one origin.
type Log interface {
	// Append stores e, without waiting, and then calls done once, from any
	// goroutine and perhaps before it returns. It fills in the event's
	// origin and sequence, and its id and time where they are empty. Events
	// are stored in the order of the calls. What ends or settles something
	// is tried again until it is stored.
	Append(account jid.Bare, e *event.Event, done func(topic.Position, error))
}

// Lease says whether this edge may still speak for its sessions.
type Lease interface {
	// Epoch is this edge's number among its lives; it never changes.
	Epoch() uint64
	// Valid tells whether the lease holds now.
	Valid() bool
	// Lost is closed when the edge was marked lost: its sessions are offline
	// to everybody, whatever it does.
	Lost() <-chan struct{}
}

// Links are the streams to the fan-out workers. No method blocks, and none
// calls the Server before it returns.
type Links interface {
	// Follow makes the follower, a bare JID with sessions here, hear of the
	// account, whose history is in the partition. An Answer comes.
	Follow(partition int32, account, follower string)
	// Unfollow ends that.
	Unfollow(partition int32, account, follower string)
	// SendIq hands an iq to the worker of iq.Partition. It tells whether
	// there is one.
	SendIq(iq *wire.Iq) bool
	// Serve tells every worker, those to come too, which components are
	// connected here (XEP-0114).
	Serve(components []*wire.Component)
}

// Rosters reads rosters from the projection.
type Rosters interface {
	// Roster gives the roster of the account once everything of its partition
	// below the offset after is in it.
	Roster(ctx context.Context, account jid.Bare, partition int32, after int64) (*Roster, error)
	// Privacy gives likewise what the account has set of what it lets
	// through, nil if nothing.
	Privacy(ctx context.Context, account jid.Bare, partition int32, after int64) (*event.Privacy, error)
}

// Roster is the roster of an account as it was at an offset.
type Roster struct {
	// Items holds removed items too: tombstones, and contacts that only ask
	// to subscribe (PendingIn).
	Items []RosterItem
	// NextOffset is the first record that is not in it.
	NextOffset int64
	// Created is the offset of the account's AccountCreated, and CreatedAt its
	// time, microseconds since 1970 UTC.
	Created, CreatedAt int64
	// Resources is how many connected resources the account has, on all edges.
	Resources int
	// Purged is the highest version of an item whose tombstone is gone; 0 if
	// none is.
	Purged int64
}

// RosterItem is an item, the offset that made it what clients see, 0 if they
// never saw it, and what its contact said that asks to subscribe, if it does.
type RosterItem struct {
	*event.RosterItem
	Version int64
	Request *event.Presence
}

// Sessions reads what the projection knows of sessions that may be resumed on
// this edge though another held them (XEP-0198).
type Sessions interface {
	// Settled returns once all that is in the log when it is called, and what
	// was caused by it, is projected: wherever it was, as far as it concerns
	// the histories in the partition.
	Settled(ctx context.Context, partition int32) error
	// Session gives the session of the account's resource that began with a
	// binding, once everything of the partition below the offset after is
	// projected; nil if there is none that can be resumed.
	Session(ctx context.Context, account jid.Bare, partition int32, resource string, began uuid.UUID, after int64) (*Session, error)
}

// Session is a session as the projection knows it.
type Session struct {
	Binding  uuid.UUID       // its last
	Began    int64           // offset of the ResourceBound that began it
	Handled  int64           // the client's stanza up to which each that leaves an event has left it; negative: not known
	Presence *event.Presence // nil: it is, or was, not available
	Over     bool            // it ended with its edge, and its presence with it
	Copies   bool            // its client gets copies of messages (XEP-0280)
}

// Accounts is what a client may do with its own account (XEP-0077).
type Accounts interface {
	// SetPassword changes it. A *stanza.Error goes to the client as it is.
	SetPassword(ctx context.Context, account jid.Bare, password string) error
	// Delete ends the account: it returns when AccountDeleted is stored.
	Delete(ctx context.Context, account jid.Bare) error
}

// Listen is a port for clients.
type Listen struct {
	Address string // host:port
	Direct  bool   // connections begin with TLS (XEP-0368)
	Web     bool   // connections speak HTTP, for WebSockets (RFC 7395)
	// Components connect here, in the clear (XEP-0114).
	Components bool
}

// Options say what a Server is made of.
type Options struct {
	ID         string   // of the edge, without its epoch
	Domain     string   // the one domain that is served
	Version    string   // of the software; "dev"
	Partitions int      // of the topic account
	Listen     []Listen // where clients come in
	Web        WebOptions

	Log      Log
	Lease    Lease
	Links    Links
	Rosters  Rosters
	Accounts Accounts // nil: passwords and accounts cannot be changed in a session
	Sessions Sessions // nil: sessions are resumed on their own edge alone
	// Published: nil: accounts publish and keep nothing.
	Published Published
	// Archive: nil: nobody is told what was said before.
	Archive Archive

	// Components say what may connect as a component (XEP-0114).
	Components ComponentOptions

	// Push says how push services are told that messages wait (XEP-0357).
	Push PushOptions

	// Stream says how connections are negotiated. Its Domain, Direct and
	// After.Bytes are filled in.
	Stream stream.Options

	// Limits bound what one session, or one account, may ask for.
	Limits Limits

	MaxPayload   int           // bytes of an item or of what is stored; 192 KiB
	MaxStored    int           // elements that an account keeps, its vCard too; 100
	MaxNodes     int           // nodes of an account; 200
	MaxItems     int           // items of a node; 1000
	MaxPublished int           // bytes of all items of an account; 32 MiB
	MaxResources int           // sessions of one account here; 20
	MaxStanza    int           // bytes of one stanza after login; 256 KiB
	MaxUnbound   int           // connections that negotiate at the same time; 1024
	MaxArchiving int           // queries of archives that are read at the same time; 16
	SoftOutbound int           // bytes that wait for a client before presence is conflated; 64 KiB
	HardOutbound int           // bytes that wait before its session ends; 1 MiB
	WriteTimeout time.Duration // of one write to a client; 30s
	IdlePing     time.Duration // silence after which a client is sent white space; 5m; negative: never
	AnswerIn     time.Duration // longest time until a request is answered; 30s
	ReadIn       time.Duration // longest time that a roster, or an archive, is waited for; 5s
	HoldFor      time.Duration // longest time that acknowledgements wait for a valid lease; 10s
	DrainFor     time.Duration // longest time that a stopping edge waits for its last appends; 5s
	RetryEvery   time.Duration // between tries to append presence that was refused; 2s
	Grace        time.Duration // how long a broken connection's presence stays; 10s; negative: not at all
	ResumeFor    time.Duration // how long a broken stream may be resumed (XEP-0198); 5m; negative: not at all

	Logger   *slog.Logger          // slog.Default()
	Registry prometheus.Registerer // nil: metrics are kept, not shown
}

func (o *Options) check() error {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	num(&o.MaxPayload, 192<<10)
	num(&o.MaxStored, 100)
	num(&o.MaxNodes, 200)
	num(&o.MaxItems, 1000)
	num(&o.MaxPublished, 32<<20)
	num(&o.MaxResources, 20)
	o.Limits.fill()
	o.Components.fill()
	o.Push.fill()
	num(&o.MaxStanza, 256<<10)
	num(&o.MaxUnbound, 1024)
	num(&o.MaxArchiving, 16)
	num(&o.SoftOutbound, 64<<10)
	num(&o.HardOutbound, 1<<20)
	def(&o.WriteTimeout, 30*time.Second)
	def(&o.IdlePing, 5*time.Minute)
	def(&o.AnswerIn, 30*time.Second)
	def(&o.ReadIn, 5*time.Second)
	def(&o.HoldFor, 10*time.Second)
	def(&o.DrainFor, 5*time.Second)
	def(&o.RetryEvery, 2*time.Second)
	def(&o.Grace, 10*time.Second)
	def(&o.ResumeFor, 5*time.Minute)
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.ID == "" || o.Domain == "":
		return errors.New("edge: an edge needs an id and a domain")
	case o.Partitions <= 0:
		return fmt.Errorf("edge: %d partitions", o.Partitions)
	case o.Log == nil || o.Lease == nil || o.Links == nil || o.Rosters == nil:
		return errors.New("edge: Log, Lease, Links and Rosters must be given")
	case min(o.MaxPayload, o.MaxStored, o.MaxNodes, o.MaxItems, o.MaxPublished) < 0:
		return fmt.Errorf("edge: MaxPayload %d, MaxStored %d, MaxNodes %d, MaxItems %d, MaxPublished %d: none may be negative", o.MaxPayload, o.MaxStored, o.MaxNodes, o.MaxItems, o.MaxPublished)
	case o.HardOutbound < o.SoftOutbound:
		return fmt.Errorf("edge: HardOutbound %d < SoftOutbound %d", o.HardOutbound, o.SoftOutbound)
	}
	if _, own := o.Components.Secrets[o.Domain]; own {
		return fmt.Errorf("edge: a component cannot serve %s itself", o.Domain)
	}
	for _, l := range o.Listen {
		switch {
		case l.Web && l.Direct && o.Stream.TLS == nil:
			return fmt.Errorf("edge: no certificate for HTTPS on %s", l.Address)
		case l.Web && !l.Direct && !o.Stream.InsecureAuth:
			return fmt.Errorf("edge: on %s, without TLS, nobody could log in", l.Address)
		}
	}
	if err := o.Push.check(); err != nil {
		return err
	}
	return o.Web.check()
}
