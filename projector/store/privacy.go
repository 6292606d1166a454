package store

import (
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
)

type (
	// PrivacyRow is a row of privacy.
	PrivacyRow struct {
		Account     string
		Partition   int32
		Blocked     string // literal of an array
		DefaultList string
		State       string // event.Privacy
		Policy      string // event.Policy
	}
	// HiddenRow is a row of hidden, which is nothing but its key.
	HiddenRow struct{ Account, Resource, Viewer string }
	// RefusedRow is a row of refused, which is nothing but its key.
	RefusedRow struct{ Account, Contact string }
)

// collectPrivacy is Collect for what an account lets through.
func (u *Unit) collectPrivacy(s *account.State, partition int32) {
	c, name := &s.Changes, s.Account.String()
	if c.Privacy {
		if s.Privacy != nil {
			u.Put.Privacy = append(u.Put.Privacy, privacyRow(s, partition))
		} else {
			u.Remove.Privacy = append(u.Remove.Privacy, name)
		}
	}
	for h := range c.Hidden {
		row := HiddenRow{name, clean(h.Resource), h.Viewer}
		if _, there := s.Hidden[h]; there {
			u.Put.Hidden = append(u.Put.Hidden, row)
		} else {
			u.Remove.Hidden = append(u.Remove.Hidden, row)
		}
	}
	for contact := range c.Refused {
		row := RefusedRow{name, contact.String()}
		if _, there := s.Refused[contact]; there {
			u.Put.Refused = append(u.Put.Refused, row)
		} else {
			u.Remove.Refused = append(u.Remove.Refused, row)
		}
	}
}

// addPrivacy is Add for what an account lets through.
func (r *Rows) addPrivacy(s *account.State, partition int32) {
	name := s.Account.String()
	if s.Privacy != nil {
		r.Privacy = append(r.Privacy, privacyRow(s, partition))
	}
	for h := range s.Hidden {
		r.Hidden = append(r.Hidden, HiddenRow{name, clean(h.Resource), h.Viewer})
	}
	for contact := range s.Refused {
		r.Refused = append(r.Refused, RefusedRow{name, contact.String()})
	}
}

// fillPrivacy is fill for what an account lets through. The policy is compiled
// again when it is asked for.
func (r *Rows) fillPrivacy(states map[string]*account.State) error {
	for _, row := range r.Privacy {
		p := new(event.Privacy)
		if err := proto.Unmarshal([]byte(row.State), p); err != nil {
			return fmt.Errorf("privacy of %s: %w", row.Account, err)
		}
		states[row.Account].Privacy = privacy.FromProto(p)
	}
	for _, row := range r.Hidden {
		s := states[row.Account]
		if s.Hidden == nil {
			s.Hidden = make(map[account.Hidden]struct{})
		}
		s.Hidden[account.Hidden{Resource: row.Resource, Viewer: row.Viewer}] = struct{}{}
	}
	for _, row := range r.Refused {
		s := states[row.Account]
		if s.Refused == nil {
			s.Refused = make(map[jid.Bare]struct{})
		}
		s.Refused[jid.BareFromCanonical(row.Contact)] = struct{}{}
	}
	return nil
}

func privacyRow(s *account.State, partition int32) PrivacyRow {
	return PrivacyRow{
		Account: s.Account.String(), Partition: partition, Blocked: textArray(s.Privacy.Blocked), DefaultList: clean(s.Privacy.Default),
		State: bytesOf(s.Privacy.Proto()), Policy: bytesOf(s.Policy().Policy()),
	}
}

// bytesOf gives the bytes of m, the same for the same m; none for nil.
// Marshalling what was unmarshalled, or made of such, cannot fail.
func bytesOf(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("marshal %T: %v", m, err))
	}
	return string(b)
}

var privacyTable = table[PrivacyRow]{
	name: "privacy", keys: 1,
	columns: []column{{name: "account", kind: "text"}, {name: "partition", kind: "int4"}, {name: "blocked", kind: "text[]", via: "text"},
		{name: "default_list", kind: "text"}, {name: "state", kind: "bytea"}, {name: "policy", kind: "bytea"}},
	arrays: func(rows []PrivacyRow) []any {
		return []any{
			each(rows, func(r PrivacyRow) string { return r.Account }),
			each(rows, func(r PrivacyRow) int32 { return r.Partition }),
			each(rows, func(r PrivacyRow) string { return r.Blocked }),
			each(rows, func(r PrivacyRow) string { return r.DefaultList }),
			each(rows, func(r PrivacyRow) []byte { return []byte(r.State) }),
			each(rows, func(r PrivacyRow) []byte { return []byte(r.Policy) }),
		}
	},
	line: func(b []byte, r PrivacyRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(strconv.AppendInt(b, int64(r.Partition), 10))
		b = tab(lineText(b, r.Blocked))
		b = tab(lineText(b, r.DefaultList))
		return lineBytes(tab(lineBytes(b, r.State)), r.Policy)
	},
	scan: func(rows pgx.Rows) (r PrivacyRow, err error) {
		var blocked []string
		var state, policy []byte
		err = rows.Scan(&r.Account, &r.Partition, &blocked, &r.DefaultList, &state, &policy)
		r.Blocked, r.State, r.Policy = textArray(blocked), string(state), string(policy)
		return r, err
	},
}

var hiddenTable = table[HiddenRow]{
	name: "hidden", keys: 3,
	columns: []column{{name: "account", kind: "text"}, {name: "resource", kind: "text"}, {name: "viewer", kind: "text"}},
	arrays: func(rows []HiddenRow) []any {
		return []any{
			each(rows, func(r HiddenRow) string { return r.Account }),
			each(rows, func(r HiddenRow) string { return r.Resource }),
			each(rows, func(r HiddenRow) string { return r.Viewer }),
		}
	},
	line: func(b []byte, r HiddenRow) []byte {
		return lineText(tab(lineText(tab(lineText(b, r.Account)), r.Resource)), r.Viewer)
	},
	scan: func(rows pgx.Rows) (r HiddenRow, err error) {
		err = rows.Scan(&r.Account, &r.Resource, &r.Viewer)
		return r, err
	},
}

var refusedTable = table[RefusedRow]{
	name: "refused", keys: 2,
	columns: []column{{name: "account", kind: "text"}, {name: "contact", kind: "text"}},
	arrays: func(rows []RefusedRow) []any {
		return []any{
			each(rows, func(r RefusedRow) string { return r.Account }),
			each(rows, func(r RefusedRow) string { return r.Contact }),
		}
	},
	line: func(b []byte, r RefusedRow) []byte { return lineText(tab(lineText(b, r.Account)), r.Contact) },
	scan: func(rows pgx.Rows) (r RefusedRow, err error) {
		err = rows.Scan(&r.Account, &r.Contact)
		return r, err
	},
}
