// Package archive says which messages an account keeps in its archive
// (XEP-0441). Its rules are pure.
package archive

import (
	"slices"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Preferences are what an account has set of its archive. They are not changed
// once they are made.
type Preferences struct {
	Version int64 // offset of the event that set them
	Default event.ArchivePreferencesSet_Default
	// JIDs, bare or full, in canonical form, sorted, each once.
	Always, Never []string
}

// Set gives what the event at an offset sets, nil if that is what holds of who
// has set nothing: everything is kept.
func Set(offset int64, e *event.ArchivePreferencesSet) *Preferences {
	p := &Preferences{Version: offset, Default: e.GetDefault(), Always: sorted(e.GetAlways()), Never: sorted(e.GetNever())}
	if p.Default == event.ArchivePreferencesSet_DEFAULT_UNSPECIFIED {
		p.Default = event.ArchivePreferencesSet_DEFAULT_ALWAYS
	}
	if p.Default == event.ArchivePreferencesSet_DEFAULT_ALWAYS && len(p.Always)+len(p.Never) == 0 {
		return nil
	}
	return p
}

func sorted(jids []string) []string {
	jids = slices.Clone(jids)
	slices.Sort(jids)
	return slices.Compact(jids)
}

// Keeps tells whether a message from or to other is kept (XEP-0441, section
// 2.3). inRoster tells whether the other's bare JID is in the account's roster.
// What is said of a full JID counts before what is said of its bare JID, and
// never before always.
func (p *Preferences) Keeps(other jid.JID, inRoster bool) bool {
	if p == nil {
		return true
	}
	for _, name := range []string{other.String(), other.Bare().String()} {
		if _, never := slices.BinarySearch(p.Never, name); never {
			return false
		}
		if _, always := slices.BinarySearch(p.Always, name); always {
			return true
		}
	}
	switch p.Default {
	case event.ArchivePreferencesSet_DEFAULT_NEVER:
		return false
	case event.ArchivePreferencesSet_DEFAULT_ROSTER:
		return inRoster
	}
	return true
}
