package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/topic"
)

// stored checks, at rest, that Postgres and ClickHouse hold what the log says.
func (w *world) stored(t *testing.T) {
	began := time.Now()
	w.onlineFriends(t)
	said := ""
	eventually(t, "rollcall replay verify compares the whole log", 30*time.Second, func() (err error) {
		if err := w.ledger.reached(t.Context()); err != nil {
			return err
		}
		records := fmt.Sprintf(" %d records ", w.ledger.total())
		if said, err = w.stack.rollcall(t, "replay", "verify"); err != nil {
			t.Errorf("rollcall replay verify: %v: %s", err, said)
			return nil
		}
		if !strings.Contains(said, records) {
			err = fmt.Errorf("the log has%sbut it says: %s", records, said)
		}
		return err
	})
	t.Logf("rollcall replay verify: %s", strings.TrimSpace(said))
	eventually(t, "ClickHouse has every record once", time.Minute, func() error {
		if err := w.ledger.reached(t.Context()); err != nil {
			return err
		}
		rows, err := w.stack.clickhouse(t, "SELECT count(), uniqExact((partition, offset)) FROM events")
		if want := fmt.Sprintf("%d\t%[1]d\n", w.ledger.total()); err == nil && rows != want {
			err = fmt.Errorf("the log has %s records, ClickHouse %s", strings.TrimSpace(want), strings.TrimSpace(rows))
		}
		return err
	})
	var messages int
	eventually(t, "the chat log has every message once for each side", 20*time.Second, func() (err error) {
		messages, err = w.chatLog(t)
		return err
	})
	w.stack.sameSpans(t)
	t.Logf("ClickHouse has every record, and %d messages in the chat log; %.1f s", messages, time.Since(began).Seconds())
}

// sameSpans checks that what the history writer noted of spans is what all that
// was said tells of them, and that somebody was online.
func (s *stack) sameSpans(t *testing.T) {
	eventually(t, "spans are those of the sessions", 20*time.Second, func() error {
		rows, err := s.clickhouse(t, `SELECT (SELECT count() FROM session_spans) > 0,
			(SELECT count() FROM (SELECT * FROM presence_spans EXCEPT SELECT * FROM session_spans)),
			(SELECT count() FROM (SELECT * FROM session_spans EXCEPT SELECT * FROM presence_spans)),
			(SELECT sum(delta) FROM minute_online) - (SELECT countIf(isNull(online_to)) FROM session_spans)`)
		if err == nil && rows != "1\t0\t0\t0\n" {
			err = fmt.Errorf("some are there, too many, too few, and online too many: %q", rows)
		}
		return err
	})
}

// chatLog compares the chat log with the acknowledged messages and gives the
// number of messages in it.
func (w *world) chatLog(t *testing.T) (int, error) {
	rows, err := w.stack.clickhouse(t, "SELECT body, count(), countIf(direction = 'sent') FROM archive GROUP BY body")
	if err != nil {
		return 0, err
	}
	logged := make(map[string]bool)
	for row := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSpace(row), "\t")
		logged[fields[0]] = true
		if fields[1] != "2" || fields[2] != "1" {
			return 0, fmt.Errorf("there are %s copies of %q, %s of them sent", fields[1], fields[0], fields[2])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.letters {
		if !logged[l.body] {
			return 0, fmt.Errorf("the acknowledged message %q is not there", l.body)
		}
	}
	return len(logged), nil
}

// onlineFriends holds the view of that name against what clients must see.
func (w *world) onlineFriends(t *testing.T) {
	t.Helper()
	r := w.stack.run(t)
	db, err := pgx.Connect(t.Context(), r.PostgresURL)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	eventually(t, "online_friends equals the fold of the log", 20*time.Second, func() error {
		got := make(map[string]string)
		rows, err := db.Query(t.Context(), "SELECT owner, contact, resource, show, status, priority FROM online_friends")
		if err != nil {
			return err
		}
		var owner, contact, resource, show, status string
		var priority int
		_, err = pgx.ForEachRow(rows, []any{&owner, &contact, &resource, &show, &status, &priority}, func() error {
			got[owner+" sees "+contact+"/"+resource] = shows(show, status, int8(priority))
			return nil
		})
		if err != nil {
			return err
		}
		want := make(map[string]string)
		for _, p := range w.people {
			for full, text := range w.ledger.view(p.bare) {
				if !strings.HasPrefix(full, p.bare+"/") {
					want[p.bare+" sees "+full] = text
				}
			}
		}
		return same(want, got)
	})
}

// garbage puts a record into the log that nobody can decode: it goes to the
// topic dead-letter, is counted, and everything goes on.
func (w *world) garbage(t *testing.T) {
	brokers := w.stack.run(t).KafkaBrokers
	counted, err := w.stack.metric(t, "projector", "rollcall_projector_dead_letters_total")
	if err != nil {
		t.Fatal(err)
	}
	account := jid.MustBare(w.devices[0].person.bare)
	value := []byte("\xff\xff no event \xff")
	at := w.append(t, brokers, eventlog.Record{
		Topic: topic.Account, Partition: topic.Partition(account, topic.DevPartitions), Key: []byte(account.String()), Value: value,
	})
	letter := awaitRecord(t, brokers, topic.DeadLetter, func(r *eventlog.Fetched) bool { return string(r.Header(topic.HeaderFrom)) == at.String() })
	if string(letter.Value) != string(value) || string(letter.Key) != account.String() || len(letter.Header(topic.HeaderError)) == 0 {
		t.Errorf("the dead letter is %q %q %q", letter.Key, letter.Value, letter.Headers)
	}
	t.Logf("%s was set aside: %s", at, strconv.Quote(string(letter.Header(topic.HeaderError))))
	eventually(t, "the dead letter is counted", 20*time.Second, func() error {
		n, err := w.stack.metric(t, "projector", "rollcall_projector_dead_letters_total")
		if err == nil && n != counted+1 {
			err = fmt.Errorf("%v, before it was %v", n, counted)
		}
		return err
	})
	w.busyUntil(t, 1, func() {})
	w.settle(t)
}

// append writes one record to the log and gives its place.
func (w *world) append(t *testing.T, brokers []string, r eventlog.Record) topic.Position {
	t.Helper()
	a, err := eventlog.New(eventlog.Options{Brokers: brokers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	type outcome struct {
		at  topic.Position
		err error
	}
	stored := make(chan outcome, 1)
	a.Append(r, false, func(at topic.Position, err error) { stored <- outcome{at, err} })
	o := <-stored
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.at
}

// awaitRecord gives the first record of a topic that passes the test.
func awaitRecord(t *testing.T, brokers []string, name string, test func(*eventlog.Fetched) bool) eventlog.Fetched {
	t.Helper()
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: brokers, Topic: name})
	if err != nil {
		t.Fatal(err)
	}
	starts, err := tail.Starts(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for p, offset := range starts {
		tail.Assign(p, offset)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var found *eventlog.Fetched
	err = tail.Run(ctx, func(_ context.Context, b eventlog.Batch) error {
		for i := range b.Records {
			if found == nil && test(&b.Records[i]) {
				found = &b.Records[i]
				cancel()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found == nil {
		t.Fatalf("no such record came to %s", name)
	}
	return *found
}
