package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/topic"
)

// TestExamples has the examples of docs/EVENTS.md tell who is online, on either
// Kafka, after sessions that changed, ended, were replaced, went invisible or
// lost their edge, and with a copy of every record behind it.
func TestExamples(t *testing.T) {
	t.Parallel()
	example := filepath.Join(t.TempDir(), "online")
	if said, err := exec.CommandContext(t.Context(), "go", "build", "-o", example, "github.com/rollcall/rollcall/docs/examples/go").CombinedOutput(); err != nil {
		t.Fatalf("build the example: %v\n%s", err, said)
	}
	folder := filepath.Join("..", "..", "docs", "examples", "python")
	python := pipAs(t, "events-python", filepath.Join(folder, "requirements.txt"))
	generated := t.TempDir()
	if said, err := exec.CommandContext(t.Context(), python, "-m", "grpc_tools.protoc", "-I", filepath.Join("..", "..", "schema", "event"),
		"--python_out="+generated, "event.proto").CombinedOutput(); err != nil {
		t.Fatalf("generate from event.proto: %v\n%s", err, said)
	}
	for _, kafka := range kafkas(t) {
		t.Run(kafka, func(t *testing.T) {
			s := newStack(t, kafka)
			s.start(t)
			run := s.run(t)
			comeAndGo(t, s)
			views := s.whoIsOnline(t)
			if len(views) != 4 {
				t.Fatalf("the views have %q online", views)
			}
			s.repeatLog(t)
			brokers := strings.Join(run.KafkaBrokers, ",")
			inGo := exec.CommandContext(t.Context(), example, "--brokers", brokers)
			inPython := exec.CommandContext(t.Context(), python, filepath.Join(folder, "online.py"), brokers)
			inPython.Env = append(withoutOurs(), "PYTHONPATH="+generated, "PYTHONDONTWRITEBYTECODE=1", "PYTHONUTF8=1")
			for name, cmd := range map[string]*exec.Cmd{"Go": inGo, "Python": inPython} {
				var complaint strings.Builder
				cmd.Stderr = &complaint
				said, err := cmd.Output()
				if err != nil {
					t.Fatalf("the example in %s: %v\n%s", name, err, complaint.String())
				}
				if lines := strings.Split(strings.TrimSpace(string(said)), "\n"); !slices.Equal(lines, views) {
					t.Errorf("the example in %s says\n%q, the views\n%q", name, lines, views)
				}
			}
			s.stop(t)
		})
	}
}

// kafkas are those that this machine has.
func kafkas(t *testing.T) []string {
	choice, err := local.ChooseKafka(t.Context(), local.KafkaAuto, local.InstallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if choice.Kind != local.KafkaApache {
		t.Log("on the embedded broker only; " + choice.Why)
		return []string{local.KafkaEmbedded}
	}
	return []string{local.KafkaEmbedded, local.KafkaApache}
}

// comeAndGo has clients come, change and go in every way.
func comeAndGo(t *testing.T, s *stack) {
	t.Helper()
	run := s.run(t)
	at := func(edge, user, resource string) login {
		return login{address: run.part(edge).Listen["starttls"], domain: run.Domain, tls: s.trust(t), user: user, resource: resource}
	}
	if err := register(at("edge-1", "", ""), []string{"juliet", "romeo", "nurse", "tybalt"}); err != nil {
		t.Fatal(err)
	}
	come := func(edge, user, resource, presence string) *session {
		c, err := connect(at(edge, user, resource), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.cut)
		c.must(t, presence)
		return c
	}
	juliet := come("edge-1", "juliet", "balcony", "<presence/>")
	come("edge-1", "juliet", "chamber", "<presence><show>dnd</show><priority>3</priority></presence>")
	romeo := come("edge-1", "romeo", "orchard", "<presence/>")
	come("edge-2", "romeo", "street", "<presence><show>chat</show></presence>") // its edge dies
	nurse := come("edge-1", "nurse", "hall", "<presence><status>♥ &amp; &lt;peace&gt; \"\\</status></presence>")
	tybalt := come("edge-1", "tybalt", "street", "<presence/>")
	connected := come("edge-1", "tybalt", "crypt", "") // never available
	juliet.must(t, "<presence><show>away</show><status>at the window</status></presence>")
	romeo.must(t, "<message type='chat' to='juliet@"+run.Domain+"'><body>what light</body></message>")
	romeo.must(t, "<presence type='unavailable'/>")
	romeo.must(t, "<presence><show>xa</show></presence>")
	for _, c := range []*session{juliet, nurse, connected} {
		if _, err := c.ask("get", "<ping xmlns='urn:xmpp:ping'/>"); err != nil { // all that it sent is in the log
			t.Fatal(err)
		}
	}
	if _, err := tybalt.ask("set", "<invisible xmlns='urn:xmpp:invisible:1'/>"); err != nil {
		t.Fatal(err)
	}
	if err := romeo.close(); err != nil {
		t.Fatal(err)
	}
	come("edge-1", "romeo", "orchard", "<presence><status>again</status></presence>") // a binding after the first
	s.killParts(t, "edge-2")
}

// lines of views.resource, as the examples write them.
const onlineLines = `SELECT account || '/' || resource || ' ' || CASE show WHEN '' THEN 'available' ELSE show END || ' ' || to_json(status)::text
FROM views.resource r WHERE available AND NOT EXISTS (
	SELECT FROM views.hidden h WHERE h.account = r.account AND h.resource = r.resource AND h.viewer = '')`

// whoIsOnline gives what the views have once they are at the end of the log, and
// nothing more comes of what is in it.
func (s *stack) whoIsOnline(t *testing.T) (lines []string) {
	t.Helper()
	run := s.run(t)
	admin, err := eventlog.NewAdmin(run.KafkaBrokers)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	db, err := pgx.Connect(t.Context(), run.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.WithoutCancel(t.Context()))
	eventually(t, "the log is projected, and at rest", time.Minute, func() error {
		ends, err := admin.Ends(t.Context(), topic.Account)
		if err != nil {
			return err
		}
		for n, end := range ends {
			var next int64
			if err := db.QueryRow(t.Context(), `SELECT coalesce(max(next_offset), 0) FROM views.projected WHERE partition = $1`, n).Scan(&next); err != nil {
				return err
			}
			if next < end {
				return fmt.Errorf("partition %d is projected to %d of %d", n, next, end)
			}
		}
		var waiting, lost int
		if err := db.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM run.reaction), (SELECT count(*) FROM run.lease WHERE lost)`).Scan(&waiting, &lost); err != nil {
			return err
		}
		if waiting+lost > 0 {
			return fmt.Errorf("%d reactions and %d lost edges are not in the log yet", waiting, lost)
		}
		rows, err := db.Query(t.Context(), onlineLines)
		if err == nil {
			lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		if slices.Sort(lines); strings.Contains(fmt.Sprint(lines), "romeo@"+run.Domain+"/street") {
			err = fmt.Errorf("what edge-2 had is still online")
		}
		return err
	})
	return lines
}

// repeatLog appends every record of the log once more, as a broker does that
// takes a request twice, and waits until they are projected.
func (s *stack) repeatLog(t *testing.T) {
	t.Helper()
	run := s.run(t)
	admin, err := eventlog.NewAdmin(run.KafkaBrokers)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ends, err := admin.Ends(t.Context(), topic.Account)
	if err != nil {
		t.Fatal(err)
	}
	appender, err := eventlog.New(eventlog.Options{Brokers: run.KafkaBrokers})
	if err != nil {
		t.Fatal(err)
	}
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: run.KafkaBrokers, Topic: topic.Account})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	appending := make(chan error, 1)
	go func() { appending <- appender.Run(ctx) }()
	left, failed := make(map[int32]bool), make(chan error, 1)
	for n, end := range ends {
		if end > 0 {
			left[n] = true
			tail.Assign(n, 0)
		}
	}
	copies := 0
	reading, stop := context.WithCancel(ctx)
	err = tail.Run(reading, func(ctx context.Context, b eventlog.Batch) error {
		for _, r := range b.Records {
			if r.Offset >= ends[b.Partition] {
				break
			}
			copies++
			appender.Append(eventlog.Record{Topic: topic.Account, Partition: b.Partition, Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)}, true,
				func(_ topic.Position, err error) {
					if err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
		}
		if b.Records[len(b.Records)-1].Offset+1 < ends[b.Partition] {
			return nil
		}
		if delete(left, b.Partition); len(left) == 0 {
			stop()
		}
		return eventlog.ErrUnassign
	})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "every copy is in the log", time.Minute, func() error {
		select {
		case err := <-failed:
			t.Fatal(err)
		default:
		}
		now, err := admin.Ends(t.Context(), topic.Account)
		for n, end := range ends {
			if err == nil && now[n] < 2*end {
				err = fmt.Errorf("partition %d ends at %d, before %d", n, now[n], 2*end)
			}
		}
		return err
	})
	cancel()
	<-appending
	if copies < 20 {
		t.Fatalf("the log had %d records", copies)
	}
	t.Logf("%d records came again; online are %q", copies, s.whoIsOnline(t))
}
