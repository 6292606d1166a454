package clickhouse_test

import (
	"fmt"
	"strings"
	"testing"
)

// said is a short conversation, with a copy that does not count.
const said = `INSERT INTO events (account, partition, offset, kind, at, id, accepted, archived, ignored, resource, peer, message_type, body) VALUES
('a@x',0,20,'message_sent',    '2026-11-24 10:06:10',` + b1 + `,` + b2 + `,true,false,'r','b@x',  'chat','hello'),
('b@x',1, 4,'message_accepted','2026-11-24 10:06:10',` + b2 + `,` + b4 + `,true,false,'', 'a@x/r','chat','hello'),
('b@x',1, 5,'message_accepted','2026-11-24 10:06:10',` + b2 + `,` + b4 + `,true,true, '', 'a@x/r','chat','hello'),
('b@x',1, 6,'message_sent',    '2026-11-24 10:06:20',` + b3 + `,` + b1 + `,true,false,'q','a@x/r','chat','hello you'),
('a@x',0,21,'message_accepted','2026-11-24 10:06:20',` + b1 + `,` + b4 + `,true,false,'r','b@x/q','chat','hello you')`

// TestQueries runs what an analyst types, as the README shows it.
func TestQueries(t *testing.T) {
	conn := migrated(t)
	run(t, conn, spoken, nil)
	run(t, conn, said, nil)
	spanned(t, conn)
	for _, c := range []struct{ name, query, want string }{
		{"online now", `SELECT account, resource, online_from FROM presence_spans WHERE online_to IS NULL ORDER BY account`,
			"a@x p 2026-11-24 23:59:40.000000"},
		{"online at a past moment", `SELECT account, resource FROM presence_spans
WHERE online_from <= '2026-11-24 10:06:30' AND (online_to IS NULL OR online_to > '2026-11-24 10:06:30')`, "a@x r"},
		{"chat between two accounts", `SELECT at, direction, body FROM archive
WHERE owner = 'a@x' AND peer = 'b@x' ORDER BY id DESC LIMIT 50`,
			"2026-11-24 10:06:20.000000 received hello you; 2026-11-24 10:06:10.000000 sent hello"},
		{"messages with a word", `SELECT at, peer, body FROM chat_log
WHERE owner = 'a@x' AND position(words, normalizeUTF8NFKCCasefold('YOU')) > 0 ORDER BY id DESC`, "2026-11-24 10:06:20.000000 b@x hello you"},
		{"counters of an account", `SELECT * FROM account_counters WHERE account = 'b@x' ORDER BY day DESC LIMIT 30`,
			"b@x 2026-11-24 1 1 0 0 0"},
		{"presence spans of an account", `SELECT resource, online_from, online_to, dateDiff('second', online_from, online_to) AS seconds
FROM presence_spans WHERE account = 'a@x' ORDER BY online_from LIMIT 1`,
			"r 2026-11-24 10:00:10.000000 2026-11-24 10:01:00.000000 50"},
		{"busiest minute", `SELECT minute, peak FROM concurrency ORDER BY peak DESC, minute LIMIT 1`, "2026-11-24 23:59:00 2"},
		{"top talkers", `SELECT account, sum(messages_sent) AS sent FROM account_counters
WHERE day >= '2026-11-01' GROUP BY account ORDER BY sent DESC, account LIMIT 10`, "a@x 1; b@x 1"},
		{"logins a day", `SELECT day, sum(logins), uniqExactIf(account, logins > 0) AS accounts
FROM account_counters GROUP BY day ORDER BY day`, "2026-11-24 4 1"},
		{"seconds online by day", `SELECT day, seconds FROM online_seconds WHERE account = 'a@x' AND day = '2026-11-24'`, "2026-11-24 379"},
		{"all that happened to an account", `SELECT offset, kind FROM events
WHERE NOT ignored AND (account = 'b@x' OR account = '' AND partition = 1) ORDER BY offset`,
			"3 edge_lost; 4 message_accepted; 6 message_sent"},
		{"what was not counted", `SELECT kind, count() AS records FROM events WHERE ignored GROUP BY kind ORDER BY kind`,
			"message_accepted 1; presence_unavailable 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Every column as text, in the words of TSV.
			got := text(t, conn, fmt.Sprintf("SELECT arrayStringConcat(arrayMap(c -> toString(c), [COLUMNS('.*') APPLY toString]), ' ') FROM (%s)", c.query))
			if line := strings.Join(got, "; "); line != c.want {
				t.Errorf("got %s, want %s", line, c.want)
			}
		})
	}
}
