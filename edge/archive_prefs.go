package edge

import (
	"context"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// maxArchiveJIDs is how many JIDs preferences may name.
const maxArchiveJIDs = 1000

// archiveDefaults are the defaults by their names (XEP-0441, section 2.1.1).
var archiveDefaults = map[string]event.ArchivePreferencesSet_Default{
	"always": event.ArchivePreferencesSet_DEFAULT_ALWAYS,
	"never":  event.ArchivePreferencesSet_DEFAULT_NEVER,
	"roster": event.ArchivePreferencesSet_DEFAULT_ROSTER,
}

// getArchivePrefs answers which messages the archive keeps (XEP-0441, section
// 2.1).
func (s *session) getArchivePrefs(q query) {
	if !s.ownArchive(q) {
		return
	}
	atArchive(s, q, func(ctx context.Context, o ArchiveOwner) (*archive.Preferences, error) {
		return s.server.opts.Archive.Preferences(ctx, o)
	}, func(p *archive.Preferences) { s.answer(q.Stanza, archivePrefs(p).Bytes()) })
}

// setArchivePrefs changes which messages the archive keeps from now on.
func (s *session) setArchivePrefs(q query) {
	if !s.ownArchive(q) {
		return
	}
	set, err := archivePrefsIn(q.payload)
	if err != nil {
		s.fail(q.Stanza, err)
		return
	}
	set.RequestId, set.Resource = q.ID, s.resource
	e := s.stamp(&event.Event{Kind: &event.Event_ArchivePreferencesSet{ArchivePreferencesSet: set}})
	s.request(q.Stanza, e, func(*event.Outcome) { s.answer(q.Stanza, archivePrefs(archive.Set(0, set)).Bytes()) })
}

// archivePrefs gives the element for preferences; nil are those of who has set
// nothing.
func archivePrefs(p *archive.Preferences) *stanza.Element {
	if p == nil {
		p = &archive.Preferences{Default: event.ArchivePreferencesSet_DEFAULT_ALWAYS}
	}
	prefs := stanza.New(stanza.NSMAM, "prefs")
	for name, d := range archiveDefaults {
		if d == p.Default {
			prefs.Set("default", name)
		}
	}
	list := func(name string, jids []string) {
		l := stanza.New(stanza.NSMAM, name)
		for _, j := range jids {
			l.AddText("jid", j)
		}
		prefs.Add(l)
	}
	list("always", p.Always)
	list("never", p.Never)
	return prefs
}

// archivePrefsIn reads preferences.
func archivePrefsIn(c stanza.Child) (*event.ArchivePreferencesSet, error) {
	byDefault, ok := archiveDefaults[c.Attr("default")]
	if !ok {
		return nil, stanza.NewError(stanza.BadRequest, "the default is none of always, never, roster")
	}
	prefs, err := c.Element()
	if err != nil {
		return nil, stanza.NewError(stanza.BadRequest, "")
	}
	set := &event.ArchivePreferencesSet{Default: byDefault}
	lists := map[string]*[]string{"always": &set.Always, "never": &set.Never}
	seen := make(map[string]bool)
	for _, list := range prefs.Children {
		to, known := lists[list.Local]
		switch {
		case list.Space != stanza.NSMAM || !known:
			return nil, stanza.NewError(stanza.BadRequest, list.Local+" is not known")
		case seen[list.Local]:
			return nil, stanza.NewError(stanza.BadRequest, list.Local+" is given twice")
		}
		seen[list.Local] = true
		for _, one := range list.Children {
			if !one.Is(stanza.NSMAM, "jid") {
				return nil, stanza.NewError(stanza.BadRequest, "a list has JIDs alone")
			}
			j, err := jid.Parse(one.Text)
			if err != nil || len(j.String()) > maxAddress {
				return nil, stanza.NewError(stanza.JIDMalformed, "a list has what is no JID")
			}
			*to = append(*to, j.String())
		}
	}
	if len(set.Always)+len(set.Never) > maxArchiveJIDs {
		return nil, stanza.NewError(stanza.PolicyViolationStanza, "too many JIDs")
	}
	return set, nil
}
