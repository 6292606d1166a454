package edge

import (
	"testing"

	"github.com/rollcall/rollcall/edge/stanza"
)

// parsed reads the inside of a disco#info query.
func parsed(t *testing.T, inside string) *stanza.Element {
	t.Helper()
	inner, err := stanza.Canonical([]byte("<query xmlns='http://jabber.org/protocol/disco#info'>"+inside+"</query>"), stanza.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	query, _ := stanza.Find(inner, stanza.NSDiscoInfo, "query")
	e, err := query.Element()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	exodus = "<feature var='http://jabber.org/protocol/muc'/><identity category='client' name='Exodus 0.9.1' type='pc'/>" +
		"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>"
	psi = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/><identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>" +
		"<feature var='http://jabber.org/protocol/caps'/><feature var='http://jabber.org/protocol/disco#info'/>" +
		"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>"
	software = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>" +
		"<field var='os'><value>Mac</value></field><field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>" +
		"<field var='os_version'><value>10.5.1</value></field><field var='software'><value>Psi</value></field><field var='software_version'><value>0.11</value></field></x>"
)

func TestVerificationString(t *testing.T) {
	for _, test := range []struct{ name, inside, hash, want string }{
		{"XEP-0115 5.2", exodus, "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"XEP-0115 5.3", psi + software, "sha-1", "q07IKJEyjvHSyhy//CH0CxmKi8w="},
		{"5.4 a form without a hidden type is ignored", exodus + "<x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>x</value></field></x>", "sha-1", "QgayPKawpkPSDYmwT/WM94uAlu0="},
		{"5.4 an identity twice", exodus + "<identity category='client' name='Exodus 0.9.1' type='pc'/>", "sha-1", ""},
		{"5.4 a feature twice", exodus + "<feature var='http://jabber.org/protocol/muc'/>", "sha-1", ""},
		{"5.4 a form twice", psi + software + software, "sha-1", ""},
		{"a feature that reads like two", "<identity category='client' type='pc' name='Exodus 0.9.1'/><feature var='http://jabber.org/protocol/caps&lt;http://jabber.org/protocol/disco#info'/>" +
			"<feature var='http://jabber.org/protocol/disco#items'/><feature var='http://jabber.org/protocol/muc'/>", "sha-1", ""},
		{"an empty client by sha-256", "", "sha-256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
		{"an empty client by sha3-256", "", "sha3-256", "p//G+L8e12ZRwUdWoGHWYvWA/03kO0n6gtgKS4D4Q0o="},
	} {
		got, err := capsVer(parsed(t, test.inside), capsHashes[test.hash])
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
	}
}

func TestWantedNodes(t *testing.T) {
	got := wantedBy([]string{"b+notify", "a", "a+notify", "b+notify", "+notify"})
	if len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("got %q", got)
	}
}
