package fanout_test

import (
	"testing"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/wire"
)

// A stanza for a component comes to the edge that it is connected to, from
// whatever edge, also after its worker has died; of two connections the later
// one counts, whichever is told first.
func TestComponents(t *testing.T) {
	w := newWorld(t)
	w.create(juliet)
	first := w.work("w1", nil, all...)
	e1, e2, e3 := w.attach("e1", 1), w.attach("e2", 1), w.attach("e3", 1)
	for _, e := range []*edge{e1, e2, e3} {
		eventually(t, "a worker", e.link.Ready)
	}
	const domain, room = "rooms.x", "hall@rooms.x"
	send := func(id string, kind wire.Iq_Kind) {
		t.Helper()
		eventually(t, "a worker", func() bool {
			return e1.link.SendIq(&wire.Iq{Partition: partitionOf(room), To: room + "/nick", From: juliet + "/balcony", Type: "get", Id: id, Kind: kind})
		})
	}
	comes := func(e *edge, id string, refused bool) {
		t.Helper()
		eventually(t, id, e.look(func() bool {
			for _, iq := range e.iqs {
				if iq.GetId() == id && iq.GetRefused() == refused {
					return true
				}
			}
			return false
		}))
	}

	send("nobody", wire.Iq_KIND_IQ)
	comes(e1, "nobody", true)
	send("nobody either", wire.Iq_KIND_MESSAGE)
	comes(e1, "nobody either", true)

	e2.link.Serve([]*wire.Component{{Domain: domain, Since: 10}})
	served := func(id string) {
		t.Helper()
		eventually(t, id, func() bool {
			send(id, wire.Iq_KIND_MESSAGE)
			return e2.look(func() bool { return len(e2.iqs) > 0 && e2.iqs[len(e2.iqs)-1].GetId() == id })()
		})
	}
	served("message")
	send("iq", wire.Iq_KIND_IQ)
	comes(e2, "iq", false)

	// Directed presence is in the log (RFC 6121, section 4.6).
	e1.follow(juliet, juliet)
	s := e1.bind(juliet, "balcony")
	s.write(&event.Event{Kind: &event.Event_DirectedPresence{DirectedPresence: &event.DirectedPresence{
		Resource: "balcony", To: room + "/nick", Available: true, Presence: &event.Presence{Id: "here"}}}})
	w.projectAll()
	comes(e2, "here", false)

	// An error that the fold has for a component's message comes to it too.
	w.write("edge/e2/1", "nobody@x", &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: room + "/nick", Message: &event.Message{Id: "bounced", Type: event.MessageType_MESSAGE_TYPE_CHAT}}}})
	w.projectAll()
	comes(e2, "bounced", false)

	// One that connected before is too late.
	e3.link.Serve([]*wire.Component{{Domain: domain, Since: 5}})
	e3.hears("replaced rooms.x 10")
	send("still", wire.Iq_KIND_IQ)
	comes(e2, "still", false)

	// Another worker is told as well.
	first.stop()
	w.work("w2", nil, all...)
	eventually(t, "another worker", e1.link.Ready)
	served("after the worker")

	e3.link.Serve([]*wire.Component{{Domain: domain, Since: 20}})
	e2.hears("replaced rooms.x 20")
	e2.link.Serve(nil)
	send("to the newer", wire.Iq_KIND_IQ)
	comes(e3, "to the newer", false)
	e3.stop()
	eventually(t, "its edge is away", func() bool {
		send("away", wire.Iq_KIND_IQ)
		return e1.look(func() bool { return len(e1.iqs) > 0 && e1.iqs[len(e1.iqs)-1].GetId() == "away" })()
	})
}
