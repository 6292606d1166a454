//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/xdg-go/scram"
)

// password is that of every account that prepare makes.
const password = "load"

// loginIn is how long one login or registration may take.
const loginIn = 2 * time.Minute

// A talk is a connection while one goroutine leads it through a login: it
// sends, and reads up to what it waits for.
type talk struct {
	conn   net.Conn
	domain string
	got    []byte // read and not yet taken
}

// dial connects to address from the loopback address 127.0.1.n, so that one
// pair of addresses need not hold every port; n counts from 1.
func dial(address, domain string, n int, secure bool) (*talk, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(n))}, Timeout: loginIn, KeepAlive: -1}
	conn, err := dialer.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(loginIn)); err != nil {
		return nil, err
	}
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"xmpp-client"}})
	}
	return &talk{conn: conn, domain: domain}, nil
}

func (t *talk) send(text string) error {
	_, err := t.conn.Write([]byte(text))
	return err
}

// until reads up to one of the marks and gives what was read before and with it.
func (t *talk) until(marks ...string) (string, error) {
	for {
		for _, m := range marks {
			if i := bytes.Index(t.got, []byte(m)); i >= 0 {
				end := i + len(m)
				said := string(t.got[:end])
				t.got = append([]byte(nil), t.got[end:]...)
				return said, nil
			}
		}
		if len(t.got) > maxTag {
			return "", fmt.Errorf("no %s in %d bytes", strings.Join(marks, " or "), len(t.got))
		}
		var buf [2048]byte
		n, err := t.conn.Read(buf[:])
		t.got = append(t.got, buf[:n]...)
		if err != nil {
			return "", fmt.Errorf("wait for %s after %q: %w", strings.Join(marks, " or "), t.got, err)
		}
	}
}

// open opens a stream and reads the features.
func (t *talk) open() error {
	if err := t.send("<stream:stream to='" + t.domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return err
	}
	_, err := t.until("</stream:features>")
	return err
}

// register makes an account (XEP-0077); one that exists already is welcome.
func (t *talk) register(user string) error {
	if err := t.send("<iq type='set' id='reg'><query xmlns='jabber:iq:register'><username>" + user + "</username><password>" + password + "</password></query></iq>"); err != nil {
		return err
	}
	said, err := t.until("/>", "</iq>")
	switch {
	case err != nil:
		return fmt.Errorf("register %s: %w", user, err)
	case strings.Contains(said, "'error'") && strings.Contains(said, "<conflict"):
		_, err = t.until("</iq>")
		return err
	case !strings.Contains(said, "'result'"):
		return fmt.Errorf("register %s: %s", user, said)
	}
	return nil
}

// keyring keeps the SCRAM clients of accounts: each derives its key once, at
// its first login, so that later logins measure the server.
type keyring struct {
	mu      sync.Mutex
	clients map[string]*scram.Client
}

func (k *keyring) client(user string) (*scram.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.clients[user]; c != nil {
		return c, nil
	}
	c, err := scram.SHA1.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	if k.clients == nil {
		k.clients = make(map[string]*scram.Client)
	}
	k.clients[user] = c
	return c, nil
}

const nsSASL = "urn:ietf:params:xml:ns:xmpp-sasl"

// login authenticates with SCRAM-SHA-1 and binds the resource.
func (t *talk) login(keys *keyring, user, resource string) error {
	if err := t.open(); err != nil {
		return err
	}
	if err := t.authenticate(keys, user); err != nil {
		return fmt.Errorf("authenticate %s: %w", user, err)
	}
	if err := t.open(); err != nil {
		return err
	}
	if err := t.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>"); err != nil {
		return err
	}
	said, err := t.until("</iq>")
	if err == nil && !strings.Contains(said, "</jid>") {
		err = fmt.Errorf("bind %s/%s: %s", user, resource, said)
	}
	return err
}

func (t *talk) authenticate(keys *keyring, user string) error {
	client, err := keys.client(user)
	if err != nil {
		return err
	}
	conversation := client.NewConversation()
	first, err := conversation.Step("")
	if err != nil {
		return err
	}
	encode := base64.StdEncoding.EncodeToString
	if err := t.send("<auth xmlns='" + nsSASL + "' mechanism='SCRAM-SHA-1'>" + encode([]byte(first)) + "</auth>"); err != nil {
		return err
	}
	challenge, err := t.data("</challenge>")
	if err != nil {
		return err
	}
	final, err := conversation.Step(challenge)
	if err != nil {
		return err
	}
	if err := t.send("<response xmlns='" + nsSASL + "'>" + encode([]byte(final)) + "</response>"); err != nil {
		return err
	}
	outcome, err := t.data("</success>")
	if err != nil {
		return err
	}
	_, err = conversation.Step(outcome)
	return err
}

// data reads an element that ends with end and gives what its base64 says.
func (t *talk) data(end string) (string, error) {
	said, err := t.until(end, "</failure>", "</stream:stream>")
	if err != nil {
		return "", err
	}
	text, found := strings.CutSuffix(said, end)
	if !found {
		return "", fmt.Errorf("the server said %s", said)
	}
	raw, err := base64.StdEncoding.DecodeString(text[strings.LastIndexByte(text, '>')+1:])
	return string(raw), err
}
