package edge

import (
	"cmp"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// Whole gives all that the sessions here follow in a partition: what a worker
// is told when it takes the partition over.
func (s *Server) Whole(partition int32) []*wire.Followed {
	if !s.has(partition) {
		return nil
	}
	return s.followed[partition].interest()
}

// Answer merges a worker's answer. The caller passes on only what comes from
// the partition's highest claim. Calls for one partition come one at a time;
// those of different partitions run in parallel.
func (s *Server) Answer(a *wire.Answer) {
	if !s.has(a.GetPartition()) {
		return
	}
	var b batch
	for _, o := range s.followed[a.GetPartition()].answer(&b, a) {
		o.local.setPolicy(&b, o)
	}
	b.giveLast()
	if len(b.gaps) > 0 {
		go s.fillGaps(s.followed[a.GetPartition()], b.gaps, a.GetNextOffset())
	}
	b.flush()
}

// Frames gives sessions what happened in a partition, under the conditions of
// Answer. What several frames have for one session goes out in one write.
func (s *Server) Frames(partition int32, frames []*wire.Frame) {
	if !s.has(partition) {
		return
	}
	part, sh := s.followed[partition], s.shards[partition]
	var b batch
	locked := false
	for _, frame := range frames {
		switch what := frame.GetWhat().(type) {
		case *wire.Frame_Presence:
			if !locked {
				part.mu.Lock()
				locked = true
			}
			part.presence(&b, what.Presence)
			continue
		case *wire.Frame_Admission:
			if !locked {
				part.mu.Lock()
				locked = true
			}
			part.admission(&b, what.Admission)
			part.opened(&b, what.Admission, what.Admission.GetOffset()+1)
			continue
		}
		if locked {
			part.mu.Unlock()
			locked = false
		}
		switch what := frame.GetWhat().(type) {
		case *wire.Frame_NodeNews:
			part.news(&b, what.NodeNews)
		case *wire.Frame_Audience:
			if o := part.audience(&b, what.Audience); o != nil {
				o.local.setPolicy(&b, o)
			}
		case *wire.Frame_Directed:
			if l := sh.find(what.Directed.GetAccount()); l != nil {
				l.takeDirected(&b, what.Directed)
			}
		case *wire.Frame_Message:
			if l := sh.find(what.Message.GetAccount()); l != nil {
				l.deliverMessage(&b, what.Message)
			}
		case *wire.Frame_Carbon:
			if l := sh.find(what.Carbon.GetAccount()); l != nil {
				l.deliverCarbon(&b, what.Carbon)
			}
		case *wire.Frame_Output:
			s.output(&b, sh, what.Output)
		case *wire.Frame_Superseded:
			binding, err := uuid.FromBytes(what.Superseded.GetBinding())
			if l := sh.find(what.Superseded.GetAccount()); l != nil && err == nil {
				if old := l.bound(binding); old != nil {
					old.post(old.supersede)
				}
			}
		}
	}
	if locked {
		part.mu.Unlock()
	}
	b.giveLast()
	b.flush()
}

// output gives an account's sessions an outbox record, once.
func (s *Server) output(b *batch, sh *shard, o *wire.Output) {
	if !sh.takeOutput(o) {
		return
	}
	l := sh.find(o.GetAccount())
	if l == nil {
		return
	}
	switch out := o.GetOutput().GetKind().(type) {
	case *event.Output_RosterPush:
		l.push(b, out.RosterPush)
		for _, x := range l.sessions() {
			x.post(func() { x.pushRoster(out.RosterPush) })
		}
	case *event.Output_BlockListPush:
		for _, x := range l.sessions() {
			x.post(func() { x.pushBlockList(out.BlockListPush) })
		}
	case *event.Output_PrivacyListPush:
		for _, x := range l.sessions() {
			x.post(func() { x.pushPrivacyList(out.PrivacyListPush) })
		}
	case *event.Output_SubscriptionStanza:
		sub := out.SubscriptionStanza
		for _, x := range l.hear(sub, int64(o.GetOutput().GetSequence())) {
			x.post(func() { x.subscriptionStanza(sub) })
		}
	case *event.Output_Outcome:
		binding, err := uuid.FromBytes(out.Outcome.GetBinding())
		if err != nil {
			return
		}
		if x := l.bound(binding); x != nil {
			x.post(func() { x.outcome(out.Outcome) })
		}
	}
}

// hear notes a verb that came by the record at of the account's history, and
// gives the sessions that are to be told now: a request only those that the
// requests before it were given. Others get it with these, or had it from the
// roster that they come from (RFC 6121, section 3.1.3: once). A request from
// before the roster was read counts only if that has it: it may be over.
func (l *local) hear(sub *event.SubscriptionStanza, at int64) []*session {
	if sub.GetVerb() != event.Verb_VERB_SUBSCRIBE {
		return l.sessions()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at >= l.asOf {
		l.request(sub.GetFrom(), asking{sub.GetPresence(), at, false})
	} else if e, known := l.requests[sub.GetFrom()]; !known || e.over {
		return nil
	}
	var to []*session
	for _, x := range l.sessions() {
		if x.asked && at >= x.askedAsOf {
			to = append(to, x)
		}
	}
	return to
}

// takeOutput tells whether an outbox record was not taken before: it is newer
// than all of the outbox, and no copy of one, which a projector that takes over
// from another may publish. Of each origin the records come in their order.
func (sh *shard) takeOutput(o *wire.Output) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if o.GetOffset() < sh.outbox {
		return false
	}
	sh.outbox = o.GetOffset() + 1
	origin, at := o.GetOutput().GetOrigin(), source{o.GetOutput().GetSequence(), o.GetOutput().GetIndex()}
	if last, known := sh.caused[origin]; known && at.compare(last) <= 0 {
		return false
	}
	if sh.caused == nil {
		sh.caused = make(map[string]source)
	}
	sh.caused[origin] = at
	return true
}

// source is where an outbox record came from within its origin.
type source struct {
	sequence uint64
	index    uint32
}

func (p source) compare(q source) int {
	return cmp.Or(cmp.Compare(p.sequence, q.sequence), cmp.Compare(p.index, q.index))
}

// subscriptionStanza gives the client a contact's verb: a request if it is
// available (RFC 6121, section 3.1.3), anything else if it is interested
// (sections 3.1.6, 3.2.3, 3.3.3).
func (s *session) subscriptionStanza(sub *event.SubscriptionStanza) {
	if s.ended {
		return
	}
	if request := sub.GetVerb() == event.Verb_VERB_SUBSCRIBE; request && s.available.Load() || !request && (s.interested || s.available.Load()) {
		s.subscription(nil, sub.GetFrom(), sub.GetVerb(), sub.GetPresence())
	}
}

// Iq takes an iq for a session here, an answer to one of its own, or one of
// its own that was refused.
func (s *Server) Iq(iq *wire.Iq) {
	if iq.GetRefused() {
		s.refuse(iq, stanza.NewError(stanza.ServiceUnavailable, ""))
		return
	}
	if s.forComponent(iq) {
		return
	}
	to, isIQ := jid.FromCanonical(iq.GetTo()), iq.GetKind() == wire.Iq_KIND_IQ
	request := isIQ && (iq.GetType() == "get" || iq.GetType() == "set")
	if isIQ && !request && !s.asked.take(iq.GetFrom(), iq.GetTo(), iq.GetId()) {
		return
	}
	if l := s.shardOf(to.Bare().String()).find(to.Bare().String()); l != nil {
		if x := l.find(to.Resource()); x != nil && x.deliverIQ(nil, iq) {
			return
		}
	}
	if request {
		back := &wire.Iq{
			Partition: topic.Partition(jid.FromCanonical(iq.GetFrom()).Bare(), s.opts.Partitions),
			To:        iq.GetFrom(), From: iq.GetTo(), Type: "error", Id: iq.GetId(),
			Payload: stanza.NewError(stanza.ServiceUnavailable, "").AppendTo(nil),
		}
		s.opts.Links.SendIq(back)
	}
}

// refuse answers an iq of a session here with an error in the addressee's name.
func (s *Server) refuse(iq *wire.Iq, bad *stanza.Error) {
	switch {
	case iq.GetKind() == wire.Iq_KIND_IQ && !s.asked.take(iq.GetTo(), iq.GetFrom(), iq.GetId()):
	case iq.GetKind() != wire.Iq_KIND_IQ && iq.GetType() == "error":
	default:
		s.answerFor(iq, bad)
	}
}

func (s *Server) answerFor(iq *wire.Iq, bad *stanza.Error) {
	from := jid.FromCanonical(iq.GetFrom())
	h := stanza.Header{ID: iq.GetId(), From: iq.GetTo(), To: iq.GetFrom()}
	encode := func(dst []byte) []byte { return stanza.AppendError(dst, stanzaKind(iq), h, bad) }
	if c := s.component(from.Domain()); c != nil {
		c.send(encode)
	} else if l := s.shardOf(from.Bare().String()).find(from.Bare().String()); l != nil {
		if x := l.find(from.Resource()); x != nil {
			x.out.write(nil, encode, nil)
		}
	}
}
