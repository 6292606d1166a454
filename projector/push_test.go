package projector_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/rollcall/rollcall/projector/logtest"
)

// What push services are to be told is written with what was folded: of each
// message once, though commits fail and projectors take over from each other,
// and a replay adds nothing.
func TestPushesAreWrittenOnce(t *testing.T) {
	b := newBench(t)
	w := logtest.NewWriter(b.log, 11, 6)
	w.Create()
	b.group.Give("a", all()...)
	o := b.options("a")
	o.BatchRecords = 50
	stop, _ := b.start(o)
	for round := range 8 {
		w.Write(300)
		if round == 4 {
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			b.group.Give("b", all()...)
			o := b.options("b")
			o.BatchRecords = 50
			stop, _ = b.start(o)
		}
		// It ends the connection that asks, too.
		_, _ = b.pool.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	}
	b.settle()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.verify()
	m := newModel(t, b.log)
	for _, p := range all() {
		m.partition(p)
	}
	if len(m.pushes) < 20 {
		t.Fatalf("the history has %d pushes: it shows nothing", len(m.pushes))
	}
	rows, err := b.pool.Query(t.Context(), `SELECT account, service, node, "offset" FROM run.push`)
	if err != nil {
		t.Fatal(err)
	}
	written := make(map[string]bool)
	for rows.Next() {
		var account, service, node string
		var offset int64
		if err := rows.Scan(&account, &service, &node, &offset); err != nil {
			t.Fatal(err)
		}
		written[fmt.Sprintf("%s %s %q %d", account, service, node, offset)] = true
	}
	if !maps.Equal(m.pushes, written) {
		for k := range m.pushes {
			if !written[k] {
				t.Errorf("not written: %s", k)
			}
		}
		for k := range written {
			if !m.pushes[k] {
				t.Errorf("written, and not caused: %s", k)
			}
		}
	}
}
