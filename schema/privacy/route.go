package privacy

import (
	"slices"

	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/message"
	"github.com/rollcall/rollcall/schema/presence"
)

// Route decides as message.Route does, and lets through what c allows alone:
// to a resource by its own list, to the account as a whole by the default one
// (XEP-0016, section 2.2, rules 1, 2 and 4). What is refused is answered with
// service-unavailable, as if nobody were there; a headline or an error is
// ignored (XEP-0191, section 3.3; XEP-0016, section 2.14).
func (c *Compiled) Route(t message.Type, addressed string, from jid.JID, resources map[string]presence.Resource) message.Decision {
	d := message.Route(t, addressed, resources)
	if c == nil {
		return d
	}
	switch d.Action {
	case message.Deliver:
		to := slices.DeleteFunc(slices.Clone(d.To), func(name string) bool { return !c.Allows(Message, name, from) })
		if len(to) > 0 {
			d.To = to
			return d
		}
	case message.Store:
		if c.Allows(Message, "", from) {
			return d
		}
	default:
		return d
	}
	return message.Unknown(t)
}
