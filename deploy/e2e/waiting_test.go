package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local"
	"github.com/rollcall/rollcall/edge/stanza"
)

// Messages wait for as long as they may: who comes later has them in his archive
// alone. And a made-up history beside them is projected, verified and counted
// like any other, as if it had been written straight into ClickHouse.
func TestExpiryAndMadeUpHistory(t *testing.T) {
	t.Parallel()
	s := newStack(t, local.KafkaAuto)
	s.env = []string{"ROLLCALL_MESSAGE_EXPIRY=8s"}
	s.start(t)
	expires(t, s)
	generated(t, s)
	s.stop(t)
}

func expires(t *testing.T, s *stack) {
	r := s.run(t)
	at := login{address: r.part("edge-1").Listen["starttls"], domain: r.Domain, tls: s.trust(t), resource: "pc"}
	if err := register(at, []string{"juliet", "romeo"}); err != nil {
		t.Fatal(err)
	}
	as := func(user string) *session {
		at.user = user
		c, err := connect(at, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.cut() })
		return c
	}
	juliet := as("juliet")
	say := func(body string) {
		t.Helper()
		if err := juliet.send(fmt.Sprintf("<message to='romeo@%s' type='chat' id='%[2]s'><body>%[2]s</body></message>", r.Domain, body)); err != nil {
			t.Fatal(err)
		}
	}
	// answers waits until a question to ClickHouse has an answer.
	answers := func(sql, want string) {
		t.Helper()
		eventually(t, sql+": "+want, 40*time.Second, func() error {
			got, err := s.clickhouse(t, sql)
			if got = strings.TrimSpace(got); err == nil && got != want {
				err = fmt.Errorf("it is %q", got)
			}
			return err
		})
	}
	const unread = "SELECT sum(messages) FROM unread WHERE account LIKE 'romeo@%'"
	say("old")
	answers(unread, "1")
	answers("SELECT count() FROM events WHERE kind = 'message_expired'", "1")
	answers(unread, "0")
	romeo := as("romeo")
	say("new")
	if err := romeo.send("<presence/>"); err != nil {
		t.Fatal(err)
	}
	first := ""
	romeo.expect(t, "a message", func(st *stanza.Stanza) bool {
		if first == "" && st.Kind == stanza.Message {
			first = st.ID
		}
		return first != ""
	})
	if first != "new" {
		t.Errorf("romeo gets %q first, want what is new alone", first)
	}
	answers("SELECT countIf(body = 'old'), countIf(body = 'new') FROM archive", "2\t2")
	answers("SELECT sum(messages_sent), sum(messages_received) FROM account_counters", "2\t2")
	answers(unread, "0")
	if said, err := s.rollcall(t, "replay", "verify"); err != nil || !strings.Contains(said, " 0 differences") {
		t.Errorf("rollcall replay verify: %v: %s", err, said)
	}
}

func generated(t *testing.T, s *stack) {
	flags := []string{"--seed", "7", "--accounts", "60", "--friends", "6", "--days", "3", "--start", "2026-10-01", "--domain", "made.example"}
	if said, err := s.rollcall(t, slices.Concat([]string{"generate", "kafka"}, flags)...); err == nil || !strings.Contains(said, "--add") {
		t.Errorf("generate into a log that has records: %v\n%s", err, said)
	}
	if said, err := s.rollcall(t, slices.Concat([]string{"generate", "kafka", "--add"}, flags)...); err != nil {
		t.Fatalf("generate kafka: %v\n%s", err, said)
	}
	if said, err := s.rollcall(t, slices.Concat([]string{"generate", "clickhouse", "--clickhouse-database", "made"}, flags)...); err != nil {
		t.Fatalf("generate clickhouse: %v\n%s", err, said)
	}
	for _, question := range []string{
		"SELECT account, day, messages_sent, messages_received, presence_changes, logins, roster_changes FROM %s.account_counters WHERE account LIKE '%%@made.example' ORDER BY ALL",
		"SELECT account, peer, day, messages_sent, messages_received FROM %s.pair_counters WHERE account LIKE '%%@made.example' ORDER BY ALL",
		"SELECT account, day, subscribers FROM %s.audience WHERE account LIKE '%%@made.example' ORDER BY ALL",
		"SELECT account, day, round(seconds) FROM %s.online_seconds WHERE account LIKE '%%@made.example' AND day < today() - 1 ORDER BY ALL",
	} {
		want, err := s.clickhouse(t, fmt.Sprintf(question, "made"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(want, "\n") < 30 {
			t.Errorf("%s: %d rows", question, strings.Count(want, "\n"))
		}
		eventually(t, question, time.Minute, func() error {
			got, err := s.clickhouse(t, fmt.Sprintf(question, "rollcall"))
			if err == nil && got != want {
				err = fmt.Errorf("by way of Kafka %d rows, not %d, or others: %s", strings.Count(got, "\n"), strings.Count(want, "\n"), differing(got, want))
			}
			return err
		})
	}
	if said, err := s.clickhouse(t, secondsOfSpans); err != nil || said != "1\t0\n" {
		t.Errorf("online_seconds differs from session_spans: %q, %v", said, err)
	}
	eventually(t, "what waited is too old", time.Minute, func() error {
		waits, err := s.clickhouse(t, "SELECT (SELECT sum(messages) FROM made.unread) > 0, (SELECT sum(messages) FROM rollcall.unread)")
		if err == nil && waits != "1\t0\n" {
			err = fmt.Errorf("it says %q", waits)
		}
		return err
	})
	said := ""
	eventually(t, "the made-up history is verified", time.Minute, func() (err error) {
		said, err = s.rollcall(t, "replay", "verify")
		if err == nil && !strings.Contains(said, " 0 differences") {
			t.Errorf("rollcall replay verify: %s", said)
		}
		return err
	})
	t.Log(strings.TrimSpace(said))
}

// secondsOfSpans counts the days of which online_seconds and session_spans say
// different things.
const secondsOfSpans = `SELECT count() > 0, countIf(abs(a.seconds - b.seconds) > 1) FROM made.online_seconds AS a FULL JOIN (
	SELECT account, day, intervalLengthSum(toUnixTimestamp64Micro(greatest(online_from, toDateTime64(day, 6, 'UTC'))),
		toUnixTimestamp64Micro(least(until, toDateTime64(day + 1, 6, 'UTC')))) / 1000000 AS seconds
	FROM (
		SELECT account, online_from, until, arrayJoin(arrayMap(n -> toDate(online_from, 'UTC') + n, range(toUInt32(toDate(until, 'UTC') - toDate(online_from, 'UTC') + 1)))) AS day
		FROM (SELECT account, online_from, greatest(online_from, ifNull(online_to, now64(6, 'UTC'))) AS until FROM made.session_spans)
	) GROUP BY account, day
) AS b ON a.account = b.account AND a.day = b.day`

// differing gives the first line that differs.
func differing(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%q, not %q", a[i], b[i])
		}
	}
	return ""
}
