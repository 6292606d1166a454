package stream

import (
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stanza"
)

// UserAgent is what a client says of itself when it authenticates (XEP-0388,
// section 2.3). It is for the server and the account's owner: nobody else may
// hear of it, and the id not even in part.
type UserAgent struct {
	ID       uuid.UUID // of this installation; zero if it tells none
	Software string
	Device   string
}

// authenticate is what an <authenticate/> asks for.
type authenticate struct {
	mechanism string
	initial   *string // base64 as it was sent; nil: none
	agent     UserAgent
	bind      *Bind2Request
	resume    *ResumeRequest
	badResume bool   // there is a <resume/>, which says nothing
	fast      *fast  // nil: no token is used
	token     string // mechanism of the token that is asked for; empty: none
}

// fast is <fast/> of XEP-0484. Its count would tell replays in early data of
// TLS apart, which is not taken here: it is nothing to us.
type fast struct{ invalidate bool }

// parseAuthenticate reads an <authenticate/>. Elements that it does not know
// are features that are not offered: they mean nothing.
func parseAuthenticate(st *stanza.Stanza) (a authenticate, err error) {
	a.mechanism = st.Attr("mechanism")
	seen := make(map[string]bool)
	for c := range stanza.Children(st.Inner) {
		e, err := c.Element()
		if err != nil {
			return a, malformedRequest
		}
		name := e.Space + " " + e.Local
		switch name {
		case stanza.NSSASL2 + " initial-response":
			a.initial = &e.Text
		case stanza.NSSASL2 + " user-agent":
			a.agent, err = parseUserAgent(e)
		case stanza.NSBind2 + " bind":
			a.bind = parseBind2(e)
		case stanza.NSSM + " resume":
			resume, bad := resumeRequest(e.Attr("previd"), e.Attr("h"))
			a.resume, a.badResume = resume, bad != ""
		case stanza.NSFAST + " fast":
			a.fast, err = parseFast(e)
		case stanza.NSFAST + " request-token":
			a.token = e.Attr("mechanism")
		default:
			continue
		}
		if err != nil || seen[name] {
			return a, malformedRequest
		}
		seen[name] = true
	}
	return a, nil
}

func parseUserAgent(e *stanza.Element) (u UserAgent, err error) {
	u.Software = e.ChildText(stanza.NSSASL2, "software")
	u.Device = e.ChildText(stanza.NSSASL2, "device")
	if id := e.Attr("id"); id != "" {
		if u.ID, err = uuid.Parse(id); err != nil || len(id) != 36 {
			return u, malformedRequest
		}
	}
	return u, nil
}

func parseBind2(e *stanza.Element) *Bind2Request {
	b := &Bind2Request{
		Tag:      e.ChildText(stanza.NSBind2, "tag"),
		Carbons:  e.Child(stanza.NSCarbons, "enable") != nil,
		Inactive: e.Child(stanza.NSCSI, "inactive") != nil,
	}
	if sm := e.Child(stanza.NSSM, "enable"); sm != nil {
		b.SM = &EnableSM{Resume: isTrue(sm.Attr("resume"))}
		if most, err := strconv.ParseUint(sm.Attr("max"), 10, 31); err == nil {
			b.SM.Max = int(most)
		}
	}
	return b
}

func parseFast(e *stanza.Element) (*fast, error) {
	if count := e.Attr("count"); count != "" {
		if _, err := strconv.ParseUint(count, 10, 31); err != nil {
			return nil, malformedRequest
		}
	}
	switch invalidate := e.Attr("invalidate"); invalidate {
	case "", "0", "false", "1", "true":
		return &fast{isTrue(invalidate)}, nil
	}
	return nil, malformedRequest
}

// isTrue reads a boolean of XML Schema.
func isTrue(s string) bool { return s == "true" || s == "1" }
