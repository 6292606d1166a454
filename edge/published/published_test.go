package published

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/node"
	"github.com/rollcall/rollcall/schema/postgres"
)

func opened(t *testing.T) (*Reader, func(sql string)) {
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return New(pool), func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func of(account, viewer string, after int64) edge.Asked {
	return edge.Asked{Account: jid.MustBare(account + "@x"), Viewer: jid.MustBare(viewer + "@x"), Partition: 3, After: after}
}

// house has juliet, whom romeo may see, with nodes of each access.
const house = `
INSERT INTO views.projected VALUES (3, 10, '', 1, now());
INSERT INTO views.account VALUES ('juliet@x', 3, 1, '2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z', 'asleep'), ('romeo@x', 3, 2, '2026-01-02T00:00:00Z', NULL, '');
INSERT INTO views.roster_item (account, contact, name, groups, state, version, removed) VALUES ('juliet@x', 'romeo@x', '', '{}', 2, 1, false);
INSERT INTO views.storage VALUES ('juliet@x', 1, '', 5, '<vCard/>'), ('juliet@x', 2, '{a}b', 6, '<b/>');
INSERT INTO views.node VALUES ('juliet@x', 'mood', 1, 3, false, false, 3), ('juliet@x', 'open', 2, 1, false, false, 3),
	('juliet@x', 'own', 3, 1, false, false, 3), ('juliet@x', 'quiet', 1, 0, true, true, 3);
INSERT INTO views.node_item VALUES ('juliet@x', 'mood', 'z', 4, '2026-03-01T00:00:00Z', '<z/>'), ('juliet@x', 'mood', 'a', 5, now(), '<aaaa/>'),
	('juliet@x', 'mood', 'm"\', 6, '2026-03-02T00:00:00Z', '<m/>'), ('juliet@x', 'open', '1', 7, now(), '<o/>'), ('juliet@x', 'own', '1', 8, now(), '<w/>'),
	('juliet@x', 'quiet', '1', 8, now(), '<q/>');
`

func TestStored(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	for _, test := range []struct {
		account, viewer string
		space           event.StorageSet_Space
		name, want      string
	}{
		{"juliet", "juliet", 1, "", "true true <vCard/> 2"},
		{"juliet", "romeo", 2, "{a}b", "true true <b/> 2"},
		{"juliet", "nurse", 1, "", "true false <vCard/> 2"},
		{"juliet", "juliet", 2, "{a}c", "true true  2"},
		{"romeo", "juliet", 1, "", "true false  0"},
		{"nobody", "juliet", 1, "", "false false  0"},
	} {
		s, err := r.Stored(t.Context(), of(test.account, test.viewer, 10), test.space, test.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.Exists, s.Admitted, " ", string(s.Payload), " ", s.Entries); got != test.want {
			t.Errorf("%v: got %s", test, got)
		}
	}
	// What the projection does not have yet is waited for.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Stored(short, of("juliet", "juliet", 11), 1, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.Stored(t.Context(), of("juliet", "juliet", 11), 1, "")
		done <- err
	}()
	exec(`UPDATE views.projected SET next_offset = 11`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNodes(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	show := func(n *edge.Node) string {
		var ids []string
		for _, i := range n.Items {
			ids = append(ids, i.ID+"="+string(i.Payload))
		}
		return fmt.Sprint(n.Exists, n.Admitted, n.There, " ", n.Access, " ", n.Keeps(), " ", n.Kept, " of ", n.Nodes, " ", n.Bytes, " ", strings.Join(ids, " "))
	}
	for _, test := range []struct {
		account, viewer, node string
		ids                   []string
		most, bytes           int
		want                  string
	}{
		{"juliet", "romeo", "mood", nil, 9, 1000, `true true true 1 3 3 of 4 0 z=<z/> a=<aaaa/> m"\=<m/>`},
		{"juliet", "romeo", "mood", nil, 2, 1000, `true true true 1 3 3 of 4 0 a=<aaaa/> m"\=<m/>`},
		{"juliet", "romeo", "mood", nil, 9, 5, `true true true 1 3 3 of 4 0 a=<aaaa/> m"\=<m/>`},
		{"juliet", "romeo", "mood", nil, 9, 1, `true true true 1 3 3 of 4 0 m"\=<m/>`},
		{"juliet", "romeo", "mood", []string{`m"\`, "none"}, 9, 1000, `true true true 1 3 3 of 4 0 m"\=<m/>`},
		{"juliet", "juliet", "quiet", nil, 0, 0, "true true true 1 0 1 of 4 27 "},
		{"juliet", "nurse", "own", nil, 1, 1, "true false true 3 1 1 of 4 0 1=<w/>"},
		{"juliet", "nurse", "none", nil, 1, 1, "true false false 0 1 0 of 4 0 "},
		{"nobody", "nurse", "none", nil, 1, 1, "false false false 0 1 0 of 0 0 "},
	} {
		n, err := r.Node(t.Context(), of(test.account, test.viewer, 0), test.node, test.ids, test.most, test.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := show(n); got != test.want {
			t.Errorf("%v:\ngot  %s\nwant %s", test, got, test.want)
		}
	}
	n, err := r.Node(t.Context(), of("juliet", "romeo", 0), "mood", []string{"z"}, 1, 1)
	if err != nil || len(n.Items) != 1 || n.Items[0].Version != 4 || n.Items[0].At != time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro() {
		t.Errorf("item %+v, %v", n, err)
	}
	all, err := r.Nodes(t.Context(), of("juliet", "romeo", 0))
	want := []edge.NamedNode{{Name: "mood", Access: node.Presence}, {Name: "open", Access: node.Open}, {Name: "own", Access: node.Owner}, {Name: "quiet", Access: node.Presence}}
	if err != nil || !all.Exists || !all.Admitted || !slices.Equal(all.All, want) {
		t.Errorf("nodes %+v, %v", all, err)
	}
	if none, err := r.Nodes(t.Context(), of("nobody", "romeo", 0)); err != nil || none.Exists || len(none.All) != 0 {
		t.Errorf("of nobody %+v, %v", none, err)
	}
}

func TestLastItems(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	wanted := []string{"mood", "open", "own", "quiet", "none"}
	for viewer, want := range map[string]string{
		"romeo": `juliet@x mood m"\ <m/>, juliet@x open 1 <o/>`, "juliet": `juliet@x mood m"\ <m/>, juliet@x open 1 <o/>, juliet@x own 1 <w/>`, "nurse": "",
	} {
		items, err := r.LastItems(t.Context(), jid.MustBare(viewer+"@x"), []string{"juliet@x", "romeo@x", "nobody@x"}, wanted, nil)
		var got []string
		for _, i := range items {
			got = append(got, fmt.Sprintf("%s %s %s %s", i.Account, i.Node, i.Item.ID, i.Item.Payload))
		}
		if err != nil || strings.Join(got, ", ") != want {
			t.Errorf("%s: got %q, %v", viewer, got, err)
		}
	}
	// Questions that are asked together are not mixed up.
	answers, err := r.loadLast(t.Context(), []lastQuestion{
		{jid.MustBare("romeo@x"), []string{"juliet@x"}, []string{"open"}, nil},
		{jid.MustBare("nurse@x"), []string{"juliet@x"}, []string{"mood", "open"}, map[int32]int64{3: 10}},
		{jid.MustBare("juliet@x"), []string{"juliet@x"}, []string{"own"}, map[int32]int64{3: 11}},
	})
	if err != nil || len(answers[0].items) != 1 || answers[0].items[0].Node != "open" || len(answers[1].items) != 0 || answers[1].behind || len(answers[2].items) != 0 || !answers[2].behind {
		t.Errorf("together: %+v, %v", answers, err)
	}
	// What the projection does not have yet is waited for.
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	after := map[int32]int64{3: 11}
	if _, err := r.LastItems(short, jid.MustBare("juliet@x"), []string{"juliet@x"}, []string{"own"}, after); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind: %v", err)
	}
	exec(`UPDATE views.projected SET next_offset = 11`)
	if items, err := r.LastItems(t.Context(), jid.MustBare("juliet@x"), []string{"juliet@x"}, []string{"own"}, after); err != nil || len(items) != 1 {
		t.Errorf("once it is there: %v, %v", items, err)
	}
}

func TestLastActivity(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	a, err := r.LastActivity(t.Context(), of("juliet", "romeo", 0))
	if err != nil || !a.Admitted || a.Status != "asleep" || !a.Since.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)) || len(a.Online) != 0 {
		t.Errorf("juliet %+v, %v", a, err)
	}
	a, err = r.LastActivity(t.Context(), of("romeo", "juliet", 0))
	if err != nil || a.Admitted || !a.Exists || !a.Since.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("who was never there %+v, %v", a, err)
	}
	if a, err = r.LastActivity(t.Context(), of("nobody", "juliet", 0)); err != nil || a.Exists {
		t.Errorf("nobody %+v, %v", a, err)
	}
	exec(`INSERT INTO views.resource (account, resource, partition, binding, edge, epoch, available, show, status, priority, payload, lang, stanza_id, version, bound_offset, since)
		SELECT 'juliet@x', name, 3, gen_random_uuid(), 'e', 1, name <> 'idle', '', '', 0, '', '', '', 1, 1, now() FROM unnest('{desk,idle}'::text[]) AS name`)
	if a, err = r.LastActivity(t.Context(), of("juliet", "juliet", 0)); err != nil || !slices.Equal(a.Online, []string{"desk"}) {
		t.Errorf("online %+v, %v", a, err)
	}
}

func TestCapabilities(t *testing.T) {
	r, _ := opened(t)
	if _, known, err := r.Features(t.Context(), "sha-1", "v"); known || err != nil {
		t.Error(known, err)
	}
	for _, features := range [][]string{{"a", "b+notify"}, {"other"}} { // the first stays
		if err := r.Learn(t.Context(), "sha-1", "v", features); err != nil {
			t.Fatal(err)
		}
	}
	if features, known, err := r.Features(t.Context(), "sha-1", "v"); !known || err != nil || !slices.Equal(features, []string{"a", "b+notify"}) {
		t.Error(features, known, err)
	}
	if _, known, _ := r.Features(t.Context(), "sha-256", "v"); known {
		t.Error("known by another hash")
	}
}

// Whatever is read of an account comes with the policy that it has now.
func TestPoliciesComeWithAnswers(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	policy, err := proto.Marshal(&event.Policy{Account: "juliet@x", Blocked: []string{"romeo@x"}})
	if err != nil {
		t.Fatal(err)
	}
	exec(fmt.Sprintf(`INSERT INTO views.privacy VALUES ('juliet@x', 3, '{romeo@x}', '', '', '\x%x'), ('romeo@x', 3, '{}', '', '', '')`, policy))
	q := of("juliet", "romeo", 0)
	var all []*event.Policy
	add := func(p *event.Policy, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	stored, err := r.Stored(t.Context(), q, 1, "")
	add(stored.Policy, err)
	one, err := r.Node(t.Context(), q, "mood", nil, 1, 1)
	add(one.Policy, err)
	nodes, err := r.Nodes(t.Context(), q)
	add(nodes.Policy, err)
	activity, err := r.LastActivity(t.Context(), q)
	add(activity.Policy, err)
	last, err := r.LastItems(t.Context(), q.Viewer, []string{"juliet@x"}, []string{"mood"}, nil)
	if len(last) != 1 {
		t.Fatalf("last items %+v", last)
	}
	add(last[0].Policy, err)
	for i, p := range all {
		if !slices.Equal(p.GetBlocked(), []string{"romeo@x"}) {
			t.Errorf("answer %d has the policy %v", i, p)
		}
	}
	// Who has set something that is not in use has none.
	if stored, err := r.Stored(t.Context(), of("romeo", "juliet", 0), 1, ""); err != nil || stored.Policy != nil {
		t.Errorf("romeo has the policy %v, %v", stored.Policy, err)
	}
}

// What an edge missed of accounts, each from an offset on, in the log's order.
func TestMissed(t *testing.T) {
	r, exec := opened(t)
	exec(house)
	got, err := r.Missed(t.Context(), 3, []edge.NewsGap{{Account: "juliet@x", From: 6}, {Account: "nobody@x"}}, 10)
	var all []string
	for _, i := range got {
		all = append(all, fmt.Sprintf("%s %s %d %s %s", i.Account, i.Node, i.Access, i.Item.ID, i.Item.Payload))
	}
	slices.Sort(all[2:]) // of one offset, which no log has
	want := []string{`juliet@x mood 1 m"\ <m/>`, "juliet@x open 2 1 <o/>", "juliet@x own 3 1 <w/>", "juliet@x quiet 1 1 <q/>"}
	if err != nil || !slices.Equal(all, want) {
		t.Errorf("got %q, %v", all, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Missed(short, 3, []edge.NewsGap{{Account: "juliet@x"}}, 11); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("behind: %v", err)
	}
}
