package edge

import (
	"errors"

	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/message"
)

// Compose makes a message of its children, XML in the scope of jabber:client
// that did not come through a stream. Its errors are for whoever sent them: they
// are not well-formed, too large, too deep, or say what only a server may say.
func Compose(children []byte, t event.MessageType, maxBytes int) (*event.Message, error) {
	inner, err := stanza.Canonical(children, stanza.Limits{Bytes: maxBytes})
	if err != nil {
		var fault *stanza.StreamError
		if errors.As(err, &fault) && fault.Text != "" {
			return nil, errors.New(fault.Text)
		}
		return nil, err
	}
	st := stanza.Stanza{Kind: stanza.Message, Inner: inner}
	if st.Text() != "" {
		return nil, errors.New("text outside of an element")
	}
	content, claims := contentOf(inner)
	switch {
	case content.Copy:
		return nil, errors.New("a copy of another message (XEP-0280), which a server alone makes")
	case claims:
		return nil, errors.New("a stanza id (XEP-0359) or a delay (XEP-0203), which a server alone says")
	}
	origins := 0
	for c := range stanza.Children(inner) {
		if c.Is(stanza.NSStanzaID, "origin-id") {
			origins++
		}
	}
	if origins > 1 {
		return nil, errors.New("an origin id (XEP-0359) beside that of the request")
	}
	return &event.Message{
		Type: t, Body: st.Message().Body, Payload: inner,
		Storable: message.Storable(message.Type(t), content),
		Copies:   event.Copies(message.Copied(message.Type(t), content)),
		Archive:  archiveOf(t, content),
	}, nil
}
