package stream

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/rollcall/rollcall/edge/stanza"
)

// print writes what parseAuthenticate reads.
func (a authenticate) print() string {
	e := stanza.New(stanza.NSSASL2, "authenticate", "mechanism", a.mechanism)
	if a.initial != nil {
		e.AddText("initial-response", *a.initial)
	}
	if a.agent != (UserAgent{}) {
		u := stanza.New(stanza.NSSASL2, "user-agent")
		if a.agent.ID != (uuid.UUID{}) {
			u.Set("id", a.agent.ID.String())
		}
		e.Add(u.AddText("software", a.agent.Software).AddText("device", a.agent.Device))
	}
	if b := a.bind; b != nil {
		bind := stanza.New(stanza.NSBind2, "bind").AddText("tag", b.Tag)
		if b.Carbons {
			bind.Add(stanza.New(stanza.NSCarbons, "enable"))
		}
		if b.SM != nil {
			sm := stanza.New(stanza.NSSM, "enable", "max", strconv.Itoa(b.SM.Max))
			if b.SM.Resume {
				sm.Set("resume", "1")
			}
			bind.Add(sm)
		}
		if b.Inactive {
			bind.Add(stanza.New(stanza.NSCSI, "inactive"))
		}
		e.Add(bind)
	}
	switch {
	case a.resume != nil:
		e.Add(stanza.New(stanza.NSSM, "resume", "previd", a.resume.Previd, "h", strconv.FormatUint(uint64(a.resume.H), 10)))
	case a.badResume:
		e.Add(stanza.New(stanza.NSSM, "resume"))
	}
	if a.fast != nil {
		f := stanza.New(stanza.NSFAST, "fast", "count", "1")
		if a.fast.invalidate {
			f.Set("invalidate", "true")
		}
		e.Add(f)
	}
	if a.token != "" {
		e.Add(stanza.New(stanza.NSFAST, "request-token", "mechanism", a.token))
	}
	return string(e.Bytes())
}

func readAuthenticate(xml string) (a authenticate, err error) {
	d := stanza.NewDecoder(strings.NewReader(clientHeader+xml), stanza.Limits{})
	if _, err := d.Open(); err != nil {
		return a, err
	}
	st, err := d.Next()
	if err != nil {
		return a, err
	}
	return parseAuthenticate(st)
}

// What is asked for is read as it was written.
func TestAuthenticateRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~äß]{0,12}`)
	name := rapid.StringMatching(`[!-~]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		want := authenticate{mechanism: text.Draw(t, "mechanism")}
		if rapid.Bool().Draw(t, "initial") {
			s := text.Draw(t, "initial response")
			want.initial = &s
		}
		if rapid.Bool().Draw(t, "agent") {
			copy(want.agent.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
			want.agent.Software, want.agent.Device = text.Draw(t, "software"), text.Draw(t, "device")
		}
		if rapid.Bool().Draw(t, "bind") {
			b := &Bind2Request{Tag: text.Draw(t, "tag"), Carbons: rapid.Bool().Draw(t, "carbons"), Inactive: rapid.Bool().Draw(t, "inactive")}
			if rapid.Bool().Draw(t, "sm") {
				b.SM = &EnableSM{Resume: rapid.Bool().Draw(t, "resumable"), Max: rapid.IntRange(0, 1<<31-1).Draw(t, "max")}
			}
			want.bind = b
		}
		switch rapid.IntRange(0, 2).Draw(t, "resume") {
		case 1:
			want.resume = &ResumeRequest{Previd: name.Draw(t, "previd"), H: rapid.Uint32().Draw(t, "h")}
		case 2:
			want.badResume = true
		}
		if rapid.Bool().Draw(t, "fast") {
			want.fast = &fast{invalidate: rapid.Bool().Draw(t, "invalidate")}
		}
		if rapid.Bool().Draw(t, "token") {
			want.token = name.Draw(t, "mechanism of the token")
		}
		got, err := readAuthenticate(want.print())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n%+v\n%+v %v", want.print(), want, got, err)
		}
	})
}

// Whatever comes is refused as a stream, refused as a request, or prints and
// parses to the same value.
func FuzzAuthenticate(f *testing.F) {
	for _, seed := range []string{
		ask2("PLAIN", plain, ""), ask2("X", "x", agent+bind2+resume), ask2("HT-SHA-256-NONE", "x", agent+"<fast xmlns='urn:xmpp:fast:0' count='123' invalidate='true'/>"),
		ask2("PLAIN", "x", "<bind xmlns='urn:xmpp:bind:0'><tag>a</tag><enable xmlns='urn:xmpp:carbons:2'/><enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/><inactive xmlns='urn:xmpp:csi:0'/></bind>"),
		ask2("PLAIN", "x", "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>"), ask2("PLAIN", "x", agent+agent),
		ask2("PLAIN", "x", "<x:user-agent xmlns:x='urn:xmpp:sasl:2' id='D4565FA7-4D72-4749-B3D3-740EDBF87770'><x:software><![CDATA[<]]></x:software></x:user-agent>"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, xml string) {
		a, err := readAuthenticate(xml)
		var refused saslFailure
		if errors.As(err, &refused) && refused != malformedRequest {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		again, err := readAuthenticate(a.print())
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%q\n%s\n%+v\n%+v %v", xml, a.print(), a, again, err)
		}
	})
}
