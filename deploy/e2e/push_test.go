package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/stanza"
)

// withComponents lets components connect to a stack that is not started yet.
func (s *stack) withComponents(t *testing.T, lines ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "components")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.flags = append(s.flags, "--components-file", path)
}

// appServer is a component that takes what it is told of accounts that are away.
type appServer struct {
	mu    sync.Mutex
	conn  *edgetest.Component
	told  map[string]map[string]string // node -> id of the request -> message-count
	twice int                          // requests that came again
	deaf  bool                         // answers nothing
	heard chan string                  // ids, while it is deaf
}

// attach connects to an edge, as soon as that takes it, and listens.
func (a *appServer) attach(t *testing.T, address string) {
	t.Helper()
	eventually(t, "the component connects to "+address, time.Minute, func() error {
		c, err := edgetest.ConnectComponent(address, "push.localhost", "s3cr3t")
		if err != nil {
			return err
		}
		_ = c.Conn.SetDeadline(time.Time{})
		a.mu.Lock()
		a.conn = c
		a.mu.Unlock()
		go a.listen(c)
		return nil
	})
}

func (a *appServer) listen(c *edgetest.Component) {
	for {
		st, err := c.Next()
		if err != nil {
			return
		}
		pubsub, _ := stanza.Find(st.Inner, stanza.NSPubSub, "pubsub")
		publish, asked := pubsub.First(stanza.NSPubSub, "publish")
		if st.Kind != stanza.IQ || !asked {
			continue
		}
		count := ""
		if _, rest, ok := strings.Cut(string(st.Inner), "<field var='message-count'><value>"); ok {
			count, _, _ = strings.Cut(rest, "<")
		}
		a.mu.Lock()
		node := publish.Attr("node")
		if a.told[node] == nil {
			a.told[node] = make(map[string]string)
		}
		if _, again := a.told[node][st.ID]; again {
			a.twice++
		}
		a.told[node][st.ID] = count
		deaf := a.deaf
		a.mu.Unlock()
		if deaf {
			a.heard <- st.ID
			continue
		}
		_ = c.Send("<iq type='result' id='" + st.ID + "' from='push.localhost' to='" + st.From + "'/>")
	}
}

// A push service hears of each message for an account that is away, once by the
// id of the request, although its edge, a projector and a worker are killed.
func TestPush(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaEmbedded)
	s.withComponents(t, "push.localhost=s3cr3t", "gate.localhost=another")
	s.env = []string{"ROLLCALL_PUSH_ANSWER=2s"}
	s.start(t)
	run := s.run(t)
	at := func(edge, user string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: "r"}
	}
	const accounts = 10
	names := []string{"romeo"}
	for i := range accounts {
		names = append(names, "away"+strconv.Itoa(i))
	}
	if err := register(at("edge-1", ""), names); err != nil {
		t.Fatal(err)
	}
	for _, name := range names[1:] {
		c, err := connect(at("edge-1", name), nil)
		if err != nil {
			t.Fatal(err)
		}
		st, err := c.ask("set", "<enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='"+name+"'/>")
		if err != nil || st.Type != "result" {
			t.Fatalf("%s: %+v %v", name, st, err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
	}
	romeo, err := connect(at("edge-1", "romeo"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(romeo.cut)

	app := &appServer{told: make(map[string]map[string]string), heard: make(chan string, 100)}
	app.attach(t, run.part("edge-2").Listen["components"])
	rounds := 0
	tell := func() {
		t.Helper()
		rounds++
		for _, name := range names[1:] {
			romeo.must(t, fmt.Sprintf("<message type='chat' to='%s@%s'><body>round %d</body></message>", name, run.Domain, rounds))
		}
		if err := romeo.ping(); err != nil {
			t.Fatal(err)
		}
	}
	settled := func(what string) {
		t.Helper()
		eventually(t, what, time.Minute, func() error {
			app.mu.Lock()
			defer app.mu.Unlock()
			for _, name := range names[1:] {
				counts := make(map[string]int)
				for _, count := range app.told[name] {
					counts[count]++
				}
				for n := 1; n <= rounds; n++ {
					if counts[strconv.Itoa(n)] != 1 {
						return fmt.Errorf("%s was told %v after %d rounds", name, app.told[name], rounds)
					}
				}
				if len(app.told[name]) != rounds {
					return fmt.Errorf("%s was told %v after %d rounds", name, app.told[name], rounds)
				}
			}
			return nil
		})
	}
	db, err := pgx.Connect(t.Context(), run.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	waiting := func() error {
		var n int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM run.push`).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%d", n)
		}
		return nil
	}
	tell()
	settled("the first round is told")
	eventually(t, "nothing waits", time.Minute, waiting)

	// Its edge is killed after it has asked, and before it is answered: the other
	// edge, to which the component connects, asks the same again.
	app.mu.Lock()
	app.deaf = true
	app.mu.Unlock()
	tell()
	for range accounts {
		select {
		case <-app.heard:
		case <-time.After(time.Minute):
			t.Fatal("the service hears nothing")
		}
	}
	app.mu.Lock()
	app.deaf = false
	app.mu.Unlock()
	s.signal(t, "edge-2", syscall.SIGKILL)
	app.attach(t, run.part("edge-1").Listen["components"])
	settled("the second round is told")
	eventually(t, "nothing waits after the edge was killed", time.Minute, waiting)
	app.mu.Lock()
	if app.twice < accounts {
		t.Errorf("%d of %d requests came again under their ids", app.twice, accounts)
	}
	app.mu.Unlock()

	// Projectors and a worker are killed with messages on their way.
	tell()
	s.killParts(t, "projector-1", "projector-2", "worker-1")
	settled("the third round is told")
	eventually(t, "nothing waits after the projectors were killed", time.Minute, waiting)
	s.awaitReady(t)

	t.Run("a component talks to clients of another edge", func(t *testing.T) { componentTalks(t, s, romeo) })
	t.Run("slixmpp as an app server", func(t *testing.T) { slixmppPush(t, s, romeo) })
	said, err := s.rollcall(t, "replay", "verify")
	if err != nil {
		t.Errorf("replay verify: %v\n%s", err, said)
	}
	s.stop(t)
}

// componentTalks has a component at one edge and a client at the other talk
// (XEP-0114), and the worker between them die.
func componentTalks(t *testing.T, s *stack, romeo *session) {
	run := s.run(t)
	c, err := edgetest.ConnectComponent(run.part("edge-2").Listen["components"], "gate.localhost", "another")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Conn.Close() })
	_ = c.Conn.SetDeadline(time.Now().Add(2 * time.Minute))
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for {
			st, err := c.Next()
			if err != nil {
				return
			}
			lines <- edgetest.Text(st)
		}
	}()
	// While no worker serves the domain, or none knows the component yet, the
	// client hears an error, and says it again.
	passes := func(n int) {
		t.Helper()
		eventually(t, "the component hears the client", time.Minute, func() error {
			id := fmt.Sprintf("talk-%d-%d", n, time.Now().UnixNano())
			romeo.must(t, "<message id='"+id+"' to='door@gate.localhost/x' type='chat'><body>knock</body></message>")
			if err := romeo.ping(); err != nil {
				return err
			}
			for {
				select {
				case line, ok := <-lines:
					if !ok {
						return errors.New("the component's stream has ended")
					}
					if line == "message type=chat id="+id+" from="+romeo.full+" to=door@gate.localhost/x <body>knock</body>" {
						return nil
					}
				case <-time.After(2 * time.Second):
					return errors.New("not heard")
				}
			}
		})
		body := fmt.Sprintf("come in %d", n)
		if err := c.Send("<message type='chat' from='door@gate.localhost/x' to='" + romeo.full + "'><body>" + body + "</body></message>"); err != nil {
			t.Fatal(err)
		}
		romeo.expect(t, body, func(st *stanza.Stanza) bool { return st.From == "door@gate.localhost/x" && st.Message().Body == body })
	}
	passes(1)
	s.killParts(t, "worker-1")
	s.killParts(t, "worker-2")
	s.awaitReady(t)
	passes(2)
	st, err := romeo.ask("get", "<query xmlns='"+stanza.NSDiscoItem+"'/>")
	if err != nil || st.Type != "result" {
		t.Fatal(st, err)
	}
}

// slixmppPush has a program that uses slixmpp be an app server, and a client of
// it that is told of what comes while it is away.
func slixmppPush(t *testing.T, s *stack, romeo *session) {
	python, run := pip(t, "slixmpp"), s.run(t)
	if err := register(login{address: run.part("edge-1").Listen["starttls"], domain: run.Domain, tls: s.trust(t)}, []string{"mobile"}); err != nil {
		t.Fatal(err)
	}
	address := func(name, what string) []string {
		host, port, _ := strings.Cut(run.part(name).Listen[what], ":")
		return []string{host, port}
	}
	args := append([]string{"push.py"}, address("edge-2", "components")...)
	args = append(append(args, "push.localhost", "s3cr3t"), address("edge-1", "starttls")...)
	her := visit(t, "slixmpp", python, append(args, filepath.Join(run.Certificates, run.Domain+".crt"), "mobile@"+run.Domain, password)...)
	her.tells(t, "attached push.localhost")
	her.tells(t, "offered urn:xmpp:push:0")
	her.tells(t, "enabled")
	her.tells(t, "away")
	romeo.must(t, "<message type='chat' to='mobile@"+run.Domain+"'><body>are you there</body></message>")
	if got, want := her.tells(t, "told"), "of phone: 1 of "+romeo.full+" with s3cret-option"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	her.tells(t, "reads are you there")
	her.leaves(t)
}
