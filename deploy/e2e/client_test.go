package e2e

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"github.com/rollcall/rollcall/edge/stanza"
)

const password = "r0m30-forever"

// A login says where and how a client comes in.
type login struct {
	address   string
	domain    string
	tls       *tls.Config // nil: in the clear
	direct    bool        // TLS at once, not by STARTTLS
	mechanism string      // SCRAM-SHA-256 if empty
	user      string
	resource  string
}

// A session is one stream of a client. It keeps all that it hears.
type session struct {
	full   string
	conn   net.Conn
	reader *stanza.Decoder
	hear   func(*session, *stanza.Stanza) // called by the reading goroutine

	writing sync.Mutex

	mu      sync.Mutex
	serial  int
	answers map[string]chan *stanza.Stanza // of iqs under way
	view    map[string]string              // full JID -> what it shows; only who is available
	trail   []sighting                     // every presence of a full JID, in order
	unread  []*stanza.Stanza               // what nobody has looked at
	refused map[string]bool                // ids of stanzas that came back as errors
	closing bool                           // we closed the stream

	fault error         // a stream error other than system-shutdown; of the reading goroutine
	ended chan struct{} // closed when the stream is over
	err   error         // then: nil if it was closed with a closing tag
}

// A sighting is a presence as somebody saw it.
type sighting struct {
	from  string // full JID
	shows string // gone if unavailable
	at    time.Time
}

const gone = "gone"

func shows(show, status string, priority int8) string {
	return fmt.Sprintf("%s/%s/%d", show, status, priority)
}

const loginTime = 20 * time.Second

// connect opens a stream and negotiates up to the resource.
func connect(l login, hear func(*session, *stanza.Stanza)) (*session, error) {
	s, err := open(l)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.user, err)
	}
	if err := s.authenticate(l); err != nil {
		s.conn.Close()
		return nil, fmt.Errorf("log in %s: %w", l.user, err)
	}
	s.hear = hear
	s.conn.SetDeadline(time.Time{})
	go s.read()
	return s, nil
}

// open connects, up to where a client logs in or registers.
func open(l login) (*session, error) {
	conn, err := net.DialTimeout("tcp", l.address, loginTime)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(loginTime))
	s := &session{
		conn: conn, answers: make(map[string]chan *stanza.Stanza), view: make(map[string]string),
		refused: make(map[string]bool), ended: make(chan struct{}),
	}
	if err := s.secure(l); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *session) secure(l login) error {
	if l.tls != nil && l.direct {
		s.conn = tls.Client(s.conn, l.tls)
	}
	s.reader = stanza.NewDecoder(s.conn, stanza.Limits{Bytes: 4 << 20})
	if err := s.header(l); err != nil {
		return err
	}
	if l.tls == nil || l.direct {
		return nil
	}
	st, err := s.exchange("<starttls xmlns='" + stanza.NSTLS + "'/>")
	if err != nil || st.Local != "proceed" {
		return fmt.Errorf("STARTTLS: %+v %w", st, err)
	}
	s.conn = tls.Client(s.conn, l.tls)
	s.reader = stanza.NewDecoder(s.conn, stanza.Limits{Bytes: 4 << 20})
	return s.header(l)
}

// header opens the stream and reads the features.
func (s *session) header(l login) error {
	if err := s.send("<stream:stream to='" + l.domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"); err != nil {
		return err
	}
	if _, err := s.reader.Open(); err != nil {
		return err
	}
	st, err := s.reader.Next()
	if err == nil && st.Local != "features" {
		err = fmt.Errorf("%s %s instead of features", st.Local, st.Inner)
	}
	return err
}

// exchange sends and reads the next element, before the session is read by
// its goroutine.
func (s *session) exchange(xml string) (*stanza.Stanza, error) {
	if err := s.send(xml); err != nil {
		return nil, err
	}
	return s.reader.Next()
}

func (s *session) authenticate(l login) error {
	hash := map[string]scram.HashGeneratorFcn{"": scram.SHA256, "SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-1": scram.SHA1}[l.mechanism]
	mechanism := l.mechanism
	if mechanism == "" {
		mechanism = "SCRAM-SHA-256"
	}
	client, err := hash.NewClient(l.user, password, "")
	if err != nil {
		return err
	}
	talk := client.NewConversation()
	said, err := talk.Step("")
	if err != nil {
		return err
	}
	element := "<auth xmlns='" + stanza.NSSASL + "' mechanism='" + mechanism + "'>%s</auth>"
	for {
		st, err := s.exchange(fmt.Sprintf(element, base64.StdEncoding.EncodeToString([]byte(said))))
		if err != nil {
			return err
		}
		heard, err := base64.StdEncoding.DecodeString(st.Text())
		if err != nil {
			return err
		}
		if st.Local != "challenge" && st.Local != "success" {
			return fmt.Errorf("%s %s", st.Local, st.Inner)
		}
		if len(heard) > 0 { // success has none when the proof came in a challenge
			if said, err = talk.Step(string(heard)); err != nil {
				return err
			}
		}
		if st.Local == "success" {
			break
		}
		element = "<response xmlns='" + stanza.NSSASL + "'>%s</response>"
	}
	if !talk.Valid() {
		return errors.New("the server did not prove that it knows the password")
	}
	s.reader.Restart()
	if err := s.header(l); err != nil {
		return err
	}
	st, err := s.exchange("<iq type='set' id='bind'><bind xmlns='" + stanza.NSBind + "'><resource>" + l.resource + "</resource></bind></iq>")
	if err != nil {
		return err
	}
	bind, _ := stanza.Find(st.Inner, stanza.NSBind, "bind")
	e, err := bind.Element()
	if st.Type != "result" || err != nil {
		return fmt.Errorf("not bound: %s %s", st.Local, st.Inner)
	}
	s.full = e.ChildText(stanza.NSBind, "jid")
	return nil
}

// register makes accounts on one stream, before login (XEP-0077).
func register(l login, users []string) error {
	s, err := open(l)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	for _, user := range users {
		s.conn.SetDeadline(time.Now().Add(loginTime))
		st, err := s.exchange("<iq type='set' id='r'><query xmlns='" + stanza.NSRegister + "'><username>" + user + "</username><password>" + password + "</password></query></iq>")
		if err != nil {
			return fmt.Errorf("register %s: %w", user, err)
		}
		if st.Type != "result" {
			return fmt.Errorf("register %s: %s %s", user, st.Local, st.Inner)
		}
	}
	return nil
}

// read hears until the stream ends.
func (s *session) read() {
	for {
		st, err := s.reader.Next()
		if err != nil {
			if s.err = s.fault; s.err == nil && !errors.Is(err, stanza.ErrStreamClosed) {
				s.err = err
			}
			break
		}
		if st.Is(stanza.NSStreams, "error") {
			if _, ok := stanza.Find(st.Inner, stanza.NSStreamErr, "system-shutdown"); !ok {
				s.fault = fmt.Errorf("stream error: %s", st.Inner)
			}
			continue // the closing tag comes next
		}
		s.take(st)
		if s.hear != nil {
			s.hear(s, st)
		}
	}
	s.conn.Close()
	close(s.ended)
}

func (s *session) take(st *stanza.Stanza) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = append(s.unread, st)
	if st.Type == "error" {
		s.refused[st.ID] = true
	}
	switch {
	case st.Kind == stanza.IQ && (st.Type == "result" || st.Type == "error"):
		if c := s.answers[st.ID]; c != nil {
			delete(s.answers, st.ID)
			c <- st
		}
	case st.Kind == stanza.Presence && (st.Type == "" || st.Type == "unavailable") && strings.Contains(st.From, "/"):
		p, err := st.Presence()
		seen := sighting{from: st.From, shows: shows(p.Show, p.Status, p.Priority), at: time.Now()}
		switch {
		case err != nil:
			seen.shows = err.Error()
		case st.Type != "":
			seen.shows = gone
			delete(s.view, st.From)
		default:
			s.view[st.From] = seen.shows
		}
		s.trail = append(s.trail, seen)
	}
}

func (s *session) send(xml string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_, err := s.conn.Write([]byte(xml))
	return err
}

// ask sends an iq and waits for its answer, an error too.
func (s *session) ask(kind, payload string) (*stanza.Stanza, error) {
	answer := make(chan *stanza.Stanza, 1)
	s.mu.Lock()
	s.serial++
	id := fmt.Sprintf("ask-%d", s.serial)
	s.answers[id] = answer
	s.mu.Unlock()
	if err := s.send("<iq type='" + kind + "' id='" + id + "'>" + payload + "</iq>"); err != nil {
		return nil, err
	}
	select {
	case st := <-answer:
		return st, nil
	case <-s.ended:
		return nil, fmt.Errorf("the stream of %s ended: %w", s.full, s.err)
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("%s: no answer within a minute", s.full)
	}
}

// ping gives nil once the server has taken all that was sent before.
func (s *session) ping() error {
	st, err := s.ask("get", "<ping xmlns='"+stanza.NSPing+"'/>")
	if err == nil && st.Type == "error" {
		err = fmt.Errorf("ping: %s", st.Inner)
	}
	return err
}

// wasRefused tells whether a stanza came back as an error.
func (s *session) wasRefused(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[id]
}

// seen gives a copy of the view.
func (s *session) seen() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	view := make(map[string]string, len(s.view))
	for full, text := range s.view {
		view[full] = text
	}
	return view
}

// sightings gives what was seen so far.
func (s *session) sightings() []sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]sighting(nil), s.trail...)
}

// close closes the stream and waits until the server has done so too.
func (s *session) close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if err := s.send("</stream:stream>"); err != nil {
		return err
	}
	select {
	case <-s.ended:
		return s.err
	case <-time.After(loginTime):
		s.conn.Close()
		return errors.New("the server does not close the stream")
	}
}

// cut ends the connection without a word.
func (s *session) cut() {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.conn.Close()
}

// left tells whether it was us who ended the stream.
func (s *session) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// expect waits for the first unread stanza that passes the test, and reads it.
func (s *session) expect(t testing.TB, what string, test func(*stanza.Stanza) bool) *stanza.Stanza {
	t.Helper()
	var found *stanza.Stanza
	eventually(t, s.full+" hears "+what, 20*time.Second, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, st := range s.unread {
			if test(st) {
				found = st
				s.unread = append(s.unread[:i], s.unread[i+1:]...)
				return nil
			}
		}
		heard := make([]string, len(s.unread))
		for i, st := range s.unread {
			heard[i] = fmt.Sprintf("%s %s %s %s", st.Local, st.Type, st.From, st.Inner)
		}
		return fmt.Errorf("none of the unread stanzas is that: %q", heard)
	})
	return found
}

// over tells whether the stream has ended.
func (s *session) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}
