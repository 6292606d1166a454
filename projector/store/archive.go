package store

import (
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
)

// ArchiveRow is a row of archive. Always and Never are JIDs, one a line.
type ArchiveRow struct {
	Account       string
	Version       int64
	Keeps         int16
	Always, Never string
}

// collectArchive is Collect for preferences of an archive.
func (u *Unit) collectArchive(s *account.State) {
	switch {
	case !s.Changes.Archive:
	case s.Archive == nil:
		u.Remove.Archive = append(u.Remove.Archive, s.Account.String())
	default:
		u.Put.Archive = append(u.Put.Archive, archiveRow(s))
	}
}

// addArchive is Add for preferences of an archive.
func (r *Rows) addArchive(s *account.State) {
	if s.Archive != nil {
		r.Archive = append(r.Archive, archiveRow(s))
	}
}

// fillArchive is fill for preferences of an archive.
func (r *Rows) fillArchive(states map[string]*account.State) {
	for _, row := range r.Archive {
		states[row.Account].Archive = &archive.Preferences{
			Version: row.Version, Default: event.ArchivePreferencesSet_Default(row.Keeps), Always: jidLines(row.Always), Never: jidLines(row.Never),
		}
	}
}

func archiveRow(s *account.State) ArchiveRow {
	p := s.Archive
	return ArchiveRow{
		Account: s.Account.String(), Version: p.Version, Keeps: int16(p.Default),
		Always: clean(strings.Join(p.Always, "\n")), Never: clean(strings.Join(p.Never, "\n")),
	}
}

// jidLines gives the JIDs of a row: no JID has a line break.
func jidLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

var archiveTable = table[ArchiveRow]{
	name: "archive", keys: 1,
	columns: []column{{name: "account", kind: "text"}, {name: "version", kind: "int8"}, {name: "keeps", kind: "int2"},
		{name: "always", kind: "text[]", via: "text"}, {name: "never", kind: "text[]", via: "text"}},
	arrays: func(rows []ArchiveRow) []any {
		return []any{
			each(rows, func(r ArchiveRow) string { return r.Account }),
			each(rows, func(r ArchiveRow) int64 { return r.Version }),
			each(rows, func(r ArchiveRow) int16 { return r.Keeps }),
			each(rows, func(r ArchiveRow) string { return textArray(jidLines(r.Always)) }),
			each(rows, func(r ArchiveRow) string { return textArray(jidLines(r.Never)) }),
		}
	},
	line: func(b []byte, r ArchiveRow) []byte {
		b = tab(lineText(b, r.Account))
		b = tab(strconv.AppendInt(b, r.Version, 10))
		b = tab(strconv.AppendInt(b, int64(r.Keeps), 10))
		b = tab(lineText(b, textArray(jidLines(r.Always))))
		return lineText(b, textArray(jidLines(r.Never)))
	},
	scan: func(rows pgx.Rows) (r ArchiveRow, err error) {
		var always, never []string
		err = rows.Scan(&r.Account, &r.Version, &r.Keeps, &always, &never)
		r.Always, r.Never = strings.Join(always, "\n"), strings.Join(never, "\n")
		return r, err
	},
}
