package edgetest

import (
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// LoseEdge has the log say that the edge is lost, as the reaper does when its
// lease has expired. The edge itself hears nothing of it.
func (h *House) LoseEdge(e *Edge) {
	h.do(func() {
		var of []jid.Bare
		lost := &event.EdgeLost{Epoch: e.door.epoch}
		h.stateMu.Lock()
		for bare, s := range h.states {
			for _, r := range s.Resources {
				if r.Epoch == e.door.epoch {
					of, lost.Edge = append(of, bare), r.Edge
					break
				}
			}
		}
		h.stateMu.Unlock()
		for _, bare := range of {
			h.fold(bare, &event.Event{Id: make([]byte, 16), At: 1, Kind: &event.Event_EdgeLost{EdgeLost: lost}})
		}
	})
}
