package edgetest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/wire"
)

// Serve implements edge.Links: of two connections of one component the later
// one counts, as with a worker.
func (d *door) Serve(components []*wire.Component) {
	h := d.house
	h.do(func() {
		h.stateMu.Lock()
		defer h.stateMu.Unlock()
		d.serves = components
		for _, c := range components {
			newest, since := h.holder(c.GetDomain())
			for _, other := range h.edges {
				if other != newest {
					other.script = append(other.script, func() { other.server.Replaced(&wire.Replaced{Domain: c.GetDomain(), Since: since}) })
				}
			}
		}
	})
}

// holder gives the edge that a component is connected to, nil if there is
// none, and since when. stateMu is held.
func (h *House) holder(domain string) (newest *door, since int64) {
	for _, d := range h.edges {
		for _, c := range d.serves {
			if c.GetDomain() == domain && (newest == nil || c.GetSince() > since) {
				newest, since = d, c.GetSince()
			}
		}
	}
	return newest, since
}

// Holder gives the id of the edge that a component is connected to, empty if
// there is none.
func (h *House) Holder(domain string) string {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	if d, _ := h.holder(domain); d != nil {
		return d.id
	}
	return ""
}

// toComponent sends a stanza on that is for a component, or refuses what only
// a component takes; it tells whether it was one of these.
func (d *door) toComponent(iq *wire.Iq) bool {
	h := d.house
	h.stateMu.Lock()
	to, _ := h.holder(jid.FromCanonical(iq.GetTo()).Domain())
	h.stateMu.Unlock()
	switch {
	case to != nil:
		to.server.Iq(iq)
	case iq.GetKind() != wire.Iq_KIND_IQ && iq.GetType() == "error":
		bare := jid.FromCanonical(iq.GetTo()).Bare()
		h.stateMu.Lock()
		r := h.state(bare).Resources[jid.FromCanonical(iq.GetTo()).Resource()]
		h.stateMu.Unlock()
		for _, other := range h.edges {
			if other.epoch == r.Epoch {
				other.server.Iq(iq)
			}
		}
	case iq.GetKind() != wire.Iq_KIND_IQ || jid.FromCanonical(iq.GetTo()).Domain() != h.domain:
		iq.Refused = true
		d.server.Iq(iq)
	default:
		return false
	}
	return true
}

// directedToComponent sends directed presence on that is for a component.
// stateMu is held.
func (h *House) directedToComponent(to jid.Bare, p *event.DirectedReceived) {
	if d, _ := h.holder(to.Domain()); d != nil {
		d.script = append(d.script, func() { d.server.Iq(wire.DirectedStanza(to, p)) })
	}
}

// outcomeToComponent sends the error on that answers a component's message.
// stateMu is held.
func (h *House) outcomeToComponent(r account.Reaction) {
	d, _ := h.holder(r.Account.Domain())
	if s := wire.OutcomeStanza(r.Account, r.Output.GetOutcome()); d != nil && s != nil {
		d.script = append(d.script, func() { d.server.Iq(s) })
	}
}

// Component is a component (XEP-0114) over a real socket. One goroutine uses it.
type Component struct {
	Conn net.Conn
	ID   string // of the stream
	d    *stanza.Decoder
}

// OpenComponent connects and opens the stream of a domain.
func OpenComponent(address, domain string) (*Component, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &Component{Conn: conn, d: stanza.NewComponentDecoder(conn, stanza.Limits{Bytes: 4 << 20})}
	if err := c.Send("<stream:stream xmlns='" + stanza.NSComponent + "' xmlns:stream='" + stanza.NSStreams + "' to='" + domain + "'>"); err != nil {
		return nil, err
	}
	h, err := c.d.Open()
	c.ID = h.ID
	if err == nil && h.Content != stanza.NSComponent {
		err = fmt.Errorf("content namespace %q", h.Content)
	}
	return c, err
}

// ConnectComponent is OpenComponent and the handshake.
func ConnectComponent(address, domain, secret string) (*Component, error) {
	c, err := OpenComponent(address, domain)
	if err != nil {
		return nil, err
	}
	if err := c.Send(Handshake(c.ID, secret)); err != nil {
		return nil, err
	}
	st, err := c.Next()
	if err == nil && !st.Is(stanza.NSClient, "handshake") {
		err = fmt.Errorf("refused: %s", Text(st))
	}
	if err != nil {
		c.Conn.Close()
	}
	return c, err
}

// Handshake gives the element by which a component shows that it knows its
// secret.
func Handshake(id, secret string) string {
	sum := sha1.Sum([]byte(id + secret))
	return "<handshake>" + hex.EncodeToString(sum[:]) + "</handshake>"
}

// Send writes XML as it is.
func (c *Component) Send(xml string) error {
	_, err := c.Conn.Write([]byte(xml))
	return err
}

// Next reads one stanza.
func (c *Component) Next() (*stanza.Stanza, error) { return c.d.Next() }
