// Package grafana holds the dashboard to the archive that it asks. deploy/e2e
// holds its other half to the metrics of the roles.
package grafana

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

type dashboard struct {
	Panels []panel
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource source
	GridPos    struct{ X, Y, W, H int }
	Targets    []target
}

type target struct {
	RefID      string `json:"refId"`
	Datasource source
	Format     int    // 0: a time series, 1: a table
	RawSQL     string `json:"rawSql"`
	Expr       string
}

type source struct{ Type, UID string }

func read(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("rollcall.json")
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What Grafana puts for a macro of its ClickHouse data source, and for a
// variable, over a day.
var macros = []struct {
	macro *regexp.Regexp
	value string
}{
	{regexp.MustCompile(`\$__timeFilter\((\w+)\)`), `$1 >= toDateTime(1763938800) AND $1 <= toDateTime(1764025200)`},
	{regexp.MustCompile(`\$__dateFilter\((\w+)\)`), `$1 >= toDate('2025-11-23') AND $1 <= toDate('2025-11-24')`},
	{regexp.MustCompile(`\$__timeInterval\((\w+)\)`), `toStartOfInterval(toDateTime($1), INTERVAL 120 second)`},
	{regexp.MustCompile(`\$__fromTime\b`), `toDateTime(1763938800)`},
	{regexp.MustCompile(`\$__toTime\b`), `toDateTime(1764025200)`},
	{regexp.MustCompile(`\$\{account:sqlstring\}`), `'juliet@localhost'`},
}

func expand(sql string) string {
	for _, m := range macros {
		sql = m.macro.ReplaceAllString(sql, m.value)
	}
	return sql
}

// said is one day of an account: it logs in, gets a message, is seen by
// another, and is in a storm.
const said = `INSERT INTO events (account, partition, offset, kind, at, archived, binding, resource, edge, epoch, peer, verb, sequence, origin)
SELECT if(number = 14, 'romeo@localhost', 'juliet@localhost'), 0, number,
    multiIf(number < 12, 'resource_bound', number = 12, 'presence_available', number = 13, 'message_accepted', number = 14, 'subscription_received', 'message_sent'),
    toDateTime64('2025-11-24 10:00:00', 6, 'UTC') + number, true, toUUID('00000000-0000-0000-0000-0000000000b1'), 'r', 'e1', 1,
    if(number = 14, 'juliet@localhost', 'romeo@localhost'), if(number = 14, 'subscribed', ''), number, ''
FROM numbers(16)`

// online is what the history writer notes of it beside the events.
const online = `INSERT INTO presence_span (account, resource, binding, edge, begun, since, at, ended)
SELECT account, resource, binding, edge, 12, online_from, online_from, false FROM session_spans`

// TestQueries runs every query of the dashboard: each is one that the archive
// understands and gives rows for a day on which everything happened; a time
// series has its time first.
func TestQueries(t *testing.T) {
	conn := localtest.Tables(t, localtest.ClickHouse(t))
	for _, insert := range []string{said, online} {
		if err := conn.Exec(t.Context(), insert); err != nil {
			t.Fatal(err)
		}
	}
	asked := 0
	for _, p := range read(t).Panels {
		for _, q := range p.Targets {
			if q.RawSQL == "" {
				continue
			}
			asked++
			t.Run(p.Title+"/"+q.RefID, func(t *testing.T) {
				sql := expand(q.RawSQL)
				if strings.Contains(sql, "$") {
					t.Fatalf("a macro is not known: %s", sql)
				}
				rows, err := conn.Query(t.Context(), sql)
				if err != nil {
					t.Fatalf("%v\n%s", err, sql)
				}
				defer rows.Close()
				if columns, types := rows.Columns(), rows.ColumnTypes(); q.Format == 0 &&
					(columns[0] != "time" || !strings.HasPrefix(types[0].DatabaseTypeName(), "DateTime")) {
					t.Errorf("a time series begins with %s %s", columns[0], types[0].DatabaseTypeName())
				}
				n := 0
				for rows.Next() {
					n++
				}
				if err := rows.Err(); err != nil || n == 0 {
					t.Errorf("%d rows, %v\n%s", n, err, sql)
				}
			})
		}
	}
	if asked < 15 {
		t.Errorf("%d queries", asked)
	}
}

// TestPanels: what a panel asks comes from one of the data sources that are
// provisioned, no two panels have one id or one place, and each has a title.
func TestPanels(t *testing.T) {
	provisioned, err := os.ReadFile("provisioning/datasources/rollcall.yaml")
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]string)
	place := make(map[[2]int]string)
	for _, p := range read(t).Panels {
		if p.Title == "" || ids[p.ID] != "" {
			t.Errorf("panel %d is %q and %q", p.ID, ids[p.ID], p.Title)
		}
		ids[p.ID] = p.Title
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := place[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				place[[2]int{x, y}] = p.Title
			}
		}
		for _, q := range p.Targets {
			want := map[string]string{"grafana-clickhouse-datasource": q.RawSQL, "prometheus": q.Expr}
			if want[q.Datasource.Type] == "" || (q.RawSQL == "") == (q.Expr == "") {
				t.Errorf("%s, %s: a query of %+v", p.Title, q.RefID, q.Datasource)
			}
			if !strings.Contains(string(provisioned), "    uid: "+q.Datasource.UID+"\n    type: "+q.Datasource.Type+"\n") {
				t.Errorf("%s, %s: %+v is not provisioned", p.Title, q.RefID, q.Datasource)
			}
		}
	}
}
