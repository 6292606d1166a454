package edge

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
)

// policyOf gives the policy of a followed account; nil lets everything through.
func (w *watched) policyOf() *event.Policy { return nil }

// lets tells whether the account's own policy lets traffic of another through
// to or from this session.
func (s *session) lets(k privacy.Kind, other jid.JID) bool {
	return privacy.Allows(nil, k, s.resource, other)
}
