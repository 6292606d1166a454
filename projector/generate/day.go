package generate

import (
	"math"

	"github.com/rollcall/rollcall/schema/event"
)

// A session is a client that is connected.
type session struct {
	resource string
	edge     int
	binding  []byte

	available bool
	over      bool
}

// device gives the available session of p with that resource, else another one,
// nil if there is none.
func (p *person) device(resource string) (other *session) {
	for _, o := range p.online {
		if o.available && o.resource == resource {
			return o
		}
		if o.available {
			other = o
		}
	}
	return other
}

// hoursOfPhones is how likely people are to take their phone, by local hour.
var hoursOfPhones = [24]float64{2, 1, .5, .3, .3, .8, 3, 6, 7, 5, 4, 4, 7, 6, 4, 4, 5, 7, 8, 9, 10, 10, 8, 5}

// Caps (XEP-0115) of the clients, by resource.
var caps = map[string]string{
	"desk":  `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://desk.example/' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/>`,
	"phone": `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://phone.example/' ver='8RovUdtOmiAjzj+xI7SK5BCw3A8='/>`,
	"home":  `<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://web.example/' ver='I22W7CegORwdbnu0ZiQwGpxr0Go='/>`,
}

// plan says for everybody when they come on the day that begins at midnight
// UTC, by the clock of where they are.
func (s *story) plan(midnight int64) {
	weekday := (midnight/day + 3) % 7 // 0 is Monday: 1970 began on a Thursday
	working := weekday < 5
	for i := range s.people {
		p := &s.people[i]
		if p.desk && working && s.r.Float64() < 0.9 {
			s.come(p, midnight, 9+s.r.NormFloat64()*0.7, 8+s.r.NormFloat64()*1.2, "desk")
		}
		for range poisson(s.r, 1.2+1.3*math.Min(p.activity, 3)) {
			s.come(p, midnight, s.phoneHour(), 0.05+s.r.ExpFloat64()*0.5, "phone")
		}
		if s.r.Float64() < 0.25 {
			s.come(p, midnight, 19+s.r.NormFloat64()*1.5, 0.3+s.r.ExpFloat64(), "home")
		}
	}
}

func (s *story) phoneHour() float64 {
	sum := 0.0
	for _, w := range hoursOfPhones {
		sum += w
	}
	at := s.r.Float64() * sum
	for h, w := range hoursOfPhones {
		if at -= w; at < 0 {
			return float64(h) + s.r.Float64()
		}
	}
	return 12
}

// come plans a session from a local hour on, for some hours.
func (s *story) come(p *person, midnight int64, from, hours float64, resource string) {
	local := (int64(from*float64(hour)) - p.zone) % day
	if local < 0 {
		local += day
	}
	length := max(int64(hours*float64(hour)), minute)
	s.queue.put(midnight+local, func(at int64) { s.login(p, resource, at, at+length) })
}

// login begins a session.
func (s *story) login(p *person, resource string, at, until int64) {
	if p.onlineOn(resource) != nil {
		return
	}
	o := &session{resource: resource, edge: int(s.bound % uint64(s.options.Edges)), binding: s.id(at)}
	s.bound++
	p.online = append(p.online, o)
	s.emit(p, at, o.edge, o, &event.Event{Id: o.binding, Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{
		Resource: resource, Edge: edgeName(o.edge), Epoch: s.epoch, Copies: true,
	}}}, 0, 0)
	s.queue.put(at+30_000+s.r.Int64N(200_000), func(at int64) {
		if o.over {
			return
		}
		s.show(p, o, at, "", "")
		o.available = true
		for _, number := range p.waiting {
			at += 1 + s.r.Int64N(900)
			s.took(p, o, at, number)
		}
		p.waiting = nil
		s.queue.put(at+s.pause(45*minute), func(at int64) { s.change(p, o, at, false) })
		s.talkLater(p, o, at)
	})
	s.queue.put(until, func(at int64) { s.leave(p, o, at, s.r.Float64() < 0.93) })
}

// pause gives a time whose mean is given.
func (s *story) pause(mean int64) int64 { return 1 + int64(s.r.ExpFloat64()*float64(mean)) }

// show broadcasts presence.
func (s *story) show(p *person, o *session, at int64, show, status string) {
	said := &event.Presence{Show: show, Status: status, Payload: []byte(caps[o.resource])}
	switch o.resource {
	case "desk":
		said.Priority = 5
	case "home":
		said.Priority = 1
	}
	if status != "" {
		said.Lang = p.language.tag
	}
	s.emit(p, at, o.edge, o, &event.Event{Kind: &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{
		Resource: o.resource, Presence: said,
	}}}, 0, 0)
}

// change shows another presence: away for a while, or busy, and then back.
func (s *story) change(p *person, o *session, at int64, away bool) {
	if o.over {
		return
	}
	next := s.pause(45 * minute)
	switch choice := s.r.Float64(); {
	case away:
		s.show(p, o, at, "", "")
	case choice < 0.6:
		s.show(p, o, at, "away", "")
		next = s.pause(12 * minute)
	case choice < 0.8:
		s.show(p, o, at, "dnd", pick(s.r, p.language.statuses))
		next = s.pause(30 * minute)
	case choice < 0.9:
		s.show(p, o, at, "xa", pick(s.r, p.language.statuses))
	default:
		s.show(p, o, at, "chat", "")
	}
	s.queue.put(at+next, func(at int64) { s.change(p, o, at, !away) })
}

// leave ends a session; not politely, if its connection breaks.
func (s *story) leave(p *person, o *session, at int64, politely bool) {
	if o.over {
		return
	}
	o.over = true
	for i := range p.online {
		if p.online[i] == o {
			p.online = append(p.online[:i], p.online[i+1:]...)
			break
		}
	}
	reason := "connection lost"
	if politely {
		reason = "closed"
		s.emit(p, at, o.edge, o, &event.Event{Kind: &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{
			Resource: o.resource, Presence: &event.Presence{},
		}}}, 0, 0)
	}
	s.emit(p, at+1, o.edge, o, &event.Event{Kind: &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{
		Resource: o.resource, Reason: reason,
	}}}, 0, 0)
}
