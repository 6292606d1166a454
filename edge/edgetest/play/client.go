// Package play has clients do what an executable model does (package model),
// on a server, and compares what they were told with what the model says.
package play

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/edgetest/model"
	"github.com/rollcall/rollcall/edge/stanza"
)

// client is a connected client and what it made of what it was told.
type client struct {
	*edgetest.Client
	view   map[string]model.Seen
	roster map[string]string
	got    []string        // as model.Session.Must
	asked  map[string]bool // ids of iqs that are not answered
	last   []string        // the latest stanzas, for who looks for a bug
}

// maxLast is how many of them are kept.
const maxLast = 16

func newClient(c *edgetest.Client) *client {
	return &client{Client: c, view: make(map[string]model.Seen), roster: make(map[string]string), asked: make(map[string]bool)}
}

// settle reads until all that was asked is answered, and then what came
// before the answer to a ping.
func (c *client) settle() error {
	for len(c.asked) > 0 {
		st, err := c.Next()
		if err != nil {
			return fmt.Errorf("not answered: %v: %w", c.asked, err)
		}
		if err := c.hear(st); err != nil {
			return err
		}
	}
	return c.sync()
}

// sync reads what came before the answer to a ping.
func (c *client) sync() error {
	all, err := c.Sync()
	for _, st := range all {
		if err := c.hear(st); err != nil {
			return err
		}
	}
	return err
}

// hear takes one stanza.
func (c *client) hear(st *stanza.Stanza) error {
	c.last = append(c.last[max(0, len(c.last)-maxLast+1):], edgetest.Text(st))
	if st.Type == "error" {
		delete(c.asked, st.ID)
		c.got = append(c.got, "error "+st.ID+" "+condition(st))
		return nil
	}
	switch st.Kind {
	case stanza.Message:
		c.got = append(c.got, "message "+st.ID)
	case stanza.Presence:
		switch st.Type {
		case "":
			p, err := st.Presence()
			if err != nil {
				return err
			}
			c.view[st.From] = model.Seen{Show: p.Show, Status: p.Status}
		case "unavailable":
			delete(c.view, st.From)
			if st.From == c.Full { // it is told nothing more, and what it was told grows old
				clear(c.view)
			}
		default:
			c.got = append(c.got, st.Type+" "+st.From)
		}
	case stanza.IQ:
		return c.hearIQ(st)
	default:
		return fmt.Errorf("unexpected %s", edgetest.Text(st))
	}
	return nil
}

func (c *client) hearIQ(st *stanza.Stanza) error {
	if st.Type == "result" {
		if !c.asked[st.ID] {
			return fmt.Errorf("an answer that nobody asked for: %s", edgetest.Text(st))
		}
		delete(c.asked, st.ID)
	}
	q, ok := stanza.Find(st.Inner, stanza.NSRoster, "query")
	if !ok {
		return nil
	}
	query, err := q.Element()
	if err != nil {
		return err
	}
	if st.Type == "result" {
		clear(c.roster)
	}
	for _, item := range query.Children {
		c.hearItem(item)
	}
	return nil
}

// hearItem writes a roster item as the model does.
func (c *client) hearItem(item *stanza.Element) {
	text := item.Attr("subscription")
	if text == "remove" {
		delete(c.roster, item.Attr("jid"))
		return
	}
	if text == "" {
		text = "none"
	}
	if item.Attr("ask") == "subscribe" {
		text += " ask"
	}
	if item.Attr("approved") == "true" {
		text += " approved"
	}
	var groups []string
	for _, g := range item.Children {
		groups = append(groups, g.Text)
	}
	slices.Sort(groups)
	c.roster[item.Attr("jid")] = text + " " + item.Attr("name") + "[" + strings.Join(groups, ",") + "]"
}

// condition gives the defined condition of a stanza error.
func condition(st *stanza.Stanza) string {
	e, _ := stanza.Find(st.Inner, stanza.NSClient, "error")
	el, err := e.Element()
	if err != nil {
		return err.Error()
	}
	for _, c := range el.Children {
		if c.Space == stanza.NSStanzas {
			return c.Local
		}
	}
	return "no condition"
}
