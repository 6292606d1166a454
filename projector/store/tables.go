package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// A table is what the code knows of a table of schema views: its columns, the
// key first, and how its rows R are turned into parameters, COPY lines and back.
type table[R any] struct {
	name    string
	columns []column
	keys    int // how many columns are the key

	arrays func(rows []R) []any        // one array a column, for unnest
	line   func(b []byte, r R) []byte  // in COPY's text format
	scan   func(r pgx.Rows) (R, error) // of a SELECT of all columns
}

// A column has a name, its type, and, where an array of arrays would be needed,
// the type by which its value goes through unnest.
type column struct{ name, kind, via string }

func (t *table[R]) names(prefix string) string {
	var b strings.Builder
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(prefix + `"` + c.name + `"`)
	}
	return b.String()
}

// values gives "unnest($1::t1[], …) AS u(c1, …)" of the first n columns.
func (t *table[R]) values(n int) string {
	args, names := make([]string, n), make([]string, n)
	for i, c := range t.columns[:n] {
		kind := c.kind
		if c.via != "" {
			kind = c.via
		}
		args[i], names[i] = fmt.Sprintf("$%d::%s[]", i+1, kind), `"`+c.name+`"`
	}
	return "unnest(" + strings.Join(args, ", ") + ") AS u(" + strings.Join(names, ", ") + ")"
}

// conflict is the end of an upsert; a table of nothing but its key changes nothing.
func (t *table[R]) conflict() string {
	if t.keys == len(t.columns) {
		return " ON CONFLICT DO NOTHING"
	}
	keys, set := make([]string, t.keys), make([]string, 0, len(t.columns))
	for i, c := range t.columns {
		if i < t.keys {
			keys[i] = `"` + c.name + `"`
		} else {
			set = append(set, fmt.Sprintf(`"%s" = EXCLUDED."%s"`, c.name, c.name))
		}
	}
	return " ON CONFLICT (" + strings.Join(keys, ", ") + ") DO UPDATE SET " + strings.Join(set, ", ")
}

// upsert takes one array a column.
func (t *table[R]) upsert(schema string) string {
	from := make([]string, len(t.columns))
	for i, c := range t.columns {
		from[i] = `u."` + c.name + `"`
		if c.via != "" {
			from[i] += "::" + c.kind
		}
	}
	return "INSERT INTO " + schema + "." + t.name + " (" + t.names("") + ") SELECT " + strings.Join(from, ", ") +
		" FROM " + t.values(len(t.columns)) + t.conflict()
}

// remove takes one array for each of the first n columns.
func (t *table[R]) remove(schema string, n int) string {
	on := make([]string, n)
	for i, c := range t.columns[:n] {
		on[i] = fmt.Sprintf(`t."%s" = u."%s"`, c.name, c.name)
	}
	return "DELETE FROM " + schema + "." + t.name + " t USING " + t.values(n) + " WHERE " + strings.Join(on, " AND ")
}

// all reads every column of schema's table.
func (t *table[R]) all(schema, where string) string {
	return "SELECT " + t.names("t.") + " FROM " + schema + "." + t.name + " t " + where
}

var accountTable = table[AccountRow]{
	name: "account", keys: 1,
	columns: []column{{name: "account", kind: "text"}, {name: "partition", kind: "int4"},
		{name: "created_offset", kind: "int8"}, {name: "created_at", kind: "timestamptz"},
		{name: "left_at", kind: "timestamptz"}, {name: "left_status", kind: "text"}},
	arrays: func(rows []AccountRow) []any {
		return []any{
			each(rows, func(r AccountRow) string { return r.Account }),
			each(rows, func(r AccountRow) int32 { return r.Partition }),
			each(rows, func(r AccountRow) int64 { return r.CreatedOffset }),
			each(rows, func(r AccountRow) time.Time { return at(r.CreatedAt) }),
			each(rows, func(r AccountRow) *time.Time {
				if r.LeftAt == 0 {
					return nil
				}
				left := at(r.LeftAt)
				return &left
			}),
			each(rows, func(r AccountRow) string { return r.LeftStatus }),
		}
	},
	line: func(b []byte, r AccountRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(strconv.AppendInt(b, int64(r.Partition), 10))
		b = tab(strconv.AppendInt(b, r.CreatedOffset, 10))
		b = tab(lineTime(b, r.CreatedAt))
		if r.LeftAt == 0 {
			b = append(b, `\N`...)
		} else {
			b = lineTime(b, r.LeftAt)
		}
		return lineText(tab(b), r.LeftStatus)
	},
	scan: func(rows pgx.Rows) (r AccountRow, err error) {
		var created time.Time
		var left *time.Time
		err = rows.Scan(&r.Account, &r.Partition, &r.CreatedOffset, &created, &left, &r.LeftStatus)
		r.CreatedAt = micros(created)
		if left != nil {
			r.LeftAt = micros(*left)
		}
		return r, err
	},
}

var itemTable = table[ItemRow]{
	name: "roster_item", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "contact", kind: "text"}, {name: "name", kind: "text"},
		{name: "groups", kind: "text[]", via: "text"}, {name: "state", kind: "int2"}, {name: "version", kind: "int8"},
		{name: "removed", kind: "bool"}, {name: "request", kind: "bytea"}},
	arrays: func(rows []ItemRow) []any {
		return []any{
			each(rows, func(r ItemRow) string { return r.Account }),
			each(rows, func(r ItemRow) string { return r.Contact }),
			each(rows, func(r ItemRow) string { return r.Name }),
			each(rows, func(r ItemRow) string { return r.Groups }),
			each(rows, func(r ItemRow) int16 { return r.State }),
			each(rows, func(r ItemRow) int64 { return r.Version }),
			each(rows, func(r ItemRow) bool { return r.Removed }),
			each(rows, func(r ItemRow) []byte {
				if r.Request == "" {
					return nil
				}
				return []byte(r.Request)
			}),
		}
	},
	line: func(b []byte, r ItemRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(lineText(b, r.Contact))
		b = tab(lineText(b, r.Name))
		b = tab(lineText(b, r.Groups))
		b = tab(strconv.AppendInt(b, int64(r.State), 10))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		b = tab(strconv.AppendBool(b, r.Removed))
		if r.Request == "" {
			return append(b, `\N`...)
		}
		return lineBytes(b, r.Request)
	},
	scan: func(rows pgx.Rows) (r ItemRow, err error) {
		var groups []string
		var request []byte
		err = rows.Scan(&r.Account, &r.Contact, &r.Name, &groups, &r.State, &r.Version, &r.Removed, &request)
		r.Groups, r.Request = textArray(groups), string(request)
		return r, err
	},
}

var resourceTable = table[ResourceRow]{
	name: "resource", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "resource", kind: "text"}, {name: "partition", kind: "int4"},
		{name: "binding", kind: "uuid"}, {name: "edge", kind: "text"}, {name: "epoch", kind: "int8"},
		{name: "available", kind: "bool"}, {name: "show", kind: "text"}, {name: "status", kind: "text"},
		{name: "priority", kind: "int2"}, {name: "payload", kind: "bytea"}, {name: "lang", kind: "text"},
		{name: "stanza_id", kind: "text"}, {name: "version", kind: "int8"}, {name: "bound_offset", kind: "int8"},
		{name: "since", kind: "timestamptz"}, {name: "inherited", kind: "bool"}, {name: "session", kind: "uuid"},
		{name: "began_offset", kind: "int8"}, {name: "handled", kind: "int8"}, {name: "ahead", kind: "bytea"},
		{name: "copies", kind: "bool"}},
	arrays: func(rows []ResourceRow) []any {
		return []any{
			each(rows, func(r ResourceRow) string { return r.Account }),
			each(rows, func(r ResourceRow) string { return r.Resource }),
			each(rows, func(r ResourceRow) int32 { return r.Partition }),
			each(rows, func(r ResourceRow) pgtype.UUID { return pgtype.UUID{Bytes: r.Binding, Valid: true} }),
			each(rows, func(r ResourceRow) string { return r.Edge }),
			each(rows, func(r ResourceRow) int64 { return r.Epoch }),
			each(rows, func(r ResourceRow) bool { return r.Available }),
			each(rows, func(r ResourceRow) string { return r.Show }),
			each(rows, func(r ResourceRow) string { return r.Status }),
			each(rows, func(r ResourceRow) int16 { return r.Priority }),
			each(rows, func(r ResourceRow) []byte { return []byte(r.Payload) }),
			each(rows, func(r ResourceRow) string { return r.Lang }),
			each(rows, func(r ResourceRow) string { return r.StanzaID }),
			each(rows, func(r ResourceRow) int64 { return r.Version }),
			each(rows, func(r ResourceRow) int64 { return r.BoundOffset }),
			each(rows, func(r ResourceRow) time.Time { return at(r.Since) }),
			each(rows, func(r ResourceRow) bool { return r.Inherited }),
			each(rows, func(r ResourceRow) pgtype.UUID { return pgtype.UUID{Bytes: r.Session, Valid: true} }),
			each(rows, func(r ResourceRow) int64 { return r.BeganOffset }),
			each(rows, func(r ResourceRow) int64 { return r.Handled }),
			each(rows, func(r ResourceRow) []byte { return []byte(r.Ahead) }),
			each(rows, func(r ResourceRow) bool { return r.Copies }),
		}
	},
	line: func(b []byte, r ResourceRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(lineText(b, r.Resource))
		b = tab(strconv.AppendInt(b, int64(r.Partition), 10))
		b = tab(append(b, r.Binding.String()...))
		b = tab(lineText(b, r.Edge))
		b = tab(strconv.AppendInt(b, r.Epoch, 10))
		b = tab(strconv.AppendBool(b, r.Available))
		b = tab(lineText(b, r.Show))
		b = tab(lineText(b, r.Status))
		b = tab(strconv.AppendInt(b, int64(r.Priority), 10))
		b = tab(lineBytes(b, r.Payload))
		b = tab(lineText(b, r.Lang))
		b = tab(lineText(b, r.StanzaID))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		b = tab(strconv.AppendInt(b, r.BoundOffset, 10))
		b = tab(lineTime(b, r.Since))
		b = tab(strconv.AppendBool(b, r.Inherited))
		b = tab(append(b, r.Session.String()...))
		b = tab(strconv.AppendInt(b, r.BeganOffset, 10))
		b = tab(strconv.AppendInt(b, r.Handled, 10))
		b = tab(lineBytes(b, r.Ahead))
		return strconv.AppendBool(b, r.Copies)
	},
	scan: func(rows pgx.Rows) (r ResourceRow, err error) {
		var payload, ahead []byte
		var since time.Time
		var binding, session [16]byte
		err = rows.Scan(&r.Account, &r.Resource, &r.Partition, &binding, &r.Edge, &r.Epoch, &r.Available, &r.Show, &r.Status,
			&r.Priority, &payload, &r.Lang, &r.StanzaID, &r.Version, &r.BoundOffset, &since,
			&r.Inherited, &session, &r.BeganOffset, &r.Handled, &ahead, &r.Copies)
		r.Binding, r.Payload, r.Since = uuid.UUID(binding), string(payload), micros(since)
		r.Session, r.Ahead = uuid.UUID(session), string(ahead)
		return r, err
	},
}

var directedTable = table[DirectedRow]{
	name: "directed", keys: 3,
	columns: []column{{name: "account", kind: "text"}, {name: "resource", kind: "text"}, {name: "target", kind: "text"}},
	arrays: func(rows []DirectedRow) []any {
		return []any{
			each(rows, func(r DirectedRow) string { return r.Account }),
			each(rows, func(r DirectedRow) string { return r.Resource }),
			each(rows, func(r DirectedRow) string { return r.Target }),
		}
	},
	line: func(b []byte, r DirectedRow) []byte {
		return lineText(tab(lineText(tab(lineText(b, r.Account)), r.Resource)), r.Target)
	},
	scan: func(rows pgx.Rows) (r DirectedRow, err error) {
		err = rows.Scan(&r.Account, &r.Resource, &r.Target)
		return r, err
	},
}

var inboxTable = table[InboxRow]{
	name: "inbox", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "offset", kind: "int8"}, {name: "id", kind: "uuid"},
		{name: "at", kind: "timestamptz"}, {name: "sender", kind: "text"}, {name: "resource", kind: "text"}, {name: "accepted", kind: "bytea"}},
	arrays: func(rows []InboxRow) []any {
		return []any{
			each(rows, func(r InboxRow) string { return r.Account }),
			each(rows, func(r InboxRow) int64 { return r.Offset }),
			each(rows, func(r InboxRow) pgtype.UUID { return pgtype.UUID{Bytes: r.ID, Valid: true} }),
			each(rows, func(r InboxRow) time.Time { return at(r.At) }),
			each(rows, func(r InboxRow) string { return r.Sender }),
			each(rows, func(r InboxRow) string { return r.Resource }),
			each(rows, func(r InboxRow) []byte { return []byte(r.Accepted) }),
		}
	},
	line: func(b []byte, r InboxRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(strconv.AppendInt(b, r.Offset, 10))
		b = tab(append(b, r.ID.String()...))
		b = tab(lineTime(b, r.At))
		b = tab(lineText(b, r.Sender))
		b = tab(lineText(b, r.Resource))
		return lineBytes(b, r.Accepted)
	},
	scan: func(rows pgx.Rows) (r InboxRow, err error) {
		var accepted []byte
		var when time.Time
		var id [16]byte
		err = rows.Scan(&r.Account, &r.Offset, &id, &when, &r.Sender, &r.Resource, &accepted)
		r.ID, r.At, r.Accepted = uuid.UUID(id), micros(when), string(accepted)
		return r, err
	},
}

func each[R, V any](rows []R, value func(R) V) []V {
	values := make([]V, len(rows))
	for i, r := range rows {
		values[i] = value(r)
	}
	return values
}

func at(µs int64) time.Time { return time.UnixMicro(µs).UTC() }

// The pieces of a line in COPY's text format.

func tab(b []byte) []byte { return append(b, '\t') }

func lineText(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

func lineBytes(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, `\\x`...)
	for i := range len(s) {
		b = append(b, digits[s[i]>>4], digits[s[i]&15])
	}
	return b
}

func lineTime(b []byte, µs int64) []byte {
	return at(µs).AppendFormat(b, "2006-01-02 15:04:05.000000+00")
}
