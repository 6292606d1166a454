package clickhouse_test

import (
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// A day of b@x: five messages from a@x, of which one was refused, one is a
// copy and one is left out by b's preferences; and one that a@x sent to itself
// alone. A withheld row that is a late copy of a record withholds nothing.
const withheld = `INSERT INTO events (account, partition, offset, kind, at, id, archived, ignored, peer, message_type, body, stanza_id, origin_id, reference, reason) VALUES
('b@x',1, 4,'message_accepted','2026-11-24 10:00:04',` + b1 + `,true,false,'a@x/r','chat','stays','m4','o4',0,''),
('b@x',1, 5,'message_accepted','2026-11-24 10:00:05',` + b1 + `,true,false,'a@x/r','chat','refused','m5','',0,''),
('b@x',1, 6,'message_accepted','2026-11-24 10:00:06',` + b1 + `,true,false,'a@x/r','chat','stays','m4','o4',0,''),
('b@x',1, 7,'message_accepted','2026-11-24 10:00:07',` + b1 + `,true,false,'a@x/r','chat','private','m7','',0,''),
('b@x',1, 8,'message_withheld','2026-11-24 10:00:05',` + b2 + `,true,false,'a@x/r','','','','',5,'refused'),
('b@x',1, 9,'message_withheld','2026-11-24 10:00:06',` + b2 + `,true,false,'a@x/r','','','','',6,'copy'),
('b@x',1,10,'message_withheld','2026-11-24 10:00:07',` + b2 + `,true,false,'a@x/r','','','','',7,'preferences'),
('b@x',1,11,'message_withheld','2026-11-24 10:00:04',` + b2 + `,true,true, 'a@x/r','','','','',4,'refused'),
('a@x',0, 5,'message_sent',    '2026-11-24 10:00:05',` + b3 + `,true,false,'b@x',  'chat','of another','','',0,'')`

// What is withheld is in no archive from the moment the row is there, and what
// was refused or is a copy is not counted; both once, however often the block
// comes.
func TestWithheld(t *testing.T) {
	conn := migrated(t)
	for range 2 {
		run(t, conn, withheld, driver.Settings{
			"async_insert": 0, "insert_deduplication_token": "block", "deduplicate_blocks_in_dependent_materialized_views": 1,
		})
	}
	want := []string{"a@x 5 of another  ", "b@x 4 stays o4 m4"}
	const columns = "SELECT concat(owner, ' ', toString(id), ' ', body, ' ', origin_id, ' ', message_id) FROM "
	same(t, text(t, conn, columns+"archive ORDER BY owner, id"), want)
	same(t, text(t, conn, columns+"archive_of(owner = 'b@x') ORDER BY id"), want[1:])
	same(t, text(t, conn, columns+"archive_of(owner = 'a@x') ORDER BY id"), want[:1])
	same(t, text(t, conn, columns+"archive_of(owner = 'b@x') WHERE position(words, normalizeUTF8NFKCCasefold('STAYS')) > 0 ORDER BY id"), want[1:])
	same(t, text(t, conn, columns+"archive_of(owner = 'b@x') WHERE position(words, 'refused') > 0"), nil)
	same(t, text(t, conn, "SELECT concat(account, ' ', toString((messages_sent, messages_received))) FROM account_counters ORDER BY account"),
		[]string{"a@x (1,0)", "b@x (0,2)"})
	same(t, text(t, conn, "SELECT concat(toString(id), ' ', reason, ' ', peer, ' ', toString(offset)) FROM withheld ORDER BY id"),
		[]string{"5 refused a@x 8", "6 copy a@x 9", "7 preferences a@x 10"})
}

// A page of one archive reads the end of the owner's rows backwards, and of
// what is withheld the owner's alone.
func TestArchivePageReadsLittle(t *testing.T) {
	conn := migrated(t)
	run(t, conn, `INSERT INTO withheld (owner, id, at) SELECT concat('u', toString(number % 50000), '@x'), number, '2026-11-24 10:00:00' FROM numbers(1000000)`, nil)
	run(t, conn, `INSERT INTO chat_log (owner, id, at) SELECT concat('u', toString(number % 50000), '@x'), number + 1000000, '2026-11-24 10:00:00' FROM numbers(1000000)`, nil)
	plan := strings.Join(text(t, conn, `EXPLAIN indexes = 1, actions = 1
SELECT id, body FROM archive_of(owner = 'u7@x') WHERE id < 1500000 ORDER BY id DESC LIMIT 20`), "\n")
	if !strings.Contains(plan, "Read type: InReverseOrder") {
		t.Errorf("the page is not read backwards:\n%s", plan)
	}
	const page = `SELECT toString(count()) FROM (SELECT id, body FROM archive_of(owner = 'u7@x') ORDER BY id DESC LIMIT 20)`
	var read uint64
	ctx := driver.Context(t.Context(), driver.WithProgress(func(p *driver.Progress) { read += p.Rows }))
	var n string
	if err := conn.QueryRow(ctx, page).Scan(&n); err != nil || n != "20" {
		t.Fatal(n, err)
	}
	if read == 0 || read > 100_000 {
		t.Errorf("%d rows read for a page of 20", read)
	}
}
