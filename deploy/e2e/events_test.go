package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
)

// A follower hears a stream of events as a browser does: it goes on by itself
// after the last id, whatever becomes of the connection.
type follower struct {
	service *service
	query   string
	heard   chan followed
	opened  chan struct{} // holds one: a stream was opened
}

type followed struct {
	name, data string
	presence   struct {
		Account, Resource, Status, Show string
		Available                       bool
	}
}

func follow(t *testing.T, s *service, query string) *follower {
	f := &follower{s, query, make(chan followed, 10_000), make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for last := ""; ctx.Err() == nil; {
			f.hear(ctx, &last)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// hear reads one stream to its end, and notes the last id.
func (f *follower) hear(ctx context.Context, last *string) {
	r, err := http.NewRequestWithContext(ctx, "GET", f.service.base+"/v1/events"+f.query, nil)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+f.service.key)
	if *last != "" {
		r.Header.Set("Last-Event-ID", *last)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		time.Sleep(20 * time.Millisecond) // it is being started anew
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return
	}
	select {
	case f.opened <- struct{}{}:
	default:
	}
	var e followed
	id := ""
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() != "":
			switch name {
			case "event":
				e.name = value
			case "id":
				id = value
			case "data":
				e.data = value
			}
		default: // what ends before its empty line was not heard
			if id != "" {
				*last = id
			}
			if e.data != "" && json.Unmarshal([]byte(e.data), &e.presence) == nil {
				f.heard <- e
			}
			e, id = followed{}, ""
		}
	}
}

// TestEvents has a service follow who is online while the HTTP door, a worker,
// the projector and an edge are killed: it hears each change once, in order, and
// what that adds up to is what the views have.
func TestEvents(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaEmbedded)
	s.start(t)
	run := s.run(t)
	if err := register(login{address: run.part("edge-1").Listen["starttls"], domain: run.Domain, tls: s.trust(t)}, []string{"juliet", "romeo"}); err != nil {
		t.Fatal(err)
	}
	come := func(edge, user string) *session {
		c, err := connect(login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: "here"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		return c
	}
	door := newService(t, s, "read:events", "read:presence", "read:history", "messages:send")
	both := follow(t, door, "")
	<-both.opened
	juliet, romeo := come("edge-1", "juliet"), come("edge-2", "romeo")
	const most = 400
	say := func(from, to int) {
		for i := from; i < to; i++ {
			presence := fmt.Sprintf("<presence><status>%d</status></presence>", i)
			juliet.must(t, presence)
			romeo.must(t, presence)
		}
		for _, c := range []*session{juliet, romeo} { // all of it is in the log
			if _, err := c.ask("get", "<ping xmlns='urn:xmpp:ping'/>"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, victim := range []string{"http-1", "worker-1", "http-1", "projector-1"} {
		before := s.run(t)
		say(i*100, i*100+50)
		s.signal(t, victim, syscall.SIGKILL)
		say(i*100+50, i*100+100)
		s.awaitAnother(t, victim, before.part(victim).Pid)
	}
	s.killParts(t, "edge-2") // with romeo
	juliet.must(t, "<presence><status>end</status></presence>")

	heard, online := make(map[string][]string), make(map[string]bool)
	wanted := []string{}
	for i := range most {
		wanted = append(wanted, fmt.Sprint(i))
	}
	late := time.After(time.Minute)
	for len(heard["juliet"]) <= most || len(heard["romeo"]) <= most {
		select {
		case e := <-both.heard:
			name, _, _ := strings.Cut(e.presence.Account, "@")
			if e.name != "presence" {
				continue
			}
			full := e.presence.Account + "/" + e.presence.Resource
			if online[full] = e.presence.Available; !e.presence.Available {
				e.presence.Status = "gone"
			}
			heard[name] = append(heard[name], e.presence.Status)
		case <-late:
			t.Fatalf("not all is heard within a minute: %d of juliet, %d of romeo", len(heard["juliet"]), len(heard["romeo"]))
		}
	}
	for name, last := range map[string]string{"juliet": "end", "romeo": "gone"} {
		if want := append(slices.Clone(wanted), last); !slices.Equal(heard[name], want) {
			t.Errorf("of %s it hears %q", name, heard[name])
		}
	}
	views := s.whoIsOnline(t)
	if len(views) != 1 || !online["juliet@"+run.Domain+"/here"] || online["romeo@"+run.Domain+"/here"] {
		t.Errorf("the views have %q, who followed %v", views, online)
	}
	for account, available := range map[string]bool{"juliet": true, "romeo": false} {
		if status, answer := door.do(t, "GET", "/v1/accounts/"+url.PathEscape(account+"@"+run.Domain)+"/presence", ""); status != 200 || answer["available"] != available {
			t.Errorf("%s: %d %v", account, status, answer)
		}
	}
	if status, answer := door.do(t, "GET", "/v1/stats", ""); status != 200 || answer["accounts"] != 2.0 {
		t.Errorf("%d %v", status, answer)
	}
	asked(t, door, run.Domain)
	schemathesis(t, s)
	s.stop(t)
}

// asked sends a message by the HTTP door and finds it in what the door answers.
func asked(t *testing.T, door *service, domain string) {
	t.Helper()
	romeo := "/v1/accounts/" + url.PathEscape("romeo@"+domain)
	status, sent := door.do(t, "POST", "/v1/messages", `{"to": ["romeo@`+domain+`"], "type": "chat", "body": "the gates are shut"}`)
	if status != 200 {
		t.Fatalf("%d %v", status, sent)
	}
	result := sent["results"].([]any)[0].(map[string]any)
	wait := "?min_position=" + result["id"].(string)
	status, history := door.do(t, "GET", romeo+"/history"+wait, "")
	if messages, _ := history["messages"].([]any); status != 200 || len(messages) != 1 {
		t.Fatalf("romeo's history: %d %v", status, history)
	} else if m := messages[0].(map[string]any); m["id"] != result["id"] || m["body"] != "the gates are shut" || m["peer"] != domain || m["message"] != result["message"] {
		t.Errorf("sent was %v, romeo has %v", result, m)
	}
	status, counters := door.do(t, "GET", romeo+"/counters"+wait, "")
	if totals, _ := counters["totals"].(map[string]any); status != 200 || totals["messages_received"] != 1.0 || totals["logins"] != 1.0 || counters["unread"] != 1.0 {
		t.Errorf("romeo's counters: %d %v", status, counters)
	}
	status, roster := door.do(t, "GET", romeo+"/roster"+wait, "")
	if items, ok := roster["items"].([]any); status != 200 || !ok || len(items) != 0 || roster["position"] == "" {
		t.Errorf("romeo's roster: %d %v", status, roster)
	}
}
