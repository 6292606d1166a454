package httpapi

import (
	"fmt"
	"testing"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/ingest/feed"
	"github.com/rollcall/rollcall/schema/topic"
)

func TestStats(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), false)
	l.account(0, "juliet@localhost", "romeo@localhost", "paris@elsewhere")
	l.resource("juliet@localhost", "balcony", "", "", 0)
	l.resource("juliet@localhost", "chamber", "", "", 0)
	l.resource("romeo@localhost", "orchard", "", "", 0)
	l.resource("paris@elsewhere", "hall", "", "", 0)
	l.execute(`INSERT INTO views.hidden VALUES ('romeo@localhost', 'orchard', '')`)
	n := partitionOf("juliet@localhost")
	for range 3 {
		done := make(chan error, 1)
		l.appender.Append(eventlog.Record{Topic: topic.Account, Partition: n, Value: []byte("x")}, true, func(_ topic.Position, err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	l.execute(fmt.Sprintf(`UPDATE views.projected SET next_offset = 2 WHERE partition = %d`, n))
	l.execute(`INSERT INTO run.lease (kind, id, epoch, address, expires_at, lost, domain) VALUES
		('edge', 'edge-2', 7, 'a:1', now() + interval '1 h', false, 'localhost'),
		('edge', 'gone', 8, 'a:1', now() + interval '1 h', true, 'localhost'),
		('edge', 'late', 9, 'a:1', now() - interval '1 s', false, 'localhost'),
		('edge', 'other', 10, 'a:1', now() + interval '1 h', false, 'elsewhere')`)
	var got statsView
	l.get("/v1/stats", 200, &got)
	position := make(feed.Vector)
	for p := range int32(partitions) {
		position[p] = feed.Mark{Offset: -1}
	}
	position[n] = feed.Mark{Offset: 1}
	if want := (statsView{Domain: "localhost", Accounts: 2, Online: onlineView{1, 2}, Edges: []edgeView{{"edge-1", 3, 2}, {"edge-2", 0, 0}}, Lag: lagView{1, 3},
		Position: position.String()}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}
