package generate

import (
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// A talk is a conversation of two.
type talk struct {
	sides [2]*person
	on    [2]string // the resource that each wrote from last; empty before
	left  int       // messages to come
	said  [2]string // the id of the last message of each; empty before
}

const (
	meanTalk    = 9   // messages of a talk
	onlineHours = 5.5 // of an account on a day, about: what plan makes
	mostWaiting = 100 // messages that wait for one who is away; then people give up
)

// talkLater has p begin a talk at some time, if the session is still there.
func (s *story) talkLater(p *person, o *session, at int64) {
	if len(p.friends) == 0 || s.options.Messages == 0 {
		return
	}
	perHour := float64(s.options.Messages) / meanTalk / onlineHours * p.activity
	s.queue.put(at+s.pause(int64(float64(hour)/perHour)), func(at int64) {
		if o.over {
			return
		}
		s.begin(p, o, at)
		s.talkLater(p, o, at)
	})
}

// begin begins a talk with one of p's friends, rather with one who is there.
func (s *story) begin(p *person, o *session, at int64) {
	other := &s.people[p.friends[rank(s.r, len(p.friends))]]
	for tries := 0; other.device("") == nil && tries < 3; tries++ {
		other = &s.people[p.friends[rank(s.r, len(p.friends))]]
	}
	t := &talk{sides: [2]*person{p, other}, on: [2]string{o.resource, ""}, left: 1 + int(s.r.ExpFloat64()*meanTalk)}
	if other.device("") == nil {
		t.left = 1 + s.r.IntN(2)
	}
	s.turn(t, 0, at)
}

// turn has one side say something, and goes on.
func (s *story) turn(t *talk, side int, at int64) {
	from, to := t.sides[side], t.sides[1-side]
	o := from.device(t.on[side])
	if o == nil || len(to.waiting) >= mostWaiting {
		return
	}
	t.on[side] = o.resource
	language := from.language
	if language != to.language {
		language = languages[0]
	}
	if s.r.Float64() < 0.1 {
		s.send(t, side, o, at, &event.Message{Type: event.MessageType_MESSAGE_TYPE_CHAT, Copies: event.Copies_COPIES_ALL,
			Payload: []byte("<composing xmlns='http://jabber.org/protocol/chatstates'/>")})
		at += second + s.r.Int64N(5*second)
	}
	switch kind := s.r.Float64(); {
	case kind < 0.02 && t.said[side] != "": // XEP-0308
		s.message(t, side, o, at, language.say(s.r), "<replace xmlns='urn:xmpp:message-correct:0' id='"+t.said[side]+"'/>")
	case kind < 0.05 && t.said[1-side] != "": // XEP-0444
		s.message(t, side, o, at, "", "<reactions xmlns='urn:xmpp:reactions:0' id='"+t.said[1-side]+"'><reaction>👍</reaction></reactions>"+
			"<store xmlns='urn:xmpp:hints'/>")
	default:
		s.message(t, side, o, at, language.say(s.r), "")
	}
	if t.left--; t.left <= 0 {
		return
	}
	next := 1 - side
	if to.device("") == nil || s.r.Float64() < 0.3 {
		next = side
	}
	s.queue.put(at+2*second+s.pause(25*second), func(at int64) { s.turn(t, next, at) })
}

// escape makes text of XML as the edge writes it.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// message sends what waits in an inbox and belongs into an archive: a body, or
// something else.
func (s *story) message(t *talk, side int, o *session, at int64, body, more string) {
	id := uuid.UUID(s.id(at)).String()
	var b strings.Builder
	if body != "" {
		b.WriteString("<body>" + escape.Replace(body) + "</body><request xmlns='urn:xmpp:receipts'/>")
	}
	b.WriteString(more)
	b.WriteString("<origin-id xmlns='urn:xmpp:sid:0' id='" + id + "'/>")
	s.send(t, side, o, at, &event.Message{
		Type: event.MessageType_MESSAGE_TYPE_CHAT, Id: id, OriginId: id, Body: body, Payload: []byte(b.String()), Storable: true, Copies: event.Copies_COPIES_ALL,
	})
	if body != "" {
		t.said[side] = id
	}
}

// send sends a message to where the other side wrote from last, else to its
// bare JID.
func (s *story) send(t *talk, side int, o *session, at int64, m *event.Message) {
	from, to := t.sides[side], t.sides[1-side]
	addressed := t.on[1-side]
	if addressed != "" && to.onlineOn(addressed) == nil {
		addressed = ""
	}
	number := uint64(0)
	if m.Storable {
		s.messages++
		number = s.messages
	}
	s.emit(to, at, o.edge, o, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: from.bare.WithCanonical(o.resource).String(), Resource: addressed, Message: m, MaxWaiting: 1000,
	}}}, number, 0)
	if number == 0 {
		return
	}
	takes := to.device(addressed)
	if takes == nil {
		to.waiting = append(to.waiting, number)
		return
	}
	s.queue.put(at+20_000+s.pause(80_000), func(at int64) {
		if takes.over {
			to.waiting = append(to.waiting, number)
			return
		}
		s.took(to, takes, at, number)
	})
}

// took tells that a session took a message.
func (s *story) took(p *person, o *session, at int64, number uint64) {
	s.emit(p, at, o.edge, o, &event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Resource: o.resource}}}, 0, number)
}
