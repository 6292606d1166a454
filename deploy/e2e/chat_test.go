package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/edgetest"
)

// How much is said, and by how many.
const (
	chatters = 200
	words    = 500 // messages of each
)

// A hundred thousand messages between two hundred clients on two edges, while
// an edge, a worker, a projector and the history writer are killed in turn,
// and ClickHouse is away for a minute: every message that was accepted
// arrives, in order, under one stanza id; the archive has it once for each
// owner, the counters count it once, and replay verify finds nothing.
func TestChat(t *testing.T) {
	t.Parallel()
	for _, kafka := range []string{local.KafkaAuto, local.KafkaEmbedded} {
		t.Run(kafka, func(t *testing.T) { chat(t, kafka) })
	}
}

func chat(t *testing.T, kafka string) {
	s := newStack(t, kafka)
	s.start(t)
	all := newChatters(t, s)
	for _, c := range all {
		go c.run()
	}
	t.Cleanup(func() {
		for _, c := range all {
			c.leave()
		}
	})
	began := time.Now()
	total := func() (written, got, anew, resumed int) {
		for _, c := range all {
			w, g := c.progress()
			written, got = written+w, got+g
			c.mu.Lock()
			anew, resumed = anew+c.anew, resumed+c.resumed
			c.mu.Unlock()
		}
		return written, got, anew, resumed
	}
	// await returns when so much of everything has come.
	await := func(what string, part float64, within time.Duration) {
		t.Helper()
		eventually(t, what, within, func() error {
			for _, c := range all {
				select {
				case err := <-c.done:
					t.Fatal(err)
				default:
				}
			}
			if written, got, anew, resumed := total(); float64(got) < part*chatters*words {
				return fmt.Errorf("%d written, %d have come; %d sessions, %d resumptions%s", written, got, anew, resumed, behind(all))
			}
			return nil
		})
	}
	at := 0.1
	for _, name := range []string{"edge-1", "worker-1", "projector-1", "history-1", "edge-2", "worker-2", "projector-2"} {
		await("messages come before "+name+" is killed", at, time.Minute)
		s.killParts(t, name)
		at += 0.08
	}
	await("messages come before ClickHouse is away", at, time.Minute)
	away := time.Now()
	open := s.freeze(t, "clickhouse")
	await("everything comes while ClickHouse is away", 1, 2*time.Minute)
	lasted := time.Since(away)
	time.Sleep(time.Minute - lasted) // how long it is away
	open()
	eventually(t, "everything is acknowledged", 20*time.Second, func() error {
		for _, c := range all {
			if !c.finished() {
				return errors.New(c.name + " is not finished")
			}
		}
		return nil
	})
	_, _, anew, resumed := total()
	t.Logf("%d messages: %.1f s of the last came while ClickHouse was away, %.1f s in all; %d sessions, %d resumptions",
		chatters*words, lasted.Seconds(), time.Since(began).Seconds(), anew, resumed)
	heardOnce(t, all)
	archivedOnce(t, s)
	said, err := s.rollcall(t, "replay", "verify")
	if err != nil || !strings.Contains(said, " 0 differences") {
		t.Errorf("rollcall replay verify: %v: %s", err, said)
	}
	for _, c := range all {
		c.leave()
		<-c.done
	}
	s.stop(t)
}

// behind tells of some clients what they wait for.
func behind(all []*chatter) string {
	var said strings.Builder
	for _, c := range all {
		c.mu.Lock()
		if n := words - len(c.got); n > 0 && said.Len() < 1000 {
			fmt.Fprintf(&said, "; %s is without %d and has %d not acknowledged, %d sessions, %d resumptions", c.name, n, len(c.unacked), c.anew, c.resumed)
		}
		c.mu.Unlock()
	}
	return said.String()
}

// newChatters gives clients with accounts: the even ones begin on one edge,
// the odd ones on the other, and each writes to people of both.
func newChatters(t *testing.T, s *stack) []*chatter {
	r := s.run(t)
	names := make([]string, chatters)
	for i := range names {
		names[i] = fmt.Sprintf("chatter%d", i)
	}
	var making sync.WaitGroup
	for i := range 4 {
		making.Go(func() {
			edge := r.part(edgeName(i % 2)).Listen["starttls"]
			if err := register(login{address: edge, domain: r.Domain}, names[i*chatters/4:(i+1)*chatters/4]); err != nil {
				t.Error(err)
			}
		})
	}
	making.Wait()
	if t.Failed() {
		t.FailNow()
	}
	all := make([]*chatter, chatters)
	for i, name := range names {
		c := &chatter{name: name, total: words, got: make(map[string]receipts), last: make(map[string]int), done: make(chan error, 1)}
		for _, step := range []int{1, 2, 7, 50, 101} {
			c.peers = append(c.peers, names[(i+step)%chatters]+"@"+r.Domain)
		}
		c.dial = func(try int) (*edgetest.Client, error) {
			address := r.part(edgeName((i + try) % 2)).Listen["starttls"]
			return edgetest.Dial(edgetest.ClientOptions{Address: address, Domain: r.Domain, User: name, Password: password, Unbound: true})
		}
		all[i] = c
	}
	return all
}

// heardOnce checks what the clients got.
func heardOnce(t *testing.T, all []*chatter) {
	again := 0
	for _, c := range all {
		c.mu.Lock()
		if want := words; len(c.got) != want {
			t.Errorf("%s got %d messages, want %d", c.name, len(c.got), want)
		}
		for body, ids := range c.got {
			if len(ids) != 1 {
				t.Errorf("%s got %s as %v", c.name, body, ids)
			}
			for _, n := range ids {
				again += n - 1
			}
		}
		if len(c.swapped) > 0 {
			t.Errorf("%s got out of order: %q", c.name, c.swapped[:min(3, len(c.swapped))])
		}
		c.mu.Unlock()
	}
	t.Logf("%d messages came again, under the id that they had", again)
}

// archivedOnce checks the archive and the counters.
func archivedOnce(t *testing.T, s *stack) {
	eventually(t, "the archive has every message once for each owner", 2*time.Minute, func() error {
		rows, err := s.clickhouse(t, `SELECT count(), uniqExact(body), uniqExact(owner, body), countIf(direction = 'sent') FROM archive`)
		if want := fmt.Sprintf("%d\t%d\t%[1]d\t%[2]d\n", 2*chatters*words, chatters*words); err == nil && rows != want {
			err = fmt.Errorf("%q, want %q", rows, want)
		}
		return err
	})
	rows, err := s.clickhouse(t, `SELECT count(), min(sent), max(sent), min(received), max(received) FROM
		(SELECT account, sum(messages_sent) AS sent, sum(messages_received) AS received FROM account_counters GROUP BY account)`)
	if want := fmt.Sprintf("%d\t%d\t%[2]d\t%[2]d\t%[2]d\n", chatters, words); err != nil || rows != want {
		t.Errorf("counters are %q, want %q; %v", rows, want, err)
	}
	s.sameSpans(t)
}
