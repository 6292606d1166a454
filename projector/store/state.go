package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/presence"
	"github.com/rollcall/rollcall/schema/roster"
	"github.com/rollcall/rollcall/schema/subscription"
)

// Collect adds to u what changed in s, and resets s.Changes. What u had of the
// same account must have been collected before s changed again, and committed
// or dropped: a unit takes each account once.
func (u *Unit) Collect(s *account.State, partition int32) {
	c, name := &s.Changes, s.Account.String()
	if c.Account {
		if s.Exists {
			u.Put.Accounts = append(u.Put.Accounts, accountRow(s, partition))
		} else {
			u.Remove.Accounts = append(u.Remove.Accounts, name)
		}
	}
	for contact := range c.Items {
		if i, there := s.Roster[contact]; there {
			u.Put.Items = append(u.Put.Items, itemRow(name, i))
		} else {
			u.Remove.Items = append(u.Remove.Items, ItemKey{name, contact.String()})
		}
	}
	for resource := range c.Resources {
		if r, there := s.Resources[resource]; there {
			u.Put.Resources = append(u.Put.Resources, resourceRow(name, r, partition))
		} else {
			u.Remove.Resources = append(u.Remove.Resources, ResourceKey{name, clean(resource)})
		}
	}
	for resource := range c.Directed {
		u.Remove.Directed = append(u.Remove.Directed, ResourceKey{name, clean(resource)})
		u.Put.Directed = appendDirected(u.Put.Directed, name, resource, s.Directed[resource])
	}
	for offset := range c.Inbox {
		if m, there := s.Inbox[offset]; there {
			u.Put.Inbox = append(u.Put.Inbox, inboxRow(name, m))
		} else {
			u.Remove.Inbox = append(u.Remove.Inbox, InboxKey{name, offset})
		}
	}
	u.collectOrigins(s)
	u.collectEnded(s)
	u.collectNodes(s)
	u.collectPrivacy(s, partition)
	u.collectPush(s)
	u.collectArchive(s)
	c.Reset()
}

// Add adds every row of s to r.
func (r *Rows) Add(s *account.State, partition int32) {
	name := s.Account.String()
	if s.Exists {
		r.Accounts = append(r.Accounts, accountRow(s, partition))
	}
	for _, i := range s.Roster {
		r.Items = append(r.Items, itemRow(name, i))
	}
	for _, resource := range s.Resources {
		r.Resources = append(r.Resources, resourceRow(name, resource, partition))
	}
	for resource, targets := range s.Directed {
		r.Directed = appendDirected(r.Directed, name, resource, targets)
	}
	for _, m := range s.Inbox {
		r.Inbox = append(r.Inbox, inboxRow(name, m))
	}
	r.addOrigins(s)
	for _, e := range s.Ended {
		r.Ended = append(r.Ended, endedRow(name, e))
	}
	r.addNodes(s)
	r.addPrivacy(s, partition)
	r.addPush(s)
	r.addArchive(s)
}

func accountRow(s *account.State, partition int32) AccountRow {
	return AccountRow{Account: s.Account.String(), Partition: partition, CreatedOffset: s.Created, CreatedAt: micros(s.CreatedAt),
		LeftAt: s.Departed.At, LeftStatus: clean(s.Departed.Status)}
}

func itemRow(name string, i roster.Item) ItemRow {
	return ItemRow{Account: name, Contact: i.Contact.String(), Name: clean(i.Name), Groups: textArray(i.Groups),
		State: int16(i.State), Version: i.Version, Removed: i.Removed, Request: string(i.Request)}
}

func resourceRow(name string, r presence.Resource, partition int32) ResourceRow {
	return ResourceRow{Account: name, Resource: clean(r.Name), Partition: partition, Binding: r.Binding, Edge: clean(r.Edge),
		Epoch: int64(r.Epoch), Available: r.Available, Show: clean(r.Show), Status: clean(r.Status), Priority: int16(r.Priority),
		Payload: string(r.Payload), Lang: clean(r.Lang), StanzaID: clean(r.ID), Version: r.Version, BoundOffset: r.Bound, Since: micros(r.Since),
		Inherited: r.Inherited, Session: r.Session, BeganOffset: r.Began, Handled: r.Handled.Upto, Ahead: r.Handled.Ahead, Copies: r.Copies}
}

func appendDirected(rows []DirectedRow, name, resource string, targets map[string]struct{}) []DirectedRow {
	for target := range targets {
		rows = append(rows, DirectedRow{name, clean(resource), clean(target)})
	}
	return rows
}

func inboxRow(name string, m account.Stored) InboxRow {
	// Marshalling what was unmarshalled cannot fail.
	accepted, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Accepted)
	if err != nil {
		panic(fmt.Sprintf("marshal the message at %d of %s: %v", m.Offset, name, err))
	}
	return InboxRow{Account: name, Offset: m.Offset, ID: m.ID, At: micros(m.At), Sender: clean(m.Accepted.GetFrom()),
		Resource: clean(m.Accepted.GetResource()), Accepted: string(accepted)}
}

// Load gives the states of accounts as they are committed, in one round trip:
// one for each, also for those that do not exist. Payloads of nodes and of
// storage, which are big and which the fold does not read, are not loaded.
func (s *Store) Load(ctx context.Context, accounts []jid.Bare) (map[string]*account.State, error) {
	states := make(map[string]*account.State, len(accounts))
	names := make([]string, len(accounts))
	for i, b := range accounts {
		names[i] = b.String()
		states[names[i]] = account.New(b)
	}
	var rows Rows
	b := new(pgx.Batch)
	readInto(b, &accountTable, s.sql.loadAccounts, &rows.Accounts, names)
	readInto(b, &itemTable, s.sql.loadItems, &rows.Items, names)
	readInto(b, &resourceTable, s.sql.loadResources, &rows.Resources, names)
	readInto(b, &directedTable, s.sql.loadDirected, &rows.Directed, names)
	readInto(b, &endedTable, s.sql.loadEnded, &rows.Ended, names)
	readInto(b, &inboxTable, s.sql.loadInbox, &rows.Inbox, names)
	readInto(b, &originsTable, s.sql.loadOrigins, &rows.Origins, names)
	readInto(b, &nodeTable, s.sql.loadNodes, &rows.Nodes, names)
	readInto(b, &nodeItemTable, s.sql.loadNodeItems, &rows.NodeItems, names)
	readInto(b, &storageTable, s.sql.loadStorage, &rows.Storage, names)
	readInto(b, &privacyTable, s.sql.loadPrivacy, &rows.Privacy, names)
	readInto(b, &hiddenTable, s.sql.loadHidden, &rows.Hidden, names)
	readInto(b, &refusedTable, s.sql.loadRefused, &rows.Refused, names)
	readInto(b, &pushTable, s.sql.loadPush, &rows.Push, names)
	readInto(b, &archiveTable, s.sql.loadArchive, &rows.Archive, names)
	if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("load %d accounts: %w", len(accounts), err)
	}
	if err := rows.fill(states); err != nil {
		return nil, fmt.Errorf("load %d accounts: %w", len(accounts), err)
	}
	return states, nil
}

func readInto[R any](b *pgx.Batch, t *table[R], sql string, into *[]R, args ...any) {
	b.Queue(sql, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := t.scan(rows)
			if err != nil {
				return err
			}
			*into = append(*into, r)
		}
		return rows.Err()
	})
}

// fill puts the rows into their states.
func (r *Rows) fill(states map[string]*account.State) error {
	for _, a := range r.Accounts {
		s := states[a.Account]
		s.Exists, s.Created, s.CreatedAt = true, a.CreatedOffset, at(a.CreatedAt)
		s.Departed = account.Departure{At: a.LeftAt, Status: a.LeftStatus}
	}
	for _, i := range r.Items {
		s := states[i.Account]
		if s.Roster == nil {
			s.Roster = make(map[jid.Bare]roster.Item)
		}
		contact := jid.BareFromCanonical(i.Contact)
		item := roster.Item{Contact: contact, Name: i.Name, Groups: textOf(i.Groups), State: subscription.State(i.State), Version: i.Version, Removed: i.Removed}
		if i.Request != "" {
			item.Request = []byte(i.Request)
		}
		s.Roster[contact] = item
	}
	for _, p := range r.Resources {
		s := states[p.Account]
		if s.Resources == nil {
			s.Resources = make(map[string]presence.Resource)
		}
		resource := presence.Bind(p.Resource, p.Binding, p.Edge, uint64(p.Epoch), p.BoundOffset, at(p.Since))
		resource.Available, resource.Inherited, resource.Version = p.Available, p.Inherited, p.Version
		resource.Session, resource.Began, resource.Handled = p.Session, p.BeganOffset, presence.Handled{Upto: p.Handled, Ahead: p.Ahead}
		resource.Copies = p.Copies
		resource.Content = presence.Content{Show: p.Show, Status: p.Status, Priority: int8(p.Priority), Lang: p.Lang, ID: p.StanzaID}
		if p.Payload != "" {
			resource.Payload = []byte(p.Payload)
		}
		s.Resources[p.Resource] = resource
	}
	for _, d := range r.Directed {
		states[d.Account].Directed.Add(d.Resource, d.Target)
	}
	for _, m := range r.Inbox {
		s := states[m.Account]
		if s.Inbox == nil {
			s.Inbox = make(map[int64]account.Stored)
		}
		accepted := new(event.MessageAccepted)
		if err := proto.Unmarshal([]byte(m.Accepted), accepted); err != nil {
			return fmt.Errorf("message at %d of %s: %w", m.Offset, m.Account, err)
		}
		s.Inbox[m.Offset] = account.Stored{Offset: m.Offset, ID: m.ID, At: at(m.At), Accepted: accepted}
	}
	if err := r.fillOrigins(states); err != nil {
		return err
	}
	r.fillEnded(states)
	r.fillNodes(states)
	r.fillPush(states)
	r.fillArchive(states)
	return r.fillPrivacy(states)
}

// textOf reads what textArray wrote.
func textOf(literal string) []string {
	var values []string
	var value strings.Builder
	quoted := false
	for i := 1; i < len(literal)-1; i++ {
		switch c := literal[i]; {
		case c == '\\':
			i++
			value.WriteByte(literal[i])
		case c == '"' && quoted:
			values = append(values, value.String())
			value.Reset()
			quoted = false
		case c == '"':
			quoted = true
		case quoted:
			value.WriteByte(c)
		}
	}
	return values
}
