package store

import (
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/node"
)

type (
	// NodeRow is a row of node.
	NodeRow struct {
		Account, Node         string
		Access                int16
		MaxItems              int64
		Transient, NoLastItem bool
		Version               int64
	}
	// NodeItemRow is a row of node_item.
	NodeItemRow struct {
		Account, Node, ID string
		Version           int64
		At                int64 // µs
		Payload           string
	}
	// StorageRow is a row of storage.
	StorageRow struct {
		Account string
		Space   int16
		Name    string
		Version int64
		Payload string
	}

	// NodeKey is the key of node.
	NodeKey struct{ Account, Node string }
	// NodeItemKey is the key of node_item.
	NodeItemKey struct{ Account, Node, ID string }
	// StorageKey is the key of storage.
	StorageKey struct {
		Account string
		Space   int16
		Name    string
	}
)

// collectNodes is Collect for nodes and storage. Payloads that it has taken are
// dropped from s: the fold does not read them, and nothing is put twice.
func (u *Unit) collectNodes(s *account.State) {
	c, name := &s.Changes, s.Account.String()
	for n := range c.Nodes {
		if there, ok := s.Nodes[n]; ok {
			u.Put.Nodes = append(u.Put.Nodes, nodeRow(name, n, there))
		} else {
			u.Remove.Nodes = append(u.Remove.Nodes, NodeKey{name, clean(n)})
		}
	}
	for k := range c.NodeItems {
		items := s.Nodes[k.Node]
		if i := items.Find(k.ID); i >= 0 {
			u.Put.NodeItems = append(u.Put.NodeItems, nodeItemRow(name, k.Node, items.Items[i]))
			items.Items[i].Payload = nil
		} else {
			u.Remove.NodeItems = append(u.Remove.NodeItems, NodeItemKey{name, clean(k.Node), clean(k.ID)})
		}
	}
	for k := range c.Storage {
		if e, ok := s.Storage[k]; ok {
			u.Put.Storage = append(u.Put.Storage, storageRow(name, k, e))
			s.Storage[k] = account.StorageEntry{Version: e.Version}
		} else {
			u.Remove.Storage = append(u.Remove.Storage, StorageKey{name, int16(k.Space), clean(k.Name)})
		}
	}
}

// addNodes is Add for nodes and storage.
func (r *Rows) addNodes(s *account.State) {
	name := s.Account.String()
	for n, there := range s.Nodes {
		r.Nodes = append(r.Nodes, nodeRow(name, n, there))
		for _, i := range there.Items {
			r.NodeItems = append(r.NodeItems, nodeItemRow(name, n, i))
		}
	}
	for k, e := range s.Storage {
		r.Storage = append(r.Storage, storageRow(name, k, e))
	}
}

// fillNodes is fill for nodes and storage. Items come by their version.
func (r *Rows) fillNodes(states map[string]*account.State) {
	for _, n := range r.Nodes {
		s := states[n.Account]
		if s.Nodes == nil {
			s.Nodes = make(map[string]node.Node)
		}
		s.Nodes[n.Node] = node.Node{Version: n.Version, Config: node.Config{
			Access: node.Access(n.Access), MaxItems: uint32(n.MaxItems), Transient: n.Transient, NoLastItem: n.NoLastItem,
		}}
	}
	for _, i := range r.NodeItems {
		s := states[i.Account]
		n, ok := s.Nodes[i.Node]
		if !ok {
			continue // a stray, which no history has
		}
		n.Items = append(n.Items, node.Item{ID: i.ID, Version: i.Version, At: i.At})
		s.Nodes[i.Node] = n
	}
	for _, e := range r.Storage {
		s := states[e.Account]
		if s.Storage == nil {
			s.Storage = make(map[account.StorageKey]account.StorageEntry)
		}
		s.Storage[account.StorageKey{Space: event.StorageSet_Space(e.Space), Name: e.Name}] = account.StorageEntry{Version: e.Version}
	}
}

func nodeRow(name, n string, there node.Node) NodeRow {
	return NodeRow{Account: name, Node: clean(n), Access: int16(there.Access), MaxItems: int64(there.MaxItems),
		Transient: there.Transient, NoLastItem: there.NoLastItem, Version: there.Version}
}

func nodeItemRow(name, n string, i node.Item) NodeItemRow {
	return NodeItemRow{Account: name, Node: clean(n), ID: clean(i.ID), Version: i.Version, At: i.At, Payload: string(i.Payload)}
}

func storageRow(name string, k account.StorageKey, e account.StorageEntry) StorageRow {
	return StorageRow{Account: name, Space: int16(k.Space), Name: clean(k.Name), Version: e.Version, Payload: string(e.Payload)}
}

// withoutPayload reads the rows of a table in the order of their versions, with
// nothing for the payload: it is big, and the fold does not read it.
func (t *table[R]) withoutPayload(schema, where string) string {
	columns := strings.ReplaceAll(t.names("t."), `t."payload"`, `''::bytea`)
	return "SELECT " + columns + " FROM " + schema + "." + t.name + " t " + where + " ORDER BY t.version"
}

var nodeTable = table[NodeRow]{
	name: "node", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "node", kind: "text"}, {name: "access", kind: "int2"},
		{name: "max_items", kind: "int8"}, {name: "transient", kind: "bool"}, {name: "no_last_item", kind: "bool"}, {name: "version", kind: "int8"}},
	arrays: func(rows []NodeRow) []any {
		return []any{
			each(rows, func(r NodeRow) string { return r.Account }),
			each(rows, func(r NodeRow) string { return r.Node }),
			each(rows, func(r NodeRow) int16 { return r.Access }),
			each(rows, func(r NodeRow) int64 { return r.MaxItems }),
			each(rows, func(r NodeRow) bool { return r.Transient }),
			each(rows, func(r NodeRow) bool { return r.NoLastItem }),
			each(rows, func(r NodeRow) int64 { return r.Version }),
		}
	},
	line: func(b []byte, r NodeRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(lineText(b, r.Node))
		b = tab(strconv.AppendInt(b, int64(r.Access), 10))
		b = tab(strconv.AppendInt(b, r.MaxItems, 10))
		b = tab(strconv.AppendBool(b, r.Transient))
		b = tab(strconv.AppendBool(b, r.NoLastItem))
		return strconv.AppendInt(b, r.Version, 10)
	},
	scan: func(rows pgx.Rows) (r NodeRow, err error) {
		err = rows.Scan(&r.Account, &r.Node, &r.Access, &r.MaxItems, &r.Transient, &r.NoLastItem, &r.Version)
		return r, err
	},
}

var nodeItemTable = table[NodeItemRow]{
	name: "node_item", keys: 3,
	columns: []column{{name: "account", kind: "text"}, {name: "node", kind: "text"}, {name: "id", kind: "text"},
		{name: "version", kind: "int8"}, {name: "at", kind: "timestamptz"}, {name: "payload", kind: "bytea"}},
	arrays: func(rows []NodeItemRow) []any {
		return []any{
			each(rows, func(r NodeItemRow) string { return r.Account }),
			each(rows, func(r NodeItemRow) string { return r.Node }),
			each(rows, func(r NodeItemRow) string { return r.ID }),
			each(rows, func(r NodeItemRow) int64 { return r.Version }),
			each(rows, func(r NodeItemRow) time.Time { return at(r.At) }),
			each(rows, func(r NodeItemRow) []byte { return []byte(r.Payload) }),
		}
	},
	line: func(b []byte, r NodeItemRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(lineText(b, r.Node))
		b = tab(lineText(b, r.ID))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		b = tab(lineTime(b, r.At))
		return lineBytes(b, r.Payload)
	},
	scan: func(rows pgx.Rows) (r NodeItemRow, err error) {
		var payload []byte
		var when time.Time
		err = rows.Scan(&r.Account, &r.Node, &r.ID, &r.Version, &when, &payload)
		r.At, r.Payload = micros(when), string(payload)
		return r, err
	},
}

var storageTable = table[StorageRow]{
	name: "storage", keys: 3,
	columns: []column{{name: "account", kind: "text"}, {name: "space", kind: "int2"}, {name: "name", kind: "text"},
		{name: "version", kind: "int8"}, {name: "payload", kind: "bytea"}},
	arrays: func(rows []StorageRow) []any {
		return []any{
			each(rows, func(r StorageRow) string { return r.Account }),
			each(rows, func(r StorageRow) int16 { return r.Space }),
			each(rows, func(r StorageRow) string { return r.Name }),
			each(rows, func(r StorageRow) int64 { return r.Version }),
			each(rows, func(r StorageRow) []byte { return []byte(r.Payload) }),
		}
	},
	line: func(b []byte, r StorageRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(strconv.AppendInt(b, int64(r.Space), 10))
		b = tab(lineText(b, r.Name))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		return lineBytes(b, r.Payload)
	},
	scan: func(rows pgx.Rows) (r StorageRow, err error) {
		var payload []byte
		err = rows.Scan(&r.Account, &r.Space, &r.Name, &r.Version, &payload)
		r.Payload = string(payload)
		return r, err
	},
}
