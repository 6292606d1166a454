package store

import (
	"bytes"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/presence"
)

type (
	// EndedRow is a row of ended.
	EndedRow struct {
		Account          string
		Binding, Session uuid.UUID
		Resource         string
		BeganOffset      int64
		Handled          int64
		Ahead            string
		Available        bool   // presence is not NULL
		Presence         string // event.Presence
		EndedOffset      int64
		EndedAt          int64 // µs
		Copies           bool
	}

	// EndedKey is the key of ended.
	EndedKey struct {
		Account string
		Binding uuid.UUID
	}
)

// collectEnded is Collect for ended sessions.
func (u *Unit) collectEnded(s *account.State) {
	name := s.Account.String()
	for binding := range s.Changes.Ended {
		if e, ok := s.Ended[binding]; ok {
			u.Put.Ended = append(u.Put.Ended, endedRow(name, e))
		} else {
			u.Remove.Ended = append(u.Remove.Ended, EndedKey{name, binding})
		}
	}
}

// fillEnded is fill for ended sessions.
func (r *Rows) fillEnded(states map[string]*account.State) {
	for _, row := range r.Ended {
		s := states[row.Account]
		if s.Ended == nil {
			s.Ended = make(map[uuid.UUID]account.Ended)
		}
		e := account.Ended{
			Binding: row.Binding, Session: row.Session, Resource: row.Resource, Began: row.BeganOffset,
			Handled: presence.Handled{Upto: row.Handled, Ahead: row.Ahead}, Offset: row.EndedOffset, At: at(row.EndedAt), Copies: row.Copies,
		}
		if row.Available {
			e.Presence = append([]byte{}, row.Presence...)
		}
		s.Ended[row.Binding] = e
	}
}

func endedRow(name string, e account.Ended) EndedRow {
	return EndedRow{
		Account: name, Binding: e.Binding, Session: e.Session, Resource: clean(e.Resource), BeganOffset: e.Began,
		Handled: e.Handled.Upto, Ahead: e.Handled.Ahead, Copies: e.Copies, Available: e.Presence != nil, Presence: cleanPresence(e.Presence),
		EndedOffset: e.Offset, EndedAt: micros(e.At),
	}
}

// cleanPresence gives an encoded event.Presence as one that is made of a row of
// resource has it, in which text is clean.
func cleanPresence(b []byte) string {
	if bytes.IndexByte(b, 0) < 0 {
		return string(b)
	}
	p := new(event.Presence)
	// What was marshalled is unmarshalled and marshalled again.
	if err := proto.Unmarshal(b, p); err != nil {
		panic(fmt.Sprintf("presence of an ended session: %v", err))
	}
	p.Show, p.Status, p.Lang, p.Id = clean(p.GetShow()), clean(p.GetStatus()), clean(p.GetLang()), clean(p.GetId())
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("presence of an ended session: %v", err))
	}
	return string(b)
}

var endedTable = table[EndedRow]{
	name: "ended", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "binding", kind: "uuid"}, {name: "session", kind: "uuid"},
		{name: "resource", kind: "text"}, {name: "began_offset", kind: "int8"}, {name: "handled", kind: "int8"},
		{name: "ahead", kind: "bytea"}, {name: "presence", kind: "bytea"}, {name: "ended_offset", kind: "int8"},
		{name: "ended_at", kind: "timestamptz"}, {name: "copies", kind: "bool"}},
	arrays: func(rows []EndedRow) []any {
		return []any{
			each(rows, func(r EndedRow) string { return r.Account }),
			each(rows, func(r EndedRow) pgtype.UUID { return pgtype.UUID{Bytes: r.Binding, Valid: true} }),
			each(rows, func(r EndedRow) pgtype.UUID { return pgtype.UUID{Bytes: r.Session, Valid: true} }),
			each(rows, func(r EndedRow) string { return r.Resource }),
			each(rows, func(r EndedRow) int64 { return r.BeganOffset }),
			each(rows, func(r EndedRow) int64 { return r.Handled }),
			each(rows, func(r EndedRow) []byte { return []byte(r.Ahead) }),
			each(rows, func(r EndedRow) []byte {
				if !r.Available {
					return nil
				}
				return []byte(r.Presence)
			}),
			each(rows, func(r EndedRow) int64 { return r.EndedOffset }),
			each(rows, func(r EndedRow) time.Time { return at(r.EndedAt) }),
			each(rows, func(r EndedRow) bool { return r.Copies }),
		}
	},
	line: func(b []byte, r EndedRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(append(b, r.Binding.String()...))
		b = tab(append(b, r.Session.String()...))
		b = tab(lineText(b, r.Resource))
		b = tab(strconv.AppendInt(b, r.BeganOffset, 10))
		b = tab(strconv.AppendInt(b, r.Handled, 10))
		b = tab(lineBytes(b, r.Ahead))
		if r.Available {
			b = tab(lineBytes(b, r.Presence))
		} else {
			b = tab(append(b, `\N`...))
		}
		b = tab(strconv.AppendInt(b, r.EndedOffset, 10))
		b = tab(lineTime(b, r.EndedAt))
		return strconv.AppendBool(b, r.Copies)
	},
	scan: func(rows pgx.Rows) (r EndedRow, err error) {
		var binding, session [16]byte
		var ahead, said []byte
		var ended time.Time
		err = rows.Scan(&r.Account, &binding, &session, &r.Resource, &r.BeganOffset, &r.Handled, &ahead, &said, &r.EndedOffset, &ended, &r.Copies)
		r.Binding, r.Session, r.Ahead, r.EndedAt = binding, session, string(ahead), micros(ended)
		r.Available, r.Presence = said != nil, string(said)
		return r, err
	},
}
