package edge

import (
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
	"github.com/rollcall/rollcall/schema/wire"
)

// take acts on one stanza of the component. Its error ends the stream.
func (c *component) take(st *stanza.Stanza) error {
	switch {
	case st.Foreign():
		return &stanza.StreamError{Condition: stanza.InvalidNamespace}
	case st.Kind == stanza.Other:
		return &stanza.StreamError{Condition: stanza.UnsupportedStanzaType}
	case st.To == "":
		return &stanza.StreamError{Condition: stanza.ImproperAddressing, Text: "a component's stanza has a to"}
	}
	// XEP-0114, section 3: any address at its domain, and no other.
	from, err := jid.Parse(st.From)
	if err != nil || from.Domain() != c.domain || len(from.String()) > maxAddress {
		return &stanza.StreamError{Condition: stanza.InvalidFrom}
	}
	st.From = from.String()
	to, err := jid.Parse(st.To)
	switch {
	case err != nil:
	case len(to.String()) > maxAddress || len(to.Resource()) > maxResource:
		err = stanza.NewError(stanza.JIDMalformed, "too long")
	case c.server.isComponent(to.Domain()):
		err = c.passOn(st, from, to)
	case to.Domain() != c.server.opts.Domain:
		err = stanza.NewError(stanza.RemoteServerNotFound, "")
	case st.Kind == stanza.IQ:
		err = c.takeIQ(st, from, to)
	case to.Local() == "" && (st.Kind == stanza.Presence || st.Type == "error"):
		// The server itself takes no presence.
	case to.Local() == "":
		err = stanza.NewError(stanza.ServiceUnavailable, "")
	case st.Kind == stanza.Message:
		err = c.takeMessage(st, from, to)
	default:
		err = c.takePresence(st, from, to)
	}
	if err != nil {
		c.fail(st, err)
	}
	return nil
}

// fail answers a stanza with an error, unless it is one (RFC 6120, section 8.3.1).
func (c *component) fail(st *stanza.Stanza, err error) {
	if st.Type == "error" || st.Kind == stanza.IQ && st.Type == "result" {
		return
	}
	bad, h := stanzaError(err), stanza.Header{From: st.To, To: st.From, ID: st.ID}
	c.send(func(dst []byte) []byte { return stanza.AppendError(dst, st.Kind, h, bad) })
}

// passOn sends a stanza to another component, or an iq to a session.
func (c *component) passOn(st *stanza.Stanza, from, to jid.JID) error {
	iq := &wire.Iq{
		Partition: c.server.partitionOf(to.Bare()), To: to.String(), From: from.String(), Type: st.Type, Id: st.ID, Lang: st.Lang,
		Payload: st.Inner, Kind: wireKind(st.Kind),
	}
	asks := st.Kind == stanza.IQ && (st.Type == "get" || st.Type == "set")
	if asks {
		c.server.askedBy(iq)
	}
	err := c.server.sendOn(iq)
	if err != nil && asks {
		c.server.asked.take(iq.GetTo(), iq.GetFrom(), iq.GetId())
	}
	return err
}

// takeIQ acts on an iq for a session, or for the server: of the server the
// component may ask whether it is there, and what it is.
func (c *component) takeIQ(st *stanza.Stanza, from, to jid.JID) error {
	payload, err := st.Payload()
	asks := st.Type == "get" || st.Type == "set"
	switch {
	case err != nil:
		return err
	case to.Local() != "" && to.IsFull():
		return c.passOn(st, from, to)
	case !asks:
		if to.Local() == "" {
			c.server.pusher.answered(st)
		}
		return nil
	case to.Local() != "" || to.IsFull() || st.Type != "get":
	case payload.Is(stanza.NSPing, "ping"):
		c.answer(st, nil)
		return nil
	case payload.Is(stanza.NSDiscoInfo, "query") && payload.Attr("node") == "":
		c.answer(st, c.server.info(atServer).Bytes())
		return nil
	}
	return stanza.NewError(stanza.ServiceUnavailable, "")
}

func (c *component) answer(st *stanza.Stanza, payload []byte) {
	h := stanza.Header{Type: "result", ID: st.ID, To: st.From, From: st.To}
	c.send(func(dst []byte) []byte { return stanza.AppendIQ(dst, h, payload) })
}

// takeMessage appends the component's message to its recipient's history, as
// a client's.
func (c *component) takeMessage(st *stanza.Stanza, from, to jid.JID) error {
	if node, ok := revoked(st.Inner, to.Bare().String()); ok && c.server.pushes() {
		c.append(st, to.Bare(), &event.Event{Kind: &event.Event_PushDisabled{PushDisabled: &event.PushDisabled{Service: from.String(), Node: node}}})
	}
	content, _ := contentOf(st.Inner)
	msg, err := messageOf(st, stanza.Without(st.Inner, func(x stanza.Child) bool {
		by, err := jid.Parse(x.Attr("by"))
		return x.Is(stanza.NSStanzaID, "stanza-id") && err == nil && by.Bare() == to.Bare()
	}), content)
	if err == nil && content.Copy {
		err = stanza.NewError(stanza.PolicyViolationStanza, "a component makes no copies of messages")
	}
	if err != nil {
		return err
	}
	c.append(st, to.Bare(), &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: from.String(), Resource: to.Resource(), Message: msg, MaxWaiting: c.server.opts.Limits.waiting(),
	}}})
	return nil
}

// takePresence appends presence that the component directs to an account.
func (c *component) takePresence(st *stanza.Stanza, from, to jid.JID) error {
	p, err := st.Presence()
	if err != nil {
		return err
	}
	switch st.Type {
	case "", "unavailable":
	case "error", "probe":
		return nil
	default:
		return noSubscriptions()
	}
	c.mu.Lock()
	c.version = max(c.version+1, time.Now().UnixMicro())
	version := c.version
	c.mu.Unlock()
	c.append(st, to.Bare(), &event.Event{Kind: &event.Event_DirectedReceived{DirectedReceived: &event.DirectedReceived{
		From: from.String(), Resource: to.Resource(), Available: st.Type == "", Presence: saidOf(st, p), Version: version,
	}}})
	return nil
}

// append appends what the component's stanza is to an account; when as many
// are not settled as may be it waits, and nothing is read.
func (c *component) append(st *stanza.Stanza, account jid.Bare, e *event.Event) {
	select {
	case c.slots <- struct{}{}:
	case <-c.server.ctx.Done():
		return
	}
	c.server.append(account, e, func(_ topic.Position, err error) {
		<-c.slots
		if err != nil {
			c.fail(st, err)
		}
	})
}
