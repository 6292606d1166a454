package edge

import (
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
)

// takeCSI notes whether somebody looks at the client (XEP-0352). While nobody
// does, presence waits, of each full JID the newest, and news of nodes, of each
// item the newest, or of the whole node where that keeps one; chat states that
// come alone are dropped. Everything else goes out, after what waits.
func (s *session) takeCSI(st *stanza.Stanza) {
	switch st.Local {
	case "inactive", "active":
		s.setInactive(st.Local == "inactive")
	default:
		s.end("unsupported element", &stanza.StreamError{Condition: stanza.UnsupportedStanzaType})
	}
}

func (s *session) setInactive(inactive bool) {
	s.inactive.Store(inactive)
	s.out.hush(inactive)
}

// hush has presence wait, or sends what waits, before anything that follows.
func (o *outbound) hush(quiet bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.quiet = quiet
	if !quiet && !o.closing && !o.away {
		o.drainLate(true)
		o.start()
	}
}

// unimportant tells whether a message has nothing but a chat state (XEP-0085)
// or hints (XEP-0334).
func unimportant(m *event.Message) bool {
	state := false
	for c := range stanza.Children(m.GetPayload()) {
		switch {
		case c.Space() == stanza.NSChatState:
			state = true
		case c.Space() == stanza.NSHints, c.Is(stanza.NSClient, "thread"):
		default:
			return false
		}
	}
	return state
}
