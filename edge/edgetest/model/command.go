package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Command is one thing that a client, a connection or an edge does. One that
// makes no sense where the world stands does nothing.
type Command struct {
	ID   string   // of its stanza; unique
	Who  string   // "name/resource"; of kill "edge"
	Verb string   // see Do
	Args []string // see Do
	// Burst is the same for commands in a row that are done without waiting
	// in between; 0 is done alone.
	Burst int
}

// String gives the command as a line.
func (c Command) String() string {
	var b strings.Builder
	b.WriteString(c.Who + " " + c.Verb)
	for _, a := range c.Args {
		fmt.Fprintf(&b, " %q", a)
	}
	return b.String()
}

// Do does a command:
//
//	connect EDGE                  bind the resource at that edge
//	close, cut                    end the stream properly, or the connection
//	roster                        ask for the roster
//	available SHOW STATUS PRIO    broadcast presence
//	unavailable
//	direct TO SHOW STATUS         directed presence
//	undirect TO                   directed unavailable presence
//	subscribe, subscribed, unsubscribe, unsubscribed NAME
//	set NAME HANDLE GROUPS        roster set; groups by commas
//	remove NAME
//	message TYPE TO ORIGIN        ORIGIN is the client's own id of it, if any
//	block, unblock NAME           unblock without NAME: everybody
//	list NAME RULES               a privacy list; without RULES it is removed
//	active, default NAME          without NAME: none
//	invisible, visible
//	kill EDGE                     the edge dies and another comes
//
// TO is "name" or "name/resource". It tells whether anything was done.
func (m *Model) Do(c Command) bool {
	if c.Verb == "kill" {
		m.kill(number(c.Args[0]))
		return true
	}
	if c.Verb == "connect" {
		m.connect(c.Who, number(c.Args[0]))
		return true
	}
	s := m.Session(c.Who)
	if s == nil {
		return false
	}
	m.id = c.ID
	defer m.changed(m.sight())
	name, resource := split(c.Who)
	a := m.accounts[name]
	switch c.Verb {
	case "close", "cut":
		m.end(a, resource)
	case "roster":
		s.Interested = true
		clear(s.Roster)
		for contact, i := range a.roster {
			if t := i.text(); t != "" {
				s.Roster[contact+"@"+m.domain] = t
			}
		}
	case "available":
		m.available(a, s, Seen{c.Args[0], c.Args[1]}, number(c.Args[2]))
	case "unavailable":
		m.withdraw(a, s)
	case "direct":
		m.sendsDirected(a, s, c.Args[0], &Seen{c.Args[1], c.Args[2]})
	case "undirect":
		m.sendsDirected(a, s, c.Args[0], nil)
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		m.sends(a, s, c.Verb, c.Args[0])
	case "set":
		m.sets(a, c.Args[0], c.Args[1], c.Args[2])
	case "remove":
		if !m.removes(a, c.Args[0]) {
			m.refuse(s, "item-not-found")
		}
	case "message":
		m.message(a, s, c.Args[0], c.Args[1], c.Args[2])
	case "block":
		a.blocked[c.Args[0]] = true
	case "unblock":
		if c.Args[0] == "" {
			clear(a.blocked)
		}
		delete(a.blocked, c.Args[0])
	case "list":
		m.defines(a, s, c.Args[0], c.Args[1])
	case "active":
		m.activates(a, s, c.Args[0])
	case "default":
		m.prefers(a, s, c.Args[0])
	case "invisible":
		m.hides(a, s)
	case "visible":
		m.appears(a, s)
	default:
		panic("no such command: " + c.Verb)
	}
	return true
}

// kill ends every session of an edge at once.
func (m *Model) kill(edge int) {
	for _, a := range m.all() {
		for _, s := range a.ordered() {
			if s.Edge == edge {
				_, resource := split(m.short(s.Full))
				m.end(a, resource)
			}
		}
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}
