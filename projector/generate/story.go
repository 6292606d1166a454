package generate

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// Microseconds, as events tell time.
const (
	second = int64(time.Second / time.Microsecond)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// A step is an event of a history as who causes it would append it. All is set
// but its sequence and the offset of a Delivered: who writes it sets these.
type step struct {
	account int32 // whose history it goes into
	edge    int   // whose origin it has
	event   *event.Event
	number  uint64 // of a MessageAccepted that a Delivered settles later; from 1
	settles uint64 // of a Delivered: that number
}

// stamp numbers the event after the last one of its edge.
func (s *step) stamp(sequence []uint64) {
	sequence[s.edge]++
	s.event.Sequence = sequence[s.edge]
}

// A writer takes the steps of a history in their order.
type writer interface {
	put(ctx context.Context, s *step) error
	// written is how many records there are so far.
	written() int64
	end(ctx context.Context) error
}

// A story tells a history: who does what, when.
type story struct {
	options  *Options
	people   []person
	r        *rand.Rand
	queue    queue
	origins  []string // of the edges
	epoch    uint64
	messages uint64 // that are numbered
	bound    uint64 // sessions that began: they take edges in turn

	ctx      context.Context // while it is told
	to       writer
	progress *Progress
	err      error // the first; nothing is told after it
}

func newStory(o *Options, progress *Progress) *story {
	s := &story{options: o, people: makePeople(o), r: random(o, streamDays), epoch: o.fingerprint(), progress: progress}
	makeFriends(o, s.people)
	for e := range o.Edges {
		s.origins = append(s.origins, fmt.Sprintf("edge/%s/%d", edgeName(e), s.epoch))
	}
	return s
}

func edgeName(edge int) string { return fmt.Sprintf("generated-%d", edge+1) }

// tell tells the whole history to w.
func (s *story) tell(ctx context.Context, w writer) error {
	s.ctx, s.to = ctx, w
	s.progress.begin()
	first := s.options.Start.UnixMicro()
	until := first + int64(s.options.Days)*day
	s.acquaint(first - day)
	for d := range s.options.Days {
		s.queue.put(first+int64(d)*day, s.plan)
	}
	at, steps := first, 0
	for s.err == nil && !s.enough() {
		next, ok := s.queue.take(until)
		if !ok {
			break
		}
		at = next.at
		if next.do(at); steps%1000 == 0 {
			s.progress.at(float64(at-first+day) / float64(until-first+day))
			s.progress.records.Store(w.written())
		}
		steps++
	}
	if !s.enough() {
		at = until
	}
	for i := range s.people {
		for p := &s.people[i]; len(p.online) > 0; {
			s.leave(p, p.online[0], at, true)
		}
	}
	if s.err == nil {
		s.err = w.end(ctx)
	}
	s.progress.records.Store(w.written())
	if s.err == nil {
		s.progress.at(1)
	}
	return s.err
}

func (s *story) enough() bool {
	return s.options.Records > 0 && s.to.written() >= s.options.Records
}

// emit tells one event, of a session or of none.
func (s *story) emit(account *person, at int64, edge int, of *session, e *event.Event, number, settles uint64) {
	if s.err != nil {
		return
	}
	e.At, e.Origin = at, s.origins[edge]
	if e.Id == nil {
		e.Id = s.id(at)
	}
	if of != nil {
		e.Binding = of.binding
	}
	s.err = s.to.put(s.ctx, &step{account.index, edge, e, number, settles})
	if s.err == nil {
		s.err = s.ctx.Err()
	}
}

// id gives a UUIDv7 of that time.
func (s *story) id(at int64) []byte {
	id := make([]byte, 16)
	binary.BigEndian.PutUint64(id, uint64(at/1000)<<16|0x7000|s.r.Uint64()&0xfff)
	binary.BigEndian.PutUint64(id[8:], s.r.Uint64()&^(3<<62)|2<<62)
	return id
}

// acquaint makes the accounts and the friendships within the day that begins at
// from. A friendship is made as in RFC 6121, section 3.1: an item in the
// roster, a request and an answer, by the one and then by the other.
func (s *story) acquaint(from int64) {
	total := len(s.people)
	for i := range s.people {
		total += 3 * len(s.people[i].friends)
	}
	done, at := 0, from
	tell := func(p *person, e *event.Event) {
		at = max(at+1, from+int64(float64(day)*float64(done)/float64(total)))
		s.emit(p, at, int(p.index)%s.options.Edges, nil, e, 0, 0)
		if done++; done%1000 == 0 {
			length := float64(s.options.Days+1) * float64(day)
			s.progress.at(float64(at-from) / length)
			s.progress.records.Store(s.to.written())
		}
	}
	for i := range s.people {
		p := &s.people[i]
		tell(p, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
		for _, other := range p.friends {
			if other > p.index {
				continue // who came later asked
			}
			q := &s.people[other]
			tell(p, s.entry(q))
			tell(p, verb(q.bare, event.Verb_VERB_SUBSCRIBE))
			tell(q, s.entry(p))
			tell(q, verb(p.bare, event.Verb_VERB_SUBSCRIBED))
			tell(q, verb(p.bare, event.Verb_VERB_SUBSCRIBE))
			tell(p, verb(q.bare, event.Verb_VERB_SUBSCRIBED))
		}
		if s.err != nil || s.enough() {
			return
		}
	}
}

// entry puts a contact into a roster.
func (s *story) entry(contact *person) *event.Event {
	i := &event.RosterItemSet{Contact: contact.bare.String()}
	if s.r.Float64() < 0.5 {
		i.Name = contact.bare.Local()
	}
	if s.r.Float64() < 0.6 {
		i.Groups = []string{contact.language.groups[rank(s.r, len(contact.language.groups))]}
	}
	return &event.Event{Kind: &event.Event_RosterItemSet{RosterItemSet: i}}
}

func verb(contact jid.Bare, v event.Verb) *event.Event {
	return &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: contact.String(), Verb: v}}}
}

// onlineOn gives the session of p with that resource.
func (p *person) onlineOn(resource string) *session {
	i := slices.IndexFunc(p.online, func(o *session) bool { return o.resource == resource })
	if i < 0 {
		return nil
	}
	return p.online[i]
}
