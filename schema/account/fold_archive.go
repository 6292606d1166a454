package account

import (
	"github.com/rollcall/rollcall/schema/archive"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// archivePreferencesSet replaces what the account has set of its archive
// (XEP-0441). It holds from here on.
func (f *folding) archivePreferencesSet(e *event.ArchivePreferencesSet) {
	f.Archive = archive.Set(f.offset, e)
	f.Changes.Archive = true
	f.answer(e.GetResource(), e.GetRequestId(), "")
}

// messageSent is a message that the account sent: it has nothing to do here but
// with its archive.
func (f *folding) messageSent(m *event.MessageSent) {
	f.withholdUnwanted(m.GetMessage(), m.GetTo())
}

// withholdUnwanted withholds a message from or to other from the archive if the account's
// preferences forbid to keep it.
func (f *folding) withholdUnwanted(m *event.Message, other string) {
	if f.Archive == nil {
		return
	}
	o := jid.FromCanonical(other)
	contact, known := f.Roster[o.Bare()]
	if !f.Archive.Keeps(o, known && !contact.Removed) {
		f.withhold(event.MessageWithheld_REASON_PREFERENCES, m, other)
	}
}
