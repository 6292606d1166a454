package clickhouse_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// Whatever is said, in time, late or by whom nobody asks any more, and whenever
// edges are lost, online_seconds says what the spans of presence_spans add up to.
func TestOnlineSecondsOfAnything(t *testing.T) {
	for seed := range uint64(4) {
		conn := migrated(t)
		run(t, conn, "INSERT INTO events (account, partition, offset, kind, at, binding, resource, edge, epoch) VALUES "+anything(rand.New(rand.NewPCG(seed, 0)), 3000), nil)
		const spans = `SELECT account, day, intervalLengthSum(toUnixTimestamp64Micro(greatest(online_from, day::DateTime64(6, 'UTC'))),
	toUnixTimestamp64Micro(least(until, (day + 1)::DateTime64(6, 'UTC')))) / 1000000 AS seconds
FROM (
	SELECT account, online_from, ifNull(online_to, now64(6, 'UTC')) AS until, arrayJoin(range(toUInt16(toDate(online_from)), toUInt16(toDate(until)) + 1))::Date AS day
	FROM presence_spans
) GROUP BY account, day`
		got := text(t, conn, `SELECT toString((count() > 50, sum(a.seconds) > 86400, countIf(abs(a.seconds - b.seconds) > 1))) FROM online_seconds AS a
FULL JOIN (`+spans+`) AS b ON b.account = a.account AND b.day = a.day`)
		same(t, got, []string{"(1,1,0)"})
	}
}

// anything gives n random events of a month, as values of an INSERT.
func anything(random *rand.Rand, n int) string {
	accounts := []struct {
		name      string
		partition int
	}{{"a@x", 0}, {"b@x", 1}, {"c@x", 1}}
	at := time.Now().UTC().AddDate(0, 0, -40)
	bindings, epoch := make(map[string][]string), map[string]int{"e1": 1, "e2": 1}
	var rows []string
	for offset := range n {
		at = at.Add(time.Duration(random.ExpFloat64() * float64(15*time.Minute)))
		row := func(account string, partition int, kind, binding, resource, edge string, epoch int) {
			rows = append(rows, fmt.Sprintf("('%s', %d, %d, '%s', '%s', '%s', '%s', '%s', %d)",
				account, partition, offset, kind, at.Format("2006-01-02 15:04:05.000000"), binding, resource, edge, epoch))
		}
		account, resource, edge := accounts[random.IntN(3)], []string{"r", "q"}[random.IntN(2)], []string{"e1", "e2"}[random.IntN(2)]
		known := bindings[account.name+resource]
		switch {
		case random.IntN(60) == 0: // in one partition earlier than in the other, or of an epoch that is long over
			row("", random.IntN(2), "edge_lost", uuid.Nil.String(), "", edge, max(epoch[edge]-random.IntN(3), 1))
			epoch[edge] += random.IntN(2)
		case len(known) == 0 || random.IntN(5) == 0:
			binding := fmt.Sprintf("00000000-0000-0000-0000-%012x", offset+1)
			bindings[account.name+resource] = append(known, binding)
			row(account.name, account.partition, "resource_bound", binding, resource, edge, max(epoch[edge]-random.IntN(2), 1))
		default: // at times of an earlier binding
			kind := []string{"presence_available", "presence_available", "presence_unavailable", "resource_closed"}[random.IntN(4)]
			row(account.name, account.partition, kind, known[max(len(known)-1-random.IntN(2)*random.IntN(3), 0)], resource, "", 0)
		}
	}
	return strings.Join(rows, ",")
}
