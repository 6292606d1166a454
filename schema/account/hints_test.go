package account

import (
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

// Who wrote the event says what the hints of a message allow (XEP-0334, section
// 4); of one that does not say, the payload is searched, which may find a hint
// of a message inside, but misses none.
func TestArchived(t *testing.T) {
	for name, c := range map[string]struct {
		m    *event.Message
		want bool
	}{
		"4.1 no hint":                         {&event.Message{Storable: true, Archive: event.Archive_ARCHIVE_YES}, true},
		"4.1 no-permanent-store":              {&event.Message{Storable: true, Archive: event.Archive_ARCHIVE_NO}, false},
		"4.2 no-store":                        {&event.Message{Archive: event.Archive_ARCHIVE_NO}, false},
		"what does not wait is not kept":      {&event.Message{Archive: event.Archive_ARCHIVE_YES}, false},
		"a hint in a forwarded message":       {&event.Message{Storable: true, Archive: event.Archive_ARCHIVE_YES, Payload: []byte("<forwarded><message><no-store xmlns='urn:xmpp:hints'/></message></forwarded>")}, true},
		"said by nobody":                      {&event.Message{Storable: true, Payload: []byte("<body>no-store</body>")}, true},
		"said by nobody, no-permanent-store":  {&event.Message{Storable: true, Payload: []byte("<no-permanent-store xmlns='urn:xmpp:hints'/>")}, false},
		"said by nobody, no-store":            {&event.Message{Storable: true, Payload: []byte("<no-store xmlns='urn:xmpp:hints'/>")}, false},
		"said by nobody, and it may not wait": {&event.Message{}, false},
	} {
		if got := Archived(c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
