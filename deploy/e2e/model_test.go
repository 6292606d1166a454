package e2e

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/edgetest"
	"github.com/rollcall/rollcall/edge/edgetest/model"
	"github.com/rollcall/rollcall/edge/edgetest/play"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/topic"
)

var (
	modelSeed     = flag.Uint64("model.seed", 0, "the seed of the random commands; 0: a new one")
	modelCommands = flag.Int("model.commands", 2000, "how many random commands are done")
)

// What clients are told on real engines is what an executable model of the
// specifications says: random commands of five people on two edges, which are
// killed four times. A hundred thousand such commands run in memory
// (edge.TestRandomCommandsAgainstTheModel).
func TestModel(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaAuto)
	s.env = []string{"ROLLCALL_GRACE=0"} // who breaks off is gone
	s.start(t)
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) >> 10 % 1_000_000_000
	}
	t.Logf("-model.seed=%d -model.commands=%d", seed, *modelCommands)
	names := []string{"ann", "bob", "cat", "dan", "eve"}
	engines := newEngines(t, s, names)
	m := model.New(engines.domain, names...)
	p := play.New(engines, m, engines.domain, 20*time.Second)
	defer p.Close()
	random := play.NewRandom(seed, m, 2)
	random.Alone, random.Immortal = true, true
	began := time.Now()
	var done []string
	for n := range *modelCommands {
		c := random.Next()[0]
		if n%(*modelCommands/5) == *modelCommands/5-1 && n+1 < *modelCommands {
			c = model.Command{ID: c.ID, Who: "edge", Verb: "kill", Args: []string{fmt.Sprint(n / (*modelCommands / 5) % 2)}}
		}
		err := p.Do(c)
		if err == nil && n%25 == 24 {
			err = p.Check()
		}
		done = append(done, c.ID+" "+c.String())
		if err != nil {
			t.Fatalf("after %d commands: %v\n%s", n+1, err, strings.Join(done[max(0, n-60):], "\n"))
		}
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commands, %.1f s", *modelCommands, time.Since(began).Seconds())
	s.stop(t)
}

// engines are a play.Server on a stack.
type engines struct {
	t      *testing.T
	stack  *stack
	domain string
	log    *eventlog.Admin
	views  *pgx.Conn
}

func newEngines(t *testing.T, s *stack, names []string) *engines {
	t.Helper()
	run := s.run(t)
	at := login{address: run.part("edge-1").Listen["starttls"], domain: run.Domain, tls: s.trust(t)}
	if err := register(at, names); err != nil {
		t.Fatal(err)
	}
	admin, err := eventlog.NewAdmin(run.KafkaBrokers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	views, err := pgx.Connect(t.Context(), run.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { views.Close(context.Background()) })
	return &engines{t, s, run.Domain, admin, views}
}

func edgeName(at int) string { return fmt.Sprintf("edge-%d", at+1) }

// Dial implements play.Server.
func (e *engines) Dial(at int, user, resource string) (*edgetest.Client, error) {
	run := e.stack.run(e.t)
	return edgetest.Dial(edgetest.ClientOptions{
		Address: run.part(edgeName(at)).Listen["starttls"], Domain: e.domain, TLS: e.stack.trust(e.t),
		User: user, Password: password, Resource: resource, Timeout: 10 * time.Minute,
	})
}

// Gone implements play.Server.
func (e *engines) Gone(full string) error {
	return e.until("the session of "+full+" is over", func() (bool, error) {
		var n int
		err := e.views.QueryRow(e.t.Context(), "SELECT count(*) FROM views.resource WHERE account || '/' || resource = $1", full).Scan(&n)
		return n == 0, err
	})
}

// Kill implements play.Server.
func (e *engines) Kill(at int) error {
	e.stack.killParts(e.t, edgeName(at))
	return e.until("the sessions of "+edgeName(at)+" are over", func() (bool, error) {
		var n int
		err := e.views.QueryRow(e.t.Context(), "SELECT count(*) FROM views.resource WHERE edge = $1", edgeName(at)).Scan(&n)
		return n == 0, err
	})
}

// Settle implements play.Server: it waits until the log is projected, and with
// it what that has caused.
func (e *engines) Settle() error {
	return e.until("the log is projected", func() (bool, error) {
		ends, err := e.log.Ends(e.t.Context(), topic.Account)
		if err != nil {
			return false, err
		}
		rows, err := e.views.Query(e.t.Context(), `SELECT partition, next_offset, (SELECT count(*) FROM run.reaction) FROM views.projected`)
		if err != nil {
			return false, err
		}
		var partition int32
		var next, reactions int64
		behind := false
		_, err = pgx.ForEachRow(rows, []any{&partition, &next, &reactions}, func() error {
			behind = behind || next < ends[partition] || reactions > 0
			return nil
		})
		return !behind, err
	})
}

// Waiting implements play.Server.
func (e *engines) Waiting(user string) (n int, err error) {
	err = e.views.QueryRow(e.t.Context(), "SELECT count(*) FROM views.inbox WHERE account = $1", user+"@"+e.domain).Scan(&n)
	return n, err
}

// until waits until cond holds.
func (e *engines) until(what string, cond func() (bool, error)) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		if ok, err := cond(); err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not within 30 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
