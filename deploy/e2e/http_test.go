package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// A service speaks HTTP with a key.
type service struct{ base, key string }

// newService makes a key by the command line.
func newService(t testing.TB, s *stack, scopes ...string) *service {
	t.Helper()
	said, err := s.rollcall(t, append([]string{"apikey", "add", "--name", t.Name()}, scopes...)...)
	if err != nil || !strings.HasPrefix(said, "rk_") {
		t.Fatalf("rollcall apikey add: %v: %s", err, said)
	}
	r := s.run(t)
	return &service{"http://" + r.part("http-1").Listen["http"], strings.TrimSpace(said)}
}

// do sends a request, again and again while the door is being started anew, and
// gives the status and what the answer says.
func (s *service) do(t testing.TB, method, path, body string, header ...string) (status int, answer map[string]any) {
	t.Helper()
	eventually(t, method+" "+path+" is answered", time.Minute, func() error {
		r, err := http.NewRequestWithContext(t.Context(), method, s.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.key)
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err == nil {
			err = json.Unmarshal(text, &answer)
		}
		status = response.StatusCode
		return err
	})
	return status, answer
}

// TestHTTP has a service send messages and broadcasts to clients by the HTTP
// door, which is killed midway: each client hears each broadcast once.
func TestHTTP(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaEmbedded)
	s.env = []string{"ROLLCALL_BROADCAST_BATCH=2"} // so that there is a midway
	s.start(t)
	run := s.run(t)
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("guest%02d", i))
	}
	// Accounts that are not there hear nothing.
	at := func(i int) login {
		return login{address: run.part(fmt.Sprintf("edge-%d", i%2+1)).Listen["starttls"], domain: run.Domain, resource: "hall"}
	}
	if err := register(at(0), append(names, "absent")); err != nil {
		t.Fatal(err)
	}
	clients := make([]*session, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			l := at(i)
			l.user = name
			c, err := connect(l, nil)
			if err != nil {
				t.Error(err)
				return
			}
			clients[i] = c
			if err := c.send("<presence/>"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	db, err := pgx.Connect(t.Context(), run.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(t.Context())
	eventually(t, "all are online", 20*time.Second, func() error {
		var n int
		err := db.QueryRow(t.Context(), `SELECT count(*) FROM views.resource WHERE available`).Scan(&n)
		if err == nil && n != len(names) {
			err = fmt.Errorf("%d are", n)
		}
		return err
	})

	service := newService(t, s, "messages:send", "broadcast:send")
	body := func(text string) func(*stanza.Stanza) bool {
		return func(st *stanza.Stanza) bool { return st.Kind == stanza.Message && st.Message().Body == text }
	}
	status, answer := service.do(t, "POST", "/v1/messages", `{"to":"`+names[0]+`@localhost","type":"chat","body":"by HTTP","from":"localhost/desk"}`)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, answer)
	}
	st := clients[0].expect(t, "the message", body("by HTTP"))
	result := answer["results"].([]any)[0].(map[string]any)
	id := ""
	for c := range stanza.Children(st.Inner) {
		if c.Is(stanza.NSStanzaID, "stanza-id") {
			id = c.Attr("id")
		}
	}
	if st.From != "localhost/desk" || st.Type != "chat" || id == "" || id != result["id"] {
		t.Errorf("from %s, type %s, stanza id %s: %v", st.From, st.Type, id, result)
	}

	midway := 0
	for i := 0; midway < 2; i++ {
		if i == 20 {
			t.Fatalf("of %d broadcasts %d were interrupted midway", i, midway)
		}
		text := fmt.Sprintf("broadcast %d", i)
		status, answer := service.do(t, "POST", "/v1/broadcast", `{"audience":"online","body":"`+text+`"}`, "Idempotency-Key", text)
		if status != http.StatusAccepted || answer["total"] != float64(len(names)) {
			t.Fatalf("%d %v", status, answer)
		}
		path := "/v1/broadcast/" + answer["id"].(string)
		if interrupt(t, s, db, answer["id"].(string)) {
			midway++
		}
		eventually(t, "the broadcast has ended", time.Minute, func() error {
			status, answer = service.do(t, "GET", path, "")
			if status != http.StatusOK || answer["state"] != "done" {
				return fmt.Errorf("%d %v", status, answer)
			}
			return nil
		})
		if answer["sent"] != float64(len(names)) || answer["total"] != float64(len(names)) {
			t.Errorf("%v", answer)
		}
		again, answer := service.do(t, "POST", "/v1/broadcast", `{"audience":"online","body":"`+text+`"}`, "Idempotency-Key", text)
		if again != http.StatusAccepted || "/v1/broadcast/"+answer["id"].(string) != path {
			t.Errorf("asked again: %d %v", again, answer)
		}
		// What comes last in each history comes last to each client.
		service.toAll(t, names, "end of "+text)
		for _, c := range clients {
			c.expect(t, "the end of "+text, body("end of "+text))
			if n := c.count(body(text)); n != 1 {
				t.Errorf("%s has heard %q %d times", c.full, text, n)
			}
		}
	}
	listed, err := s.rollcall(t, "apikey", "list")
	if err != nil || !strings.Contains(listed, "live") || strings.Contains(listed, strings.SplitN(service.key, "_", 3)[2]) {
		t.Errorf("rollcall apikey list: %v: %s", err, listed)
	}
	if said, err := s.rollcall(t, "apikey", "revoke", strings.Split(service.key, "_")[1]); err != nil {
		t.Fatalf("rollcall apikey revoke: %v: %s", err, said)
	}
	eventually(t, "the key is revoked", 10*time.Second, func() error {
		if status, answer := service.do(t, "POST", "/v1/messages", `{"to":"absent@localhost","body":"x"}`); status != http.StatusUnauthorized || answer["code"] != "revoked-key" {
			return fmt.Errorf("%d %v", status, answer)
		}
		return nil
	})
	for _, c := range clients {
		c.cut()
	}
	s.stop(t)
}

// toAll sends a message to all of them.
func (s *service) toAll(t *testing.T, names []string, text string) {
	t.Helper()
	var to []string
	for _, name := range names {
		to = append(to, name+"@localhost")
	}
	request, err := json.Marshal(map[string]any{"to": to, "body": text})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := s.do(t, "POST", "/v1/messages", string(request), "Idempotency-Key", text)
	if status != http.StatusOK || answer["accepted"] != float64(len(names)) {
		t.Fatalf("%d %v", status, answer)
	}
}

// interrupt kills the door while it works on a broadcast, and tells whether that
// was midway.
func interrupt(t *testing.T, s *stack, db *pgx.Conn, id string) bool {
	t.Helper()
	var sent, total int64
	eventually(t, "some have the broadcast", time.Minute, func() error {
		if err := db.QueryRow(t.Context(), `SELECT sent, total FROM run.broadcast WHERE id = $1`, id).Scan(&sent, &total); err != nil {
			t.Fatal(err)
		}
		if sent == 0 {
			return errors.New("nobody has it")
		}
		return nil
	})
	run := s.run(t)
	before := run.part("http-1").Pid
	s.signal(t, "http-1", syscall.SIGKILL)
	var ended bool
	if err := db.QueryRow(t.Context(), `SELECT sent, ended_at IS NOT NULL FROM run.broadcast WHERE id = $1`, id).Scan(&sent, &ended); err != nil {
		t.Fatal(err)
	}
	t.Logf("the door died when %d of %d had the broadcast", sent, total)
	s.awaitAnother(t, "http-1", before)
	return !ended && sent < total
}

// count tells how many of the unread stanzas pass the test.
func (s *session) count(test func(*stanza.Stanza) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.unread {
		if test(st) {
			n++
		}
	}
	return n
}
