package store

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/message"
)

// OriginsRow is a row of origins.
type OriginsRow struct {
	Account string
	Latest  string // message.Origins
}

// collectOrigins is Collect for the messages that are remembered.
func (u *Unit) collectOrigins(s *account.State) {
	switch {
	case !s.Changes.Origins:
	case len(s.Origins) > 0:
		u.Put.Origins = append(u.Put.Origins, originsRow(s))
	default:
		u.Remove.Origins = append(u.Remove.Origins, s.Account.String())
	}
}

// addOrigins is Add for the messages that are remembered.
func (r *Rows) addOrigins(s *account.State) {
	if len(s.Origins) > 0 {
		r.Origins = append(r.Origins, originsRow(s))
	}
}

// fillOrigins is fill for the messages that are remembered.
func (r *Rows) fillOrigins(states map[string]*account.State) error {
	for _, row := range r.Origins {
		var o message.Origins
		if err := o.UnmarshalBinary([]byte(row.Latest)); err != nil {
			return fmt.Errorf("origins of %s: %w", row.Account, err)
		}
		states[row.Account].Origins = o
	}
	return nil
}

func originsRow(s *account.State) OriginsRow {
	latest, err := s.Origins.AppendBinary(nil)
	if err != nil {
		panic(fmt.Sprintf("origins of %s: %v", s.Account, err))
	}
	return OriginsRow{s.Account.String(), string(latest)}
}

var originsTable = table[OriginsRow]{
	name: "origins", keys: 1,
	columns: []column{{name: "account", kind: "text"}, {name: "latest", kind: "bytea"}},
	arrays: func(rows []OriginsRow) []any {
		return []any{
			each(rows, func(r OriginsRow) string { return r.Account }),
			each(rows, func(r OriginsRow) []byte { return []byte(r.Latest) }),
		}
	},
	line: func(b []byte, r OriginsRow) []byte { return lineBytes(tab(lineText(b, r.Account)), r.Latest) },
	scan: func(rows pgx.Rows) (r OriginsRow, err error) {
		var latest []byte
		err = rows.Scan(&r.Account, &latest)
		r.Latest = string(latest)
		return r, err
	},
}
