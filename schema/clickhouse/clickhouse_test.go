package clickhouse_test

import (
	"fmt"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/schema/clickhouse"
)

// migrated gives a connection to an empty database with our tables.
func migrated(t *testing.T) driver.Conn {
	t.Helper()
	dsn := localtest.ClickHouse(t)
	localtest.Tables(t, dsn)
	return localtest.Tables(t, dsn) // there is nothing more to do
}

// again migrates the database of conn once more, in some processes at once.
func again(t *testing.T, conn driver.Conn, processes int) {
	t.Helper()
	parsed, err := driver.ParseDSN(localtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	name := text(t, conn, "SELECT currentDatabase()")[0]
	done := make(chan error)
	for range processes {
		go func() { done <- clickhouse.Migrate(t.Context(), parsed.Addr[0], name) }()
	}
	for range processes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func run(t *testing.T, conn driver.Conn, statement string, settings driver.Settings) {
	t.Helper()
	if err := conn.Exec(driver.Context(t.Context(), driver.WithSettings(settings)), statement); err != nil {
		t.Fatalf("%v\n%s", err, statement)
	}
}

// text gives the rows of a query whose one column is a string.
func text(t *testing.T, conn driver.Conn, query string) (lines []string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range [][2]string{{"127.0.0.1:9000", ""}, {"127.0.0.1:9000", "a`b"}, {"clickhouse://%zz:secret@h", "a"}} {
		if o, err := clickhouse.Options(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %+v", bad, o)
		}
	}
	o, err := clickhouse.Options("clickhouse://u:p@h:1/other", clickhouse.Database)
	if err != nil || o.Auth.Database != "rollcall" || o.Auth.Username != "u" || o.Addr[0] != "h:1" {
		t.Errorf("%+v, %v", o, err)
	}
}

// TestMigrateAtOnce: processes that start together do not disturb one another.
func TestMigrateAtOnce(t *testing.T) {
	dsn := localtest.ClickHouse(t)
	parsed, err := driver.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for range 4 {
		go func() { done <- clickhouse.Migrate(t.Context(), dsn, parsed.Auth.Database) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if err := clickhouse.Migrate(t.Context(), dsn, parsed.Auth.Database); err != nil {
		t.Error(err)
	}
}

// TestTokenMendsViews: a block that reached events and not the tables fed from
// it goes again under its token and reaches them, and events keeps it once.
func TestTokenMendsViews(t *testing.T) {
	conn := migrated(t)
	insert := func() {
		run(t, conn, `INSERT INTO events (account, partition, offset, kind, at, archived, peer, body) VALUES
('a@x', 0, 7, 'message_accepted', '2026-11-24 10:00:00', true, 'b@x/r', 'hello')`, driver.Settings{
			"async_insert": 0, "insert_deduplication_token": "block",
			"deduplicate_blocks_in_dependent_materialized_views": 1,
		})
	}
	run(t, conn, "DETACH TABLE chat_log_feed", nil)
	insert()
	run(t, conn, "ATTACH TABLE chat_log_feed", nil)
	same(t, text(t, conn, "SELECT toString((SELECT count() FROM events, chat_log)) "), []string{"0"})
	insert()
	insert()
	same(t, text(t, conn, `SELECT toString(((SELECT count() FROM events), (SELECT count() FROM chat_log),
		(SELECT messages_received FROM account_counters)))`), []string{"(1,1,1)"})
	same(t, text(t, conn, "SELECT concat(owner, ' ', toString(direction), ' ', peer, ' ', peer_resource, ' ', body) FROM chat_log"),
		[]string{"a@x received b@x r hello"})
}

const (
	b1 = "'00000000-0000-0000-0000-0000000000b1'"
	b2 = "'00000000-0000-0000-0000-0000000000b2'"
	b3 = "'00000000-0000-0000-0000-0000000000b3'"
	b4 = "'00000000-0000-0000-0000-0000000000b4'"
)

// spoken is one account's day: two presences in one session, a reconnect, an
// edge that dies, a late farewell, and a session over midnight.
const spoken = `INSERT INTO events (account, partition, offset, kind, at, binding, resource, edge, epoch, ignored) VALUES
('a@x',0, 1,'resource_bound',      '2026-11-24 10:00:00',` + b1 + `,'r','e1',4,false),
('a@x',0, 2,'presence_available',  '2026-11-24 10:00:10',` + b1 + `,'r','',0,false),
('a@x',0, 3,'presence_available',  '2026-11-24 10:00:20',` + b1 + `,'r','',0,false),
('a@x',0, 4,'presence_unavailable','2026-11-24 10:01:00',` + b1 + `,'r','',0,false),
('a@x',0, 5,'presence_available',  '2026-11-24 10:02:00',` + b1 + `,'r','',0,false),
('',   0, 6,'edge_lost',           '2026-11-24 10:05:00','00000000-0000-0000-0000-000000000000','','e1',3,false),
('a@x',0, 7,'resource_bound',      '2026-11-24 10:06:00',` + b2 + `,'r','e1',4,false),
('a@x',0, 8,'presence_available',  '2026-11-24 10:06:01',` + b2 + `,'r','',0,false),
('a@x',0, 9,'resource_closed',     '2026-11-24 10:06:30',` + b1 + `,'r','',0,false),
('a@x',0,10,'presence_unavailable','2026-11-24 10:06:40',` + b2 + `,'r','',0,true),
('',   1, 3,'edge_lost',           '2026-11-24 10:06:50','00000000-0000-0000-0000-000000000000','','e1',5,false),
('',   0,11,'edge_lost',           '2026-11-24 10:07:00','00000000-0000-0000-0000-000000000000','','e1',5,false),
('',   0,12,'edge_lost',           '2026-11-24 10:09:00','00000000-0000-0000-0000-000000000000','','e1',5,false),
('a@x',0,13,'resource_bound',      '2026-11-24 23:59:00',` + b3 + `,'q','e1',6,false),
('a@x',0,14,'presence_available',  '2026-11-24 23:59:30',` + b3 + `,'q','',0,false),
('a@x',0,15,'resource_bound',      '2026-11-24 23:59:30',` + b4 + `,'p','e1',6,false),
('a@x',0,16,'presence_available',  '2026-11-24 23:59:40',` + b4 + `,'p','',0,false),
('a@x',0,17,'resource_closed',     '2026-11-25 00:00:05',` + b3 + `,'q','',0,false)`

// spanned makes presence_span what the history writer makes it, of sessions.
func spanned(t *testing.T, conn driver.Conn) {
	t.Helper()
	run(t, conn, "TRUNCATE TABLE presence_span", nil)
	run(t, conn, "TRUNCATE TABLE minute_online", nil)
	run(t, conn, `INSERT INTO presence_span (account, resource, binding, edge, begun, since, at, ended)
SELECT account, resource, binding, edge, n, online_from, if(ends, assumeNotNull(online_to), online_from), arrayJoin(if(isNull(online_to), [false], [false, true])) AS ends
FROM (SELECT *, rowNumberInAllBlocks() AS n FROM session_spans)`, nil)
}

func TestPresenceViews(t *testing.T) {
	conn := migrated(t)
	run(t, conn, spoken, nil)
	spanned(t, conn)
	same(t, text(t, conn, `SELECT concat(resource, ' ', formatDateTime(online_from, '%H:%i:%S'), ' ',
		ifNull(formatDateTime(online_to, '%H:%i:%S'), 'online')) FROM presence_spans WHERE account = 'a@x' ORDER BY online_from`), []string{
		"r 10:00:10 10:01:00",
		"r 10:02:00 10:06:00", // until its resource was bound again
		"r 10:06:01 10:07:00", // until its edge was lost in its partition
		"q 23:59:30 00:00:05",
		"p 23:59:40 online",
	})
	run(t, conn, `INSERT INTO events (account, partition, offset, kind, at, binding, resource) VALUES
		('a@x',0,18,'resource_closed','2026-11-25 00:00:10',`+b4+`,'p')`, nil)
	spanned(t, conn)
	same(t, text(t, conn, `SELECT concat(toString(day), ' ', toString(seconds)) FROM online_seconds WHERE account = 'a@x' ORDER BY day`),
		[]string{"2026-11-24 379", "2026-11-25 10"})
	const minutes = "SELECT concat(formatDateTime(minute, '%H:%i'), ' ', toString(online), ' ', toString(peak)) FROM "
	same(t, text(t, conn, minutes+`concurrency WHERE minute < '2026-11-24 10:09:00' OR minute >= '2026-11-24 23:58:00' ORDER BY minute`), []string{
		"10:00 1 1", "10:01 0 1", "10:02 1 1", "10:03 1 1", "10:04 1 1", "10:05 1 1", "10:06 1 1", "10:07 0 1", "10:08 0 0",
		"23:58 0 0", "23:59 2 2", "00:00 0 2"})
	for _, part := range []struct {
		first, last string
		want        []string
	}{
		{"2026-11-24 09:58:00", "2026-11-24 10:01:00", []string{"09:58 0 0", "09:59 0 0", "10:00 1 1", "10:01 0 1"}},
		{"2026-11-24 10:04:30", "2026-11-24 10:08:00", []string{"10:04 1 1", "10:05 1 1", "10:06 1 1", "10:07 0 1", "10:08 0 0"}},
		{"2026-11-24 10:07:00", "2026-11-24 10:07:59", []string{"10:07 0 1"}},
		{"2026-11-24 23:58:00", "2026-11-25 00:01:00", []string{"23:58 0 0", "23:59 2 2", "00:00 0 2", "00:01 0 0"}},
	} {
		same(t, text(t, conn, minutes+fmt.Sprintf("concurrency_between(first = '%s', last = '%s') ORDER BY minute", part.first, part.last)), part.want)
	}
	now := time.Now().UTC()
	if got := text(t, conn, minutes+fmt.Sprintf("concurrency_between(first = '%s', last = '%s')", now.Add(-time.Hour).Format(time.DateTime), now.AddDate(1, 0, 0).Format(time.DateTime))); len(got) < 60 || len(got) > 62 {
		t.Errorf("the minutes of an hour and a year to come: %d", len(got))
	}
	same(t, text(t, conn, `SELECT toString((presence_changes, logins)) FROM account_counters WHERE account = 'a@x' ORDER BY day`),
		[]string{"(7,4)"})
}

// TestDelete: rows of an account can be deleted from every table, out of the
// projection too.
func TestDelete(t *testing.T) {
	conn := migrated(t)
	run(t, conn, spoken, nil)
	spanned(t, conn)
	if err := conn.Exec(t.Context(), "DELETE FROM events WHERE account = 'a@x'"); err == nil {
		t.Error("a lightweight DELETE from events passed")
	}
	run(t, conn, "ALTER TABLE events DELETE WHERE account = 'a@x'", driver.Settings{"mutations_sync": 2})
	for _, where := range []string{"presence_change WHERE account", "presence_span WHERE account", "account_day WHERE account", "chat_log WHERE owner", "withheld WHERE owner"} {
		run(t, conn, "DELETE FROM "+where+" = 'a@x'", driver.Settings{"lightweight_deletes_sync": 2})
	}
	same(t, text(t, conn, "SELECT toString(offset) FROM events WHERE partition = 0 AND offset >= 0 AND offset < 100 ORDER BY offset"),
		[]string{"6", "11", "12"})
	same(t, text(t, conn, "SELECT account FROM presence_spans"), nil)
	same(t, text(t, conn, "SELECT account FROM account_counters"), nil)
}

// TestByPosition: what replay reads comes from the projection, in order.
func TestByPosition(t *testing.T) {
	conn := migrated(t)
	run(t, conn, spoken, nil)
	got := text(t, conn, `SELECT explain FROM (EXPLAIN SELECT offset, account, raw FROM events
		WHERE partition = 0 AND offset >= 1 AND offset < 9 ORDER BY offset) WHERE explain LIKE '%by_position%'`)
	if len(got) != 1 {
		t.Errorf("the plan does not name by_position: %q", got)
	}
}

// The server's log, which tells each failed statement, is no place to begin with.
func TestTheFirstMigrationFailsAtNothing(t *testing.T) {
	parsed, err := driver.ParseDSN(localtest.ClickHouse(t))
	if err != nil {
		t.Fatal(err)
	}
	o, err := clickhouse.Options(parsed.Addr[0], parsed.Auth.Database)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := driver.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	unknown := func() string {
		all := text(t, conn, "SELECT toString(sum(value)) FROM system.errors WHERE name = 'UNKNOWN_TABLE'")
		return fmt.Sprint(all)
	}
	before := unknown()
	if err := clickhouse.Migrate(t.Context(), parsed.Addr[0], parsed.Auth.Database+"_first"); err != nil {
		t.Fatal(err)
	}
	if after := unknown(); after != before {
		t.Errorf("%s statements asked for a table that is not there, and %s before", after, before)
	}
}
