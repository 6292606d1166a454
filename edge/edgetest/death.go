package edgetest

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

var errDead = errors.New("edgetest: the edge is dead")

// Kill ends the edge as a killed process ends: nothing it appends from now on
// is taken, and everybody learns that its epoch is over. Wait gives edge.ErrLost
// when the last of it is gone.
func (e *Edge) Kill() {
	d, h := e.door, e.door.house
	h.mu.Lock()
	d.dead = true
	h.mu.Unlock()
	h.do(func() {
		h.stateMu.Lock()
		defer h.stateMu.Unlock()
		h.edges = slices.DeleteFunc(h.edges, func(o *door) bool { return o == d })
		h.foldLost(d)
	})
	e.Lose()
}

// foldLost applies the end of an edge's epoch, one record in every partition.
// stateMu is held.
func (h *House) foldLost(d *door) {
	var caused []record
	for p := range h.partitions {
		id := uuid.Must(uuid.NewV7())
		e := &event.Event{Id: id[:], At: time.Now().UnixMicro(), Kind: &event.Event_EdgeLost{EdgeLost: &event.EdgeLost{Edge: d.id, Epoch: d.epoch}}}
		offset := h.next[p]
		h.next[p]++
		h.events = append(h.events, e)
		h.history[p] = append(h.history[p], e)
		for _, bare := range slices.SortedFunc(maps.Keys(h.states), jid.Compare) {
			if topic.Partition(bare, h.partitions) == int32(p) {
				caused = append(caused, h.apply(int32(p), offset, h.states[bare], e)...)
			}
		}
	}
	h.foldAll(caused)
}

// Bound tells whether a session of the full JID is in the log and not over.
func (h *House) Bound(full string) bool {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	at := jid.FromCanonical(full)
	_, ok := h.state(at.Bare()).Resources[at.Resource()]
	return ok
}

// Waiting gives the number of messages in an account's inbox.
func (h *House) Waiting(name string) int {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return len(h.state(jid.MustBare(name + "@" + h.domain)).Inbox)
}

// Order gives the ids of the stanzas that left events since the last call, in
// the order of the log.
func (h *House) Order() (ids []string) {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	for _, e := range h.events[h.ordered:] {
		if e.GetOrigin() != "" {
			continue // caused by another
		}
		switch k := e.GetKind().(type) {
		case *event.Event_PresenceAvailable:
			ids = append(ids, k.PresenceAvailable.GetPresence().GetId())
		case *event.Event_PresenceUnavailable:
			ids = append(ids, k.PresenceUnavailable.GetPresence().GetId())
		case *event.Event_DirectedPresence:
			ids = append(ids, k.DirectedPresence.GetPresence().GetId())
		case *event.Event_SubscriptionSent:
			ids = append(ids, k.SubscriptionSent.GetPresence().GetId())
		case *event.Event_MessageAccepted:
			ids = append(ids, k.MessageAccepted.GetMessage().GetId())
		case *event.Event_RosterItemSet:
			ids = append(ids, k.RosterItemSet.GetRequestId())
		case *event.Event_RosterItemRemoved:
			ids = append(ids, k.RosterItemRemoved.GetRequestId())
		case *event.Event_BlockListChanged:
			ids = append(ids, k.BlockListChanged.GetRequestId())
		case *event.Event_PrivacyListChanged:
			ids = append(ids, k.PrivacyListChanged.GetRequestId())
		case *event.Event_PrivacyListChosen:
			ids = append(ids, k.PrivacyListChosen.GetRequestId())
		case *event.Event_VisibilityChanged:
			ids = append(ids, k.VisibilityChanged.GetRequestId())
		}
	}
	h.ordered = len(h.events)
	return ids
}

// Late holds the frames of some partitions back, as a worker may, until it is
// called without any. Quiet does not wait for them.
func (h *House) Late(late []bool) {
	h.do(func() {
		h.stateMu.Lock()
		h.late = late
		h.stateMu.Unlock()
	})
}
