package edge

import (
	"context"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// whenSettled reads something once all that the client sent before is settled,
// and hands it on, or the error, in the mailbox.
func whenSettled[A any](s *session, read func(context.Context) (A, error), then func(A, error)) {
	s.order.then(func() {
		go func() {
			ctx, cancel := s.server.context(s.server.opts.ReadIn)
			defer cancel()
			a, err := read(ctx)
			if err != nil {
				s.server.log.Warn("projection not read", "account", s.local.bare, "err", err)
			}
			s.post(func() { then(a, err) })
		}()
	})
}

// ask is whenSettled for a stanza that leaves no event; it is answered with an
// error that read gives.
func ask[A any](s *session, st *stanza.Stanza, read func(context.Context) (A, error), then func(A)) {
	whenSettled(s, read, func(a A, err error) {
		if err != nil {
			s.fail(st, err)
			return
		}
		then(a)
	})
}

// A turn is the place, among the client's stanzas, of one whose event depends
// on what is read first. What the client sent after it is answered after it.
type turn struct {
	s              *session
	st             *stanza.Stanza
	n              uint64
	stanza, before uint32 // as of event.Event
}

// inTurn is whenSettled for what leaves an event: then calls append or refuse of its
// turn, once.
func inTurn[A any](s *session, st *stanza.Stanza, read func(context.Context) (A, error), then func(*turn, A)) {
	t := &turn{s: s, st: st}
	if s.taking != 0 {
		t.stanza, t.before = s.taking, s.sm.before
		s.sm.before = s.taking
	}
	whenSettled(s, read, func(a A, err error) {
		if err != nil {
			t.refuse(err)
			return
		}
		then(t, a)
	})
	t.n = s.order.issue()
}

// append appends the event, whose Outcome done answers: see session.request.
func (t *turn) append(e *event.Event, done func(*event.Outcome)) {
	e.Stanza, e.StanzaBefore = t.stanza, t.before
	if err := t.s.requestThen(t.st, t.s.stamp(e), done, t.over); err != nil {
		t.refuse(err)
	}
}

// refuse answers that there will be no event.
func (t *turn) refuse(err error) {
	t.s.fail(t.st, err)
	if t.stanza != 0 {
		t.s.append(t.s.local.account, t.s.stamp(&event.Event{
			Stanza: t.stanza, StanzaBefore: t.before, Kind: &event.Event_StanzaHandled{StanzaHandled: &event.StanzaHandled{}},
		}), nil)
	}
	t.over()
}

// over lets what waits for the turn go on.
func (t *turn) over() {
	t.s.order.settle(t.n)
	t.s.press()
}

// changesNodes tells whether what is read later of nodes or storage must show e.
func changesNodes(e *event.Event) bool {
	switch e.GetKind().(type) {
	case *event.Event_NodeItemPublished, *event.Event_NodeItemRetracted, *event.Event_NodeConfigured, *event.Event_NodeDeleted,
		*event.Event_StorageSet:
		return true
	}
	return false
}

func (s *Server) partitionOf(account jid.Bare) int32 {
	return topic.Partition(account, s.opts.Partitions)
}
