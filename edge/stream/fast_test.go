package stream

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
)

// day counts from the beginning of a period.
const day = 24 * time.Hour

// clock is what the server takes for the time.
type clock struct{ now time.Time }

func fastOptions() (Options, *marks, *clock) {
	o, m := options2()
	o.Direct = true
	c := &clock{time.Unix(0, 0).Add(1400 * 14 * day)}
	o.now = func() time.Time { return c.now }
	return o, m, c
}

// ht makes the client's proof by draft-schmaus-kitten-sasl-ht-09, apart from
// the server's code.
func ht(user, token string, binding []byte) string {
	h := hmac.New(sha256.New, []byte(token))
	h.Write(append([]byte("Initiator"), binding...))
	return user + "\x00" + string(h.Sum(nil))
}

// ask asks for a token of the mechanism by password.
func (c *client) askToken(mechanism string) (token string, expiry time.Time) {
	c.t.Helper()
	return c.token(c.ask(ask2("PLAIN", plain, agent+"<request-token xmlns='urn:xmpp:fast:0' mechanism='"+mechanism+"'/>"), "success"))
}

// token reads the <token/> of a success; "" if there is none.
func (c *client) token(success *stanza.Element) (token string, expiry time.Time) {
	c.t.Helper()
	e := success.Child(stanza.NSFAST, "token")
	if e == nil {
		return "", expiry
	}
	expiry, err := time.Parse(time.RFC3339, e.Attr("expiry"))
	if err != nil || len(e.Attr("token")) != 43 {
		c.t.Fatalf("%s", success.Bytes())
	}
	return e.Attr("token"), expiry
}

// fast logs in by a token of HT-SHA-256-NONE.
func (c *client) fast(token, attrs, more string) *stanza.Element {
	c.t.Helper()
	c.send(ask2("HT-SHA-256-NONE", ht("juliet", token, nil), agent+"<fast xmlns='urn:xmpp:fast:0'"+attrs+"/>"+more))
	st, err := c.d.Next()
	if err != nil {
		c.t.Fatal(err)
	}
	e, err := st.Element()
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

// XEP-0484, sections 3.2 to 3.4, for each mechanism.
func TestFAST(t *testing.T) {
	for _, x := range []struct {
		mechanism string
		version   uint16
		binding   func(*tls.ConnectionState) (scram.ChannelBinding, error)
	}{
		{"HT-SHA-256-NONE", tls.VersionTLS13, nil},
		{"HT-SHA-256-EXPR", tls.VersionTLS13, scram.NewTLSExporterBinding},
		{"HT-SHA-256-ENDP", tls.VersionTLS13, scram.NewTLSServerEndpointBinding},
		{"HT-SHA-256-UNIQ", tls.VersionTLS12, func(s *tls.ConnectionState) (scram.ChannelBinding, error) {
			return scram.NewTLSUniqueBinding(s.TLSUnique), nil
		}},
	} {
		t.Run(x.mechanism, func(t *testing.T) {
			o, _, now := fastOptions()
			connect := func() (*client, []byte) {
				c := dial(t, t.Context(), o)
				c.handshake(x.version)
				c.open()
				if x.binding == nil {
					return c, nil
				}
				cb, err := x.binding(c.state)
				if err != nil {
					t.Fatal(err)
				}
				return c, cb.Data
			}
			c, _ := connect()
			token, expiry := c.askToken(x.mechanism)
			if token == "" || !expiry.Equal(now.now.Add(28*day)) {
				t.Fatal(token, expiry)
			}
			use := func(mechanism string, proof string) *stanza.Element {
				c.send(ask2(mechanism, proof, agent+"<fast xmlns='urn:xmpp:fast:0' count='123'/>"))
				st, err := c.d.Next()
				if err != nil {
					t.Fatal(err)
				}
				e, _ := st.Element()
				return e
			}
			c, data := connect()
			e := use(x.mechanism, ht("juliet", token, data))
			h := hmac.New(sha256.New, []byte(token))
			h.Write(append([]byte("Responder"), data...))
			if e.Local != "success" || e.ChildText(stanza.NSSASL2, "additional-data") != base64.StdEncoding.EncodeToString(h.Sum(nil)) ||
				e.ChildText(stanza.NSSASL2, "authorization-identifier") != "juliet@example.org" || e.Child(stanza.NSFAST, "token") != nil {
				t.Fatalf("%s", e.Bytes())
			}
			if x.binding == nil {
				return
			}
			// A token is bound to its mechanism, and its proof to the connection.
			c, data = connect()
			other := append([]byte(nil), data...)
			other[0] ^= 1
			for _, got := range []*stanza.Element{
				use("HT-SHA-256-NONE", ht("juliet", token, nil)), use("HT-SHA-256-NONE", ht("juliet", token, data)),
				use(x.mechanism, ht("juliet", token, nil)), use(x.mechanism, ht("juliet", token, other)),
			} {
				if condition(got) != "not-authorized" {
					t.Fatalf("%s", got.Bytes())
				}
			}
		})
	}
}

// XEP-0484, section 3.5: a token is replaced in its second period, both count
// until the new one is used, and the old one is over then.
func TestFASTRotation(t *testing.T) {
	o, m, now := fastOptions()
	start := now.now
	login := func(token string) *stanza.Element {
		t.Helper()
		c, _ := secure(t, o)
		return c.fast(token, "", "")
	}
	c, _ := secure(t, o)
	first, _ := c.askToken("HT-SHA-256-NONE")
	now.now = start.Add(14*day - time.Second)
	if e := login(first); e.Local != "success" || e.Child(stanza.NSFAST, "token") != nil {
		t.Fatalf("%s", e.Bytes())
	}
	if e := login(first); e.Local != "success" || m.sets != 1 {
		t.Fatalf("%s, %d writes", e.Bytes(), m.sets)
	}
	now.now = start.Add(14 * day)
	second, expiry := c.token(login(first))
	if second == "" || second == first || !expiry.Equal(start.Add(42*day)) {
		t.Fatal(second, expiry)
	}
	if again, _ := c.token(login(first)); again != second {
		t.Fatal("the new token was lost, and another one came")
	}
	if e := login(second); e.Local != "success" || e.Child(stanza.NSFAST, "token") != nil || m.sets != 2 {
		t.Fatalf("%s, %d writes", e.Bytes(), m.sets)
	}
	if got := condition(login(first)); got != "credentials-expired" {
		t.Fatal(got)
	}
	now.now = start.Add(42*day - time.Second)
	if e := login(second); e.Local != "success" {
		t.Fatalf("%s", e.Bytes())
	}
	now.now = start.Add(42 * day)
	if got := condition(login(second)); got != "credentials-expired" {
		t.Fatal(got)
	}
	now.now = start.Add(84 * day)
	if got := condition(login(second)); got != "not-authorized" {
		t.Fatal(got)
	}
	// An edge whose clock is behind takes what one that is ahead has made, and
	// makes none that is over already.
	now.now = start.Add(70 * day)
	ahead, _ := c.askTokenAt(o, "HT-SHA-256-NONE")
	now.now = start.Add(70*day - time.Second)
	if e := login(ahead); e.Local != "success" || e.Child(stanza.NSFAST, "token") != nil {
		t.Fatalf("%s", e.Bytes())
	}
	if again, _ := c.askTokenAt(o, "HT-SHA-256-NONE"); again != ahead {
		t.Fatal("a token that is over was given")
	}
}

// askTokenAt asks over a connection of its own.
func (c *client) askTokenAt(o Options, mechanism string) (string, time.Time) {
	c.t.Helper()
	other, _ := secure(c.t, o)
	return other.askToken(mechanism)
}

// XEP-0484, section 3.6.
func TestFASTInvalidate(t *testing.T) {
	for _, attr := range []string{" invalidate='true'", " invalidate='1'"} {
		o, _, now := fastOptions()
		c, _ := secure(t, o)
		first, _ := c.askToken("HT-SHA-256-NONE")
		now.now = now.now.Add(14 * day)
		c, _ = secure(t, o)
		second, _ := c.token(c.fast(first, "", ""))
		c, _ = secure(t, o)
		if e := c.fast(first, attr, ""); e.Local != "success" || e.Child(stanza.NSFAST, "token") != nil {
			t.Fatalf("%s", e.Bytes())
		}
		c, _ = secure(t, o)
		for _, token := range []string{first, second} {
			if got := condition(c.fast(token, "", "")); got != "not-authorized" {
				t.Fatal(got)
			}
		}
		third, _ := c.askToken("HT-SHA-256-NONE")
		c, _ = secure(t, o)
		fourth, _ := c.token(c.fast(third, attr, "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"))
		if third == second || fourth == "" || fourth == third {
			t.Fatal(third, fourth)
		}
		c, _ = secure(t, o)
		if e := c.fast(fourth, " invalidate='false'", ""); e.Local != "success" {
			t.Fatalf("%s", e.Bytes())
		}
	}
}

// What a token must not do.
func TestFASTRefused(t *testing.T) {
	o, m, _ := fastOptions()
	m.keys["romeo"] = m.keys["juliet"]
	c, _ := secure(t, o)
	token, _ := c.askToken("HT-SHA-256-NONE")
	const use = "<fast xmlns='urn:xmpp:fast:0'/>"
	proof := ht("juliet", token, nil)
	raw := func(text string) string {
		return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><initial-response>" + text + "</initial-response>" + agent + use + "</authenticate>"
	}
	for _, x := range []struct{ name, in, want string }{
		{"unknown mechanism", ask2("HT-SHA-512-NONE", proof, agent+use), "invalid-mechanism"},
		{"binding that the connection has not", ask2("HT-SHA-256-UNIQ", proof, agent+use), "invalid-mechanism"},
		{"password with fast", ask2("PLAIN", plain, agent+use), "invalid-mechanism"},
		{"bad token", ask2("HT-SHA-256-NONE", ht("juliet", "x"+token[1:], nil), agent+use), "not-authorized"},
		{"another account's token", ask2("HT-SHA-256-NONE", ht("romeo", token, nil), agent+use), "not-authorized"},
		{"account that does not exist", ask2("HT-SHA-256-NONE", ht("nurse", token, nil), agent+use), "not-authorized"},
		{"account that cannot exist", ask2("HT-SHA-256-NONE", ht("a@b", token, nil), agent+use), "not-authorized"},
		{"wrong user agent", ask2("HT-SHA-256-NONE", proof, strings.Replace(agent, "d4565fa7", "d4565fa8", 1)+use), "not-authorized"},
		{"no user agent", ask2("HT-SHA-256-NONE", proof, use), "malformed-request"},
		{"user agent without an id", ask2("HT-SHA-256-NONE", proof, "<user-agent/>"+use), "malformed-request"},
		{"no proof", ask2("HT-SHA-256-NONE", "", agent+use), "malformed-request"},
		{"short proof", ask2("HT-SHA-256-NONE", proof[:len(proof)-1], agent+use), "malformed-request"},
		{"no username", ask2("HT-SHA-256-NONE", proof[6:], agent+use), "malformed-request"},
		{"username not UTF-8", ask2("HT-SHA-256-NONE", "\xff"+proof, agent+use), "malformed-request"},
		{"not base64", raw("*"), "incorrect-encoding"},
		{"count that is none", ask2("HT-SHA-256-NONE", proof, agent+"<fast xmlns='urn:xmpp:fast:0' count='-1'/>"), "malformed-request"},
		{"invalidate that is none", ask2("HT-SHA-256-NONE", proof, agent+"<fast xmlns='urn:xmpp:fast:0' invalidate='x'/>"), "malformed-request"},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, _ := secure(t, o)
			if got := condition(c.ask(x.in, "failure")); got != x.want {
				t.Fatal(got)
			}
			if e := c.fast(token, "", ""); e.Local != "success" {
				t.Fatalf("%s", e.Bytes())
			}
		})
	}
	t.Run("new password", func(t *testing.T) {
		k, err := DeriveKeys("capulet")
		if err != nil {
			t.Fatal(err)
		}
		m.accounts.mu.Lock()
		m.keys["juliet"] = k
		m.accounts.mu.Unlock()
		c, _ := secure(t, o)
		if got := condition(c.fast(token, "", "")); got != "not-authorized" {
			t.Fatal(got)
		}
	})
	t.Run("another cluster", func(t *testing.T) {
		c, _ := secure(t, o)
		token, _ := c.askToken("HT-SHA-256-NONE")
		o := o
		o.Secret = []byte("fedcba9876543210")
		c, _ = secure(t, o)
		if got := condition(c.fast(token, "", "")); got != "not-authorized" {
			t.Fatal(got)
		}
	})
	t.Run("marks cannot be set", func(t *testing.T) {
		o, m, _ := fastOptions()
		c, _ := secure(t, o)
		token, _ := c.askToken("HT-SHA-256-NONE")
		m.err = errors.New("away")
		c, _ = secure(t, o)
		if got := condition(c.fast(token, "", "")); got != "temporary-auth-failure" {
			t.Fatal(got)
		}
	})
}

// Nobody gets a token who has not asked for one that it can use.
func TestFASTNoToken(t *testing.T) {
	o, m, _ := fastOptions()
	for name, more := range map[string]string{
		"not asked for": agent, "without an id": "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>",
		"of a mechanism that is not offered": agent + "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-UNIQ'/>",
	} {
		c, _ := secure(t, o)
		if e := c.ask(ask2("PLAIN", plain, more), "success"); e.Child(stanza.NSFAST, "token") != nil {
			t.Errorf("%s: %s", name, e.Bytes())
		}
	}
	c, _ := secure(t, o)
	if e := c.ask(ask2("PLAIN", "\x00juliet\x00montague", agent+"<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>"), "failure"); strings.Contains(string(e.Bytes()), "token") {
		t.Fatalf("%s", e.Bytes())
	}
	if m.sets != 0 {
		t.Fatal(m.sets)
	}
}
