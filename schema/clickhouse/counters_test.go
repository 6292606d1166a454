package clickhouse_test

import "testing"

// fed is the state of every table that is fed from events by a materialized
// view which a later migration brought.
const fed = `SELECT * FROM (SELECT concat('pair ', toString(groupArray((account, peer, messages_sent, messages_received)))) FROM (SELECT * FROM pair_counters ORDER BY ALL)
UNION ALL SELECT concat('unread ', toString(groupArray((account, peer, messages)))) FROM (SELECT * FROM unread ORDER BY ALL)
UNION ALL SELECT concat('activity ', toString(groupArray((formatDateTime(minute, '%H:%i'), logins, presence_changes, messages)))) FROM (SELECT * FROM activity ORDER BY ALL)
UNION ALL SELECT concat('audience ', toString(groupArray((account, day, subscribers)))) FROM (SELECT * FROM audience ORDER BY ALL)) ORDER BY 1`

var fedWant = []string{
	"activity [('10:00',1,2,0),('10:01',0,1,0),('10:02',0,1,0),('10:06',1,1,2),('23:59',2,2,0)]",
	"audience [('a@x','2026-11-24',1)]",
	"pair [('a@x','b@x',1,1),('b@x','a@x',1,1)]",
	"unread [('b@x','a@x',1)]",
}

// counted completes said: what was delivered, and one who sees a@x.
const counted = `INSERT INTO events (account, partition, offset, kind, at, origin, sequence, peer, verb, reference) VALUES
('a@x',0,22,'delivered',            '2026-11-24 10:06:21','e/1/1',1,'',   '',          21),
('b@x',1, 7,'subscription_received','2026-11-24 10:06:30','p/0',  23,'a@x','subscribed', 0)`

// TestFillsFromArchive: a migration that brings a table fills it with what
// events has, once, also where several processes do it at once, or one does it
// late, and the materialized views go on from there.
func TestFillsFromArchive(t *testing.T) {
	conn := migrated(t)
	later := func() {
		run(t, conn, "ALTER TABLE rollcall_version DELETE WHERE version_id >= 7 SETTINGS mutations_sync = 2", nil)
		run(t, conn, "CREATE OR REPLACE VIEW archive AS SELECT * FROM chat_log", nil) // with the columns that it had then
	}
	run(t, conn, spoken, nil)
	run(t, conn, said, nil)
	run(t, conn, counted, nil)
	same(t, text(t, conn, fed), fedWant)
	later() // a process that began to migrate earlier comes late
	again(t, conn, 1)
	same(t, text(t, conn, fed), fedWant)
	for _, table := range []string{"pair_day", "inbox_change", "minute_activity", "subscriber_change"} {
		run(t, conn, "DROP VIEW "+table+"_feed SYNC", nil)
		run(t, conn, "DROP TABLE "+table+" SYNC", nil)
	}
	for range 2 {
		later()
		again(t, conn, 3)
		same(t, text(t, conn, fed), fedWant)
	}
	run(t, conn, `INSERT INTO events (account, partition, offset, kind, at, archived, peer) VALUES
		('b@x', 1, 8, 'message_accepted', '2026-11-24 10:06:40', true, 'a@x/r')`, nil)
	same(t, text(t, conn, "SELECT toString((messages_received, (SELECT messages FROM unread))) FROM pair_counters WHERE account = 'b@x'"), []string{"(2,2)"})
}

// TestStorms: a minute is compared with the median of the hour before it; a
// second storm within the hour is one still, and a rise that stays is none.
func TestStorms(t *testing.T) {
	conn := migrated(t)
	// Logins by minute from 10:00 on: 10 are no storm, 11 are; then 3 is usual,
	// so 15 are no storm and 16 are.
	run(t, conn, `INSERT INTO events (account, partition, offset, kind, at)
WITH arrayConcat([10, 11, 0, 12, 40, 3], arrayWithConstant(60, 3), [15, 16, 3, 100, 90], arrayWithConstant(40, 20)) AS logins
SELECT 'a@x', 0, number, 'resource_bound', toDateTime64('2026-11-24 10:00:07', 6, 'UTC') + toIntervalMinute(minute)
FROM (SELECT arrayJoin(arrayFlatten(arrayMap((n, i) -> arrayWithConstant(n, i - 1), logins, arrayEnumerate(logins)))) AS minute, rowNumberInAllBlocks() AS number)`, nil)
	same(t, text(t, conn, `SELECT concat(formatDateTime(started, '%H:%i'), ' ', toString((minutes, logins, peak, usual))) FROM storms ORDER BY started`), []string{
		"10:01 (1,11,11,0)",
		"10:03 (2,52,40,0)",
		"11:07 (1,16,16,3)",
		"11:09 (29,730,100,3)", // until 31 of 60 minutes had more than 3
	})
}
