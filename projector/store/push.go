package store

import (
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/push"
)

type (
	// PushRow is a row of push.
	PushRow struct {
		Account, Service, Node string
		Version                int64
		Options                string // XML
	}
	// PushKey is the key of push.
	PushKey struct{ Account, Service, Node string }

	// A Pushed is what a push service is to be told: a row of run.push.
	Pushed struct {
		PushKey
		Offset int64
		Domain string // of the service
	}
)

// collectPush is Collect for push services, and for what they are to be told.
func (u *Unit) collectPush(s *account.State) {
	name := s.Account.String()
	for key := range s.Changes.Push {
		if r, ok := s.Push[key]; ok {
			u.Put.Push = append(u.Put.Push, pushRow(name, key, r))
		} else {
			u.Remove.Push = append(u.Remove.Push, pushKey(name, key))
		}
	}
	for _, p := range s.Changes.Pushes {
		u.Pushes = append(u.Pushes, Pushed{pushKey(name, p.Key), p.Offset, jid.FromCanonical(p.Service).Domain()})
	}
}

// addPush is Add for push services.
func (r *Rows) addPush(s *account.State) {
	for key, registered := range s.Push {
		r.Push = append(r.Push, pushRow(s.Account.String(), key, registered))
	}
}

// fillPush is fill for push services.
func (r *Rows) fillPush(states map[string]*account.State) {
	for _, row := range r.Push {
		s := states[row.Account]
		if s.Push == nil {
			s.Push = make(map[push.Key]push.Registration)
		}
		registered := push.Registration{Version: row.Version}
		if row.Options != "" {
			registered.Options = []byte(row.Options)
		}
		s.Push[push.Key{Service: row.Service, Node: row.Node}] = registered
	}
}

func pushKey(name string, key push.Key) PushKey {
	return PushKey{name, clean(key.Service), clean(key.Node)}
}

func pushRow(name string, key push.Key, r push.Registration) PushRow {
	return PushRow{Account: name, Service: clean(key.Service), Node: clean(key.Node), Version: r.Version, Options: string(r.Options)}
}

// queueRemovePush deletes rows of push. What is to be told of them is found to
// be moot by who would tell it.
func (q *statements) queueRemovePush(b *pgx.Batch, keys []PushKey) {
	if len(keys) > 0 {
		b.Queue(q.removePush, each(keys, func(k PushKey) string { return k.Account }),
			each(keys, func(k PushKey) string { return k.Service }), each(keys, func(k PushKey) string { return k.Node }))
	}
}

// addPushes: of a message a service is told once, also when it is folded again
// after a rebuild that began before it.
const addPushes = `INSERT INTO run.push (account, service, node, "offset", domain)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int8[], $5::text[]) ON CONFLICT DO NOTHING`

func queuePushes(b *pgx.Batch, p []Pushed) {
	if len(p) > 0 {
		b.Queue(addPushes, each(p, func(p Pushed) string { return p.Account }), each(p, func(p Pushed) string { return p.Service }),
			each(p, func(p Pushed) string { return p.Node }), each(p, func(p Pushed) int64 { return p.Offset }),
			each(p, func(p Pushed) string { return p.Domain }))
	}
}

var pushTable = table[PushRow]{
	name: "push", keys: 3,
	columns: []column{{name: "account", kind: "text"}, {name: "service", kind: "text"}, {name: "node", kind: "text"},
		{name: "version", kind: "int8"}, {name: "options", kind: "bytea"}},
	arrays: func(rows []PushRow) []any {
		return []any{
			each(rows, func(r PushRow) string { return r.Account }),
			each(rows, func(r PushRow) string { return r.Service }),
			each(rows, func(r PushRow) string { return r.Node }),
			each(rows, func(r PushRow) int64 { return r.Version }),
			each(rows, func(r PushRow) []byte { return []byte(r.Options) }),
		}
	},
	line: func(b []byte, r PushRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(lineText(b, r.Service))
		b = tab(lineText(b, r.Node))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		return lineBytes(b, r.Options)
	},
	scan: func(rows pgx.Rows) (r PushRow, err error) {
		var options []byte
		err = rows.Scan(&r.Account, &r.Service, &r.Node, &r.Version, &options)
		r.Options = string(options)
		return r, err
	},
}
