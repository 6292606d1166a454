package edgetest

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
)

// Inline is what a client asks for together with its authentication, by SASL2
// (XEP-0388).
type Inline struct {
	Agent  string // UUID of the client's installation
	Token  string // logs in by HT-SHA-256-NONE (XEP-0484), all in one flight; empty: by the password
	Renew  bool   // ask for such a token
	NoBind bool   // leave out the request for a resource (XEP-0386)
	Bind   string // what that request holds, as XML: <tag/>, <enable/>
	More   string // other elements, as XML: <resume/>
	Behind string // what is sent right behind, by token only
}

// DialInline connects and logs in by SASL2. It gives the success and, with a
// resource that it has bound, leaves the client behind its features.
func DialInline(o ClientOptions, in Inline) (*Client, *stanza.Element, error) {
	o = o.withDefaults()
	c, err := o.connect()
	if err != nil {
		return nil, nil, err
	}
	success, err := c.loginInline(o, in)
	if err != nil {
		c.Conn.Close()
		return nil, nil, fmt.Errorf("log in %s: %w", o.User, err)
	}
	return c, success, nil
}

func (c *Client) loginInline(o ClientOptions, in Inline) (*stanza.Element, error) {
	if o.TLS != nil && !o.Web {
		if !o.Direct {
			return nil, fmt.Errorf("inline over direct TLS alone")
		}
		c.Conn = tls.Client(c.Conn, o.TLS)
	}
	c.d = stanza.NewDecoder(c.Conn, stanza.Limits{Bytes: 4 << 20})
	more := in.More
	if in.Agent != "" {
		more += "<user-agent id='" + in.Agent + "'><software>edgetest</software></user-agent>"
	}
	if in.Renew {
		more += "<request-token xmlns='" + stanza.NSFAST + "' mechanism='HT-SHA-256-NONE'/>"
	}
	if !in.NoBind {
		more += "<bind xmlns='" + stanza.NSBind2 + "'>" + in.Bind + "</bind>"
	}
	var success *stanza.Element
	var err error
	if in.Token != "" {
		success, err = c.byToken(o.User, in.Token, more, in.Behind)
	} else {
		success, err = c.byPassword(o.User, o.Password, more)
	}
	if err != nil {
		return nil, err
	}
	if success.Child(stanza.NSBind2, "bound") != nil || success.Child(stanza.NSSM, "resumed") != nil {
		c.Full = success.ChildText(stanza.NSSASL2, "authorization-identifier")
	}
	if success.Child(stanza.NSSM, "resumed") == nil {
		if st, err := c.Next(); err != nil || st.Local != "features" {
			return nil, fmt.Errorf("no features after success: %v %w", st, err)
		}
	}
	return success, nil
}

func (c *Client) header() string {
	return "<stream:stream to='" + c.domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
}

// byToken sends everything before it reads anything.
func (c *Client) byToken(user, token, more, behind string) (*stanza.Element, error) {
	m := hmac.New(sha256.New, []byte(token))
	m.Write([]byte("Initiator"))
	proof := base64.StdEncoding.EncodeToString(m.Sum([]byte(user + "\x00")))
	if err := c.Send(c.header() + "<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='HT-SHA-256-NONE'><initial-response>" + proof +
		"</initial-response>" + more + "<fast xmlns='" + stanza.NSFAST + "'/></authenticate>" + behind); err != nil {
		return nil, err
	}
	if _, err := c.d.Open(); err != nil {
		return nil, err
	}
	if _, err := c.Next(); err != nil {
		return nil, err
	}
	return c.success()
}

// success reads what must be one.
func (c *Client) success() (*stanza.Element, error) {
	st, err := c.Next()
	if err != nil {
		return nil, err
	}
	e, err := st.Element()
	if err == nil && !e.Is(stanza.NSSASL2, "success") {
		err = fmt.Errorf("not authenticated: %s", e.Bytes())
	}
	return e, err
}

func (c *Client) byPassword(user, password, more string) (*stanza.Element, error) {
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	conv := client.WithMinIterations(1).NewConversation()
	said, err := conv.Step("")
	if err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	if err := c.Send("<authenticate xmlns='" + stanza.NSSASL2 + "' mechanism='SCRAM-SHA-256'><initial-response>" +
		base64.StdEncoding.EncodeToString([]byte(said)) + "</initial-response>" + more + "</authenticate>"); err != nil {
		return nil, err
	}
	st, err := c.Next()
	if err != nil || st.Local != "challenge" {
		return nil, fmt.Errorf("no challenge: %v %w", st, err)
	}
	challenge, err := base64.StdEncoding.DecodeString(st.Text())
	if err != nil {
		return nil, err
	}
	if said, err = conv.Step(string(challenge)); err != nil {
		return nil, err
	}
	if err := c.Send("<response xmlns='" + stanza.NSSASL2 + "'>" + base64.StdEncoding.EncodeToString([]byte(said)) + "</response>"); err != nil {
		return nil, err
	}
	success, err := c.success()
	if err != nil {
		return nil, err
	}
	final, err := base64.StdEncoding.DecodeString(success.ChildText(stanza.NSSASL2, "additional-data"))
	if err == nil {
		_, err = conv.Step(string(final))
	}
	return success, err
}
