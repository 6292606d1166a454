package stream

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

func registerSet(id, username, password string) string {
	return "<iq type='set' id='" + id + "'><query xmlns='jabber:iq:register'><username>" + username + "</username><password>" + password + "</password></query></iq>"
}

func TestRegister(t *testing.T) {
	o, a := options()
	o.AuthBytes = 2048
	c := dial(t, t.Context(), o)
	c.startTLS(0)
	q := c.ask("<iq type='get' id='r0'><query xmlns='jabber:iq:register'/></iq>", "iq").Child(stanza.NSRegister, "query")
	if q.Child(stanza.NSRegister, "username") == nil || q.Child(stanza.NSRegister, "password") == nil || q.ChildText(stanza.NSRegister, "instructions") == "" {
		t.Fatalf("%s", q.Bytes())
	}
	// Far more than AuthBytes in all: each registration starts the count anew.
	for i := range 40 {
		id := fmt.Sprintf("r%d", i)
		if e := c.ask(registerSet(id, fmt.Sprintf("User%d", i), "secret"), "iq"); e.Attr("type") != "result" || e.Attr("id") != id {
			t.Fatalf("%s", e.Bytes())
		}
	}
	if _, ok := a.keys["user39"]; !ok {
		t.Fatal("the username is not in its canonical form")
	}
	c.ask(auth("PLAIN", "\x00user7\x00secret"), "success")
}

func TestRegisterRefused(t *testing.T) {
	for _, x := range []struct {
		name, in string
		err      error
		want     stanza.Condition
	}{
		{"exists", registerSet("1", "juliet", "x"), nil, stanza.Conflict},
		{"no username", registerSet("1", "", "x"), nil, stanza.NotAcceptable},
		{"no password", registerSet("1", "nurse", ""), nil, stanza.NotAcceptable},
		{"bad username", registerSet("1", "a b", "x"), nil, stanza.NotAcceptable},
		{"a JID", registerSet("1", "a@b", "x"), nil, stanza.NotAcceptable},
		{"bad password", registerSet("1", "nurse", "\u00AD"), nil, stanza.NotAcceptable},
		{"closed", registerSet("1", "nurse", "x"), ErrNotAllowed, stanza.NotAllowed},
		{"too many", registerSet("1", "nurse", "x"), fmt.Errorf("today: %w", ErrResourceConstraint), stanza.ResourceConstraint},
		{"store away", registerSet("1", "nurse", "x"), errors.New("away"), stanza.InternalServerError},
		{"remove", "<iq type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>", nil, stanza.UnexpectedRequest},
		{"two payloads", "<iq type='set' id='1'><query xmlns='jabber:iq:register'/><a/></iq>", nil, stanza.BadRequest},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, a := options()
			a.err = x.err
			c := dial(t, t.Context(), o)
			c.startTLS(0)
			e := c.ask(x.in, "iq")
			if e.Attr("type") != "error" || e.Attr("id") != "1" || e.Child(stanza.NSClient, "error").Child(stanza.NSStanzas, string(x.want)) == nil {
				t.Fatalf("%s", e.Bytes())
			}
		})
	}
	t.Run("not offered", func(t *testing.T) {
		o, _ := options()
		o.Registrar = nil
		c := dial(t, t.Context(), o)
		if f := c.startTLS(0); f.Child(stanza.NSIQReg, "register") != nil {
			t.Fatalf("%s", f.Bytes())
		}
		c.send(registerSet("1", "nurse", "x"))
		c.wantStreamError(stanza.StreamNotAuthorized)
	})
	t.Run("not in the clear", func(t *testing.T) {
		o, _ := options()
		c := dial(t, t.Context(), o)
		c.open()
		c.send(registerSet("1", "nurse", "x"))
		c.wantStreamError(stanza.StreamNotAuthorized)
	})
}
