package archive_test

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/edge/archive"
	"github.com/rollcall/rollcall/projector/generate"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
)

var (
	generatedAt      = flag.String("archive.clickhouse", "", "host:port of a ClickHouse that rollcall generate has filled, for BenchmarkGenerated; unless given, it fills one")
	generatedIn      = flag.String("archive.database", "rollcall", "database there")
	generatedSettled = flag.Bool("archive.settled", false, "merge each month into one part first, as the server does within a day after its end")
	generatedRecords = flag.Int64("archive.records", 500_000, "records with which BenchmarkGenerated fills a ClickHouse of its own; some 250,000 make the friendships")
)

// generatedDatabase gives a database that holds a generated history.
func generatedDatabase(b *testing.B) driver.Conn {
	b.Helper()
	dsn, fill := "clickhouse://"+*generatedAt+"/"+*generatedIn, *generatedAt == ""
	if fill {
		dsn = localtest.ClickHouse(b)
	}
	conn := localtest.Tables(b, dsn)
	if fill {
		o := generate.Options{Seed: 1, Accounts: 2000, Friends: 30, Days: 90, Messages: 60, Domain: "example.com", Edges: 2,
			Start: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), Records: *generatedRecords}
		if err := generate.IntoArchive(b.Context(), o, conn, 8, false, new(generate.Progress)); err != nil {
			b.Fatal(err)
		}
	}
	return conn
}

// A sample is a message of a generated history, and so an archive: the larger
// one is, the more likely it is taken.
type sample struct {
	owner, peer jid.Bare
	partition   int32
	id          int64
}

func samples(b *testing.B, conn driver.Conn) (some []sample) {
	b.Helper()
	rows, err := conn.Query(b.Context(), `SELECT owner, peer, partition, toInt64(id) FROM chat_log
WHERE cityHash64(owner, id) % (SELECT 1 + intDiv(count(), 1000) FROM chat_log) = 0 ORDER BY cityHash64(id, owner)`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s sample
		var owner, peer string
		if err := rows.Scan(&owner, &peer, &s.partition, &s.id); err != nil {
			b.Fatal(err)
		}
		s.owner, s.peer = jid.MustBare(owner), jid.MustBare(peer)
		some = append(some, s)
	}
	if err := rows.Err(); err != nil || len(some) < 10 {
		b.Fatalf("%d messages to ask for, %v", len(some), err)
	}
	return some
}

// words that generated messages have, in several languages, often or seldom.
var words = []string{"report", "umbrella", "holiday guitar", "报告", "雨伞", "Vertrag", "отчёт", "паспорт", "コーヒー", "café"}

// BenchmarkGenerated asks a generated history one question after the other, of
// archives that are taken at random, and reports the median and the 99th
// percentile. A page is one of 50 messages with the count of all that match, as
// the edge answers a client; the wait for positions in Postgres is in it.
func BenchmarkGenerated(b *testing.B) {
	conn := generatedDatabase(b)
	if *generatedSettled {
		for _, table := range []string{"chat_log", "presence_change", "presence_span", "minute_online", "account_day", "pair_day"} {
			if err := conn.Exec(b.Context(), "OPTIMIZE TABLE "+table+" FINAL SETTINGS optimize_skip_merged_partitions = 1"); err != nil {
				b.Fatal(err)
			}
		}
	}
	some := samples(b, conn)
	var events, messages, parts uint64
	if err := conn.QueryRow(b.Context(), `SELECT (SELECT count() FROM events), (SELECT count() FROM chat_log),
(SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = 'chat_log')`).Scan(&events, &messages, &parts); err != nil {
		b.Fatal(err)
	}
	sizes := make([]uint64, 0, len(some))
	for _, s := range some {
		var n uint64
		if err := conn.QueryRow(b.Context(), "SELECT count() FROM chat_log WHERE owner = ?", s.owner.String()).Scan(&n); err != nil {
			b.Fatal(err)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	b.Logf("%d events, %d messages in archives, in %d parts; those asked have %d, the largest %d", events, messages, parts, sizes[len(sizes)/2], sizes[len(sizes)-1])

	url, log := localtest.Postgres(b), ends{}
	if err := postgres.Migrate(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	st := &stage{t: b, conn: conn, pool: pool, log: log}
	for p := range int32(8) {
		st.at(p, 1<<40, 1<<40, 1<<40)
	}
	reader := archive.New(archive.Options{ClickHouse: conn, Postgres: pool, Offsets: log})
	page := func(b *testing.B, s sample, change func(*edge.ArchiveQuery)) {
		q := edge.ArchiveQuery{ArchiveOwner: edge.ArchiveOwner{Owner: s.owner, Partition: s.partition},
			Above: -1, Below: edge.NoBound, After: -1, Before: edge.NoBound, Last: true, Max: 50, Bytes: 1 << 20, Each: 300}
		change(&q)
		if _, err := reader.Page(b.Context(), q); err != nil {
			b.Fatal(err)
		}
	}
	ask := func(b *testing.B, query string, args ...any) {
		rows, err := conn.Query(b.Context(), query, args...)
		if err != nil {
			b.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
		}
		if rows.Err() != nil {
			b.Fatal(rows.Err())
		}
	}
	var first time.Time // of the days that were generated
	if err := conn.QueryRow(b.Context(), "SELECT min(minute) FROM minute_online").Scan(&first); err != nil {
		b.Fatal(err)
	}
	for _, question := range []struct {
		name string
		ask  func(b *testing.B, s sample, n int)
	}{
		{"page/last", func(b *testing.B, s sample, _ int) { page(b, s, func(*edge.ArchiveQuery) {}) }},
		{"page/before", func(b *testing.B, s sample, _ int) { page(b, s, func(q *edge.ArchiveQuery) { q.Before = s.id }) }},
		{"page/with", func(b *testing.B, s sample, _ int) { page(b, s, func(q *edge.ArchiveQuery) { q.With = s.peer.JID() }) }},
		{"search", func(b *testing.B, s sample, n int) {
			page(b, s, func(q *edge.ArchiveQuery) { q.Text = words[n%len(words)] })
		}},
		{"counter/account", func(b *testing.B, s sample, _ int) {
			ask(b, "SELECT sum(messages_sent), sum(messages_received), sum(logins) FROM account_counters WHERE account = ?", s.owner.String())
		}},
		{"counter/pair", func(b *testing.B, s sample, _ int) {
			ask(b, "SELECT day, messages_sent, messages_received FROM pair_counters WHERE account = ? AND peer = ?", s.owner.String(), s.peer.String())
		}},
		{"counter/online", func(b *testing.B, s sample, _ int) {
			ask(b, "SELECT sum(seconds) FROM online_seconds WHERE account = ?", s.owner.String())
		}},
		{"counter/unread", func(b *testing.B, s sample, _ int) {
			ask(b, "SELECT sum(messages) FROM unread WHERE account = ?", s.owner.String())
		}},
		{"counter/concurrency", func(b *testing.B, _ sample, n int) {
			day := first.AddDate(0, 0, n%28)
			ask(b, "SELECT max(peak) FROM concurrency_between(first = ?, last = ?)", day.Format(time.DateTime), day.Add(24*time.Hour-time.Minute).Format(time.DateTime))
		}},
	} {
		b.Run(question.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				n := len(took)
				start := time.Now()
				question.ask(b, some[n%len(some)], n)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			at := func(part float64) float64 {
				return took[min(int(part*float64(len(took))), len(took)-1)].Seconds() * 1000
			}
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
		})
	}
}
