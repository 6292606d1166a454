package message

import (
	"maps"
	"slices"

	"github.com/rollcall/rollcall/schema/presence"
)

// RouteIQ decides on an iq to the resource addressed, or to the bare JID if
// that is empty. A request has type get or set; shared tells that the addressee
// shares presence with the sender, by a subscription "from" or "both" or by
// directed presence. RFC 6121, sections 8.5.2.1.3, 8.5.2.2.3 and 8.5.3.
func RouteIQ(request bool, addressed string, shared bool, resources map[string]presence.Resource) Decision {
	if addressed == "" {
		if !request {
			return Decision{} // nobody waits for it
		}
		return Decision{Action: Serve}
	}
	_, connected := resources[addressed]
	switch {
	case connected && (shared || !request):
		return Decision{Action: Deliver, To: []string{addressed}}
	case request:
		return bounce
	}
	// 8.5.3.2.3 asks for an error here too, but an error must not be answered
	// by one, and a result needs no answer (RFC 6120, sections 8.3.1 and 8.2.3).
	return Decision{}
}

// UnknownIQ decides on an iq to an account that does not exist (RFC 6121,
// section 8.5.1).
func UnknownIQ(request bool) Decision {
	if request {
		return bounce
	}
	return Decision{}
}

// RoutePresence decides on directed presence, available or unavailable, to the
// resource addressed, or to the bare JID if that is empty. RFC 6121, sections
// 8.5.2.1.2, 8.5.2.2.2 and 8.5.3. Priority does not matter.
func RoutePresence(addressed string, resources map[string]presence.Resource) Decision {
	if addressed != "" {
		if _, connected := resources[addressed]; connected {
			return Decision{Action: Deliver, To: []string{addressed}}
		}
		return Decision{}
	}
	var to []string
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		if resources[name].Available {
			to = append(to, name)
		}
	}
	if len(to) == 0 {
		return Decision{}
	}
	return Decision{Action: Deliver, To: to}
}
