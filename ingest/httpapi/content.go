package httpapi

import (
	"encoding/xml"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
)

// content is what a request says of a message.
type content struct {
	From    string   `json:"from"`    // a bare or full JID that the key may use; the domain if empty
	Type    string   `json:"type"`    // normal, chat or headline; normal if empty
	ID      string   `json:"id"`      // the stanza's id attribute; the door's own if empty
	Lang    string   `json:"lang"`    // its xml:lang
	Body    string   `json:"body"`    // XEP-0071's plain text; RFC 6121, section 5.2.3
	Subject string   `json:"subject"` // section 5.2.4
	Thread  string   `json:"thread"`  // section 5.2.5
	Hints   []string `json:"hints"`   // XEP-0334
	Payload string   `json:"payload"` // further children, as XML
}

var types = map[string]event.MessageType{
	"":         event.MessageType_MESSAGE_TYPE_NORMAL,
	"normal":   event.MessageType_MESSAGE_TYPE_NORMAL,
	"chat":     event.MessageType_MESSAGE_TYPE_CHAT,
	"headline": event.MessageType_MESSAGE_TYPE_HEADLINE,
}

// hints are those of XEP-0334, section 4.
var hints = []string{"no-permanent-store", "no-store", "no-copy", "store"}

// Bounds of what goes into attributes and small elements, in bytes.
const (
	maxAttribute = 256
	maxThread    = 256
)

// langs is what an xml:lang looks like (RFC 5646, section 2.1).
var langs = regexp.MustCompile(`^[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*$`)

// accepted makes the event of a message, for a recipient that is not named yet.
// The request's id becomes the origin id, by which a copy is known (XEP-0359).
func (s *Server) accepted(key *Key, c *content, request uuid.UUID) (*event.MessageAccepted, error) {
	from, err := sender(key, c.From)
	if err != nil {
		return nil, err
	}
	t, ok := types[c.Type]
	if !ok {
		return nil, problem(InvalidField, "type is %s; it may be normal, chat or headline", quoted(c.Type))
	}
	if c.Lang != "" && (len(c.Lang) > 64 || !langs.MatchString(c.Lang)) {
		return nil, problem(InvalidField, "lang is no language tag (RFC 5646)")
	}
	for _, hint := range c.Hints {
		if !slices.Contains(hints, hint) {
			return nil, problem(InvalidField, "hints: there is no hint %s; there are %s", quoted(hint), strings.Join(hints, ", "))
		}
	}
	for _, f := range []struct {
		name, text string
		most       int
	}{{"id", c.ID, maxAttribute}, {"thread", c.Thread, maxThread}, {"subject", c.Subject, s.opts.Limits.Body}, {"body", c.Body, s.opts.Limits.Body}} {
		if len(f.text) > f.most {
			return nil, problem(InvalidField, "%s has %d bytes, it may have %d", f.name, len(f.text), f.most)
		}
		if strings.ContainsFunc(f.text, notXML) {
			return nil, problem(InvalidField, "%s has a character that XML cannot hold", f.name)
		}
	}
	if c.Body == "" && c.Subject == "" && c.Payload == "" {
		return nil, problem(EmptyMessage, "give a body, a subject or a payload")
	}
	m, err := s.opts.Compose(children(c, request.String()), t)
	if err != nil {
		return nil, problem(BadPayload, "%s", err)
	}
	m.Id, m.Lang, m.OriginId = c.ID, c.Lang, request.String()
	if m.Id == "" {
		m.Id = m.OriginId
	}
	return &event.MessageAccepted{From: from, Message: m, MaxWaiting: waiting(s.opts.Limits.Waiting)}, nil
}

// waiting gives the limit as events have it: 0 is none.
func waiting(limit int) uint32 {
	if limit < 0 {
		return 0
	}
	return uint32(limit)
}

// sender gives the JID that a request sends as.
func sender(key *Key, from string) (string, error) {
	if from == "" {
		return key.Domain, nil
	}
	j, err := jid.Parse(from)
	if err != nil {
		return "", problem(BadJID, "from: %s", err)
	}
	if !key.maySendAs(j) {
		return "", problem(SenderNotAllowed, "the key %s may not send as %s", key.ID, j)
	}
	return j.String(), nil
}

// children gives what is inside the stanza.
func children(c *content, origin string) []byte {
	var b strings.Builder
	element := func(name, text string) {
		if text != "" {
			b.WriteString("<" + name + ">")
			_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
			b.WriteString("</" + name + ">")
		}
	}
	element("subject", c.Subject)
	element("body", c.Body)
	element("thread", c.Thread)
	for _, hint := range c.Hints {
		b.WriteString("<" + hint + " xmlns='urn:xmpp:hints'/>")
	}
	b.WriteString(c.Payload)
	b.WriteString("<origin-id xmlns='urn:xmpp:sid:0' id='" + origin + "'/>")
	return []byte(b.String())
}

// notXML tells that XML 1.0 does not allow a character (production 2).
func notXML(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}
