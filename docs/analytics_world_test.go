package docs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/uuid"
)

// A verona is a week of ten accounts: the rows that the history writer would
// put into events, and, kept apart from these, what is true of it.
type verona struct {
	rand     *rand.Rand
	accounts []string
	now      time.Time
	next     [4]uint64 // offset by partition
	sequence uint64
	epoch    map[string]uint64 // by edge
	rows     []row
	live     []*life

	sent, received, presences, logins map[string]map[string]int // account, then day
	pairs                             map[[2]string][2]int      // account and peer: sent, received
	waiting                           map[string][]waiting      // by account
	loginAt                           []time.Time
	spans                             []span
	sees                              map[[2]string]bool        // account and who sees it
	sizes                             map[string]map[string]int // day, then account: at its end
}

// A life is a session.
type life struct {
	account, resource, edge string
	binding                 uuid.UUID
	since                   time.Time // available since; zero if not
}

type waiting struct {
	from string
	at   time.Time
}

type span struct {
	account  string
	from, to time.Time // to is zero while it lasts
}

// A row has the columns of events that a counter looks at.
type row struct {
	account                    string
	partition                  int32
	offset                     uint64
	kind                       string
	at                         time.Time
	origin                     string
	sequence                   uint64
	binding                    uuid.UUID
	ignored, archived          bool
	resource, peer, verb, edge string
	epoch, reference           uint64
	reason                     string
}

const columns = "account, partition, offset, kind, at, origin, sequence, binding, ignored, archived, resource, peer, verb, edge, epoch, reference, reason"

func (r row) values() []any {
	return []any{r.account, r.partition, r.offset, r.kind, r.at, r.origin, r.sequence, r.binding, r.ignored, r.archived, r.resource, r.peer, r.verb,
		r.edge, r.epoch, r.reference, r.reason}
}

// The week of the queries in ANALYTICS.md.
var (
	firstDay = time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	lastDay  = firstDay.AddDate(0, 0, 6)
	stormAt  = firstDay.AddDate(0, 0, 2).Add(9 * time.Hour)
)

func dayOf(t time.Time) string { return t.Format("2006-01-02") }

// newVerona lets the week pass.
func newVerona(seed uint64) *verona {
	v := &verona{rand: rand.New(rand.NewPCG(seed, 7)), now: firstDay.Add(time.Hour), epoch: map[string]uint64{"e1": 1, "e2": 1},
		sent: nested(), received: nested(), presences: nested(), logins: nested(), pairs: make(map[[2]string][2]int),
		waiting: make(map[string][]waiting), sees: make(map[[2]string]bool), sizes: make(map[string]map[string]int)}
	for _, name := range strings.Fields("juliet romeo nurse tybalt benvolio mercutio rosaline paris laurence balthasar") {
		v.accounts = append(v.accounts, name+"@localhost")
	}
	end := lastDay.AddDate(0, 0, 1).Add(-time.Hour)
	stormed, today := false, dayOf(v.now)
	for v.now.Before(end) {
		v.now = v.now.Add(time.Duration(1+v.rand.IntN(240_000)) * time.Millisecond)
		if day := dayOf(v.now); day != today {
			v.evening(today)
			today = day
		}
		if !stormed && v.now.After(stormAt) {
			stormed = true
			v.storm()
		}
		v.step()
	}
	v.evening(today)
	for _, l := range v.live {
		if !l.since.IsZero() {
			v.spans = append(v.spans, span{account: l.account, from: l.since})
		}
	}
	return v
}

func nested() map[string]map[string]int { return make(map[string]map[string]int) }

func (v *verona) tally(into map[string]map[string]int, account string) {
	if into[account] == nil {
		into[account] = make(map[string]int)
	}
	into[account][dayOf(v.now)]++
}

// evening notes how many see each account at the end of a day.
func (v *verona) evening(day string) {
	size := make(map[string]int)
	for pair, sees := range v.sees {
		if sees {
			size[pair[0]]++
		}
	}
	v.sizes[day] = size
}

func (v *verona) one() string { return v.accounts[v.rand.IntN(len(v.accounts))] }

func (v *verona) home(account string) int32 {
	return int32(slices.Index(v.accounts, account)) % int32(len(v.next))
}

// put stores a row, and now and then a copy of it, which does not count.
func (v *verona) put(account, kind string, r row) uint64 {
	r.account, r.kind, r.at, r.partition = account, kind, v.now, v.home(account)
	if r.origin == "" {
		v.sequence++
		r.origin, r.sequence = "edge/e1/1", v.sequence
	}
	r.offset = v.next[r.partition]
	v.append(r)
	if v.rand.IntN(10) == 0 {
		late := r
		late.ignored, late.offset = true, v.next[r.partition]
		v.append(late)
	}
	return r.offset
}

func (v *verona) append(r row) {
	v.rows = append(v.rows, r)
	v.next[r.partition]++
}

// because makes a row a reaction to what is at offset in account's history.
func (v *verona) because(account string, offset uint64, r row) row {
	r.origin, r.sequence = fmt.Sprintf("p/%d", v.home(account)), offset
	return r
}

func (v *verona) step() {
	switch dice := v.rand.IntN(100); {
	case dice < 12:
		v.login(v.one())
	case dice < 22 && len(v.live) > 0:
		v.speak(v.live[v.rand.IntN(len(v.live))])
	case dice < 30 && len(v.live) > 4:
		v.close(v.live[v.rand.IntN(len(v.live))])
	case dice < 31:
		v.loseEdge()
	case dice < 45:
		v.befriend()
	default:
		v.write()
	}
}

// login binds a resource, which ends the one of that name, and is available
// soon.
func (v *verona) login(account string) {
	l := &life{account: account, resource: []string{"phone", "desk", "tab"}[v.rand.IntN(3)], edge: []string{"e1", "e2"}[v.rand.IntN(2)], binding: uuid.New()}
	old := slices.IndexFunc(v.live, func(o *life) bool { return o.account == account && o.resource == l.resource })
	var replaced uuid.UUID
	if old >= 0 {
		replaced = v.live[old].binding
		v.end(v.live[old])
	}
	v.put(account, "resource_bound", row{resource: l.resource, binding: l.binding, edge: l.edge, epoch: v.epoch[l.edge]})
	v.tally(v.logins, account)
	v.loginAt = append(v.loginAt, v.now)
	v.live = append(v.live, l)
	v.now = v.now.Add(time.Duration(v.rand.IntN(900)) * time.Millisecond)
	v.speak(l)
	if old >= 0 { // its farewell comes late
		v.put(account, "presence_unavailable", row{resource: l.resource, binding: replaced})
		v.tally(v.presences, account)
	}
}

// end ends the session here, whatever the log says of it.
func (v *verona) end(l *life) {
	if !l.since.IsZero() {
		v.spans = append(v.spans, span{l.account, l.since, v.now})
		l.since = time.Time{}
	}
	v.live = slices.DeleteFunc(v.live, func(o *life) bool { return o == l })
}

func (v *verona) speak(l *life) {
	kind := "presence_available"
	if !l.since.IsZero() && v.rand.IntN(3) == 0 {
		kind = "presence_unavailable"
		v.spans = append(v.spans, span{l.account, l.since, v.now})
		l.since = time.Time{}
	} else if l.since.IsZero() {
		l.since = v.now
	}
	v.put(l.account, kind, row{resource: l.resource, binding: l.binding})
	v.tally(v.presences, l.account)
}

func (v *verona) close(l *life) {
	v.end(l)
	v.put(l.account, "resource_closed", row{resource: l.resource, binding: l.binding, reason: "closed"})
}

// loseEdge ends every session of an edge, by one row in each partition.
func (v *verona) loseEdge() {
	edge := []string{"e1", "e2"}[v.rand.IntN(2)]
	for _, l := range slices.Clone(v.live) {
		if l.edge == edge {
			v.end(l)
		}
	}
	for p := range v.next {
		v.append(row{partition: int32(p), offset: v.next[p], kind: "edge_lost", at: v.now, edge: edge, epoch: v.epoch[edge]})
	}
	v.epoch[edge]++
}

// storm is a hundred logins in some three minutes.
func (v *verona) storm() {
	for range 100 {
		v.login(v.one())
		v.now = v.now.Add(time.Duration(v.rand.IntN(3000)) * time.Millisecond)
	}
}

// befriend lets one see another's presence or no more: by the account's word,
// which the contact's history tells, or by the contact's own.
func (v *verona) befriend() {
	account, contact := v.one(), v.one()
	if account == contact {
		return
	}
	pair := [2]string{account, contact}
	switch v.rand.IntN(4) {
	case 0:
		v.put(account, "subscription_received", row{peer: contact, verb: "unsubscribe"})
		v.sees[pair] = false
	case 1:
		offset := v.put(account, "subscription_sent", row{peer: contact, verb: "unsubscribed"})
		v.put(contact, "subscription_received", v.because(account, offset, row{peer: account, verb: "unsubscribed"}))
		v.sees[pair] = false
	default:
		v.put(account, "subscription_received", row{peer: contact, verb: "subscribe"})
		offset := v.put(account, "subscription_sent", row{peer: contact, verb: "subscribed"})
		v.put(contact, "subscription_received", v.because(account, offset, row{peer: account, verb: "subscribed"}))
		v.sees[pair] = true
	}
}

// write sends messages from one to another: taken, waiting, expired, refused,
// copied, kept out of the archive by preferences, or not to be archived.
func (v *verona) write() {
	from, to := v.one(), v.one()
	fate := v.rand.IntN(20)
	accepted := v.now
	offset := v.put(to, "message_accepted", row{peer: from + "/desk", archived: fate != 0})
	withhold := func(why string) {
		v.put(to, "message_withheld", v.because(to, offset, row{peer: from + "/desk", reference: offset, reason: why}))
	}
	switch fate {
	case 1:
		withhold("refused")
		return
	case 2:
		withhold("copy")
		return
	case 3:
		withhold("preferences")
	}
	v.put(from, "message_sent", v.because(to, offset, row{peer: to, resource: "desk", archived: fate != 0}))
	if fate != 0 {
		v.tally(v.received, to)
		v.tally(v.sent, from)
		count := v.pairs[[2]string{from, to}]
		v.pairs[[2]string{from, to}] = [2]int{count[0] + 1, count[1]}
		count = v.pairs[[2]string{to, from}]
		v.pairs[[2]string{to, from}] = [2]int{count[0], count[1] + 1}
	}
	v.now = v.now.Add(time.Duration(v.rand.IntN(2000)) * time.Millisecond)
	switch {
	case fate < 14:
		for range 1 + v.rand.IntN(2) {
			v.put(to, "delivered", row{resource: "desk", reference: offset})
		}
	case fate < 16:
		v.put(to, "message_expired", row{reference: offset})
	default:
		v.waiting[to] = append(v.waiting[to], waiting{from, accepted})
	}
}

// store inserts the rows as the history writer does: in blocks, of which many
// come twice under their token.
func (v *verona) store(t *testing.T, conn driver.Conn) {
	t.Helper()
	for n, rest := 0, v.rows; len(rest) > 0; n++ {
		block := rest[:min(len(rest), 200+v.rand.IntN(2000))]
		rest = rest[len(block):]
		for range 1 + v.rand.IntN(2) {
			ctx := driver.Context(t.Context(), driver.WithSettings(driver.Settings{
				"async_insert": 0, "insert_deduplication_token": fmt.Sprint("block ", n), "deduplicate_blocks_in_dependent_materialized_views": 1}))
			batch, err := conn.PrepareBatch(ctx, "INSERT INTO events ("+columns+")")
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range block {
				if err := batch.Append(r.values()...); err != nil {
					t.Fatal(err)
				}
			}
			if err := batch.Send(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // what it notes of spans
		ctx := driver.Context(t.Context(), driver.WithSettings(driver.Settings{
			"insert_deduplication_token": "spans", "deduplicate_insert_select": "enable_even_for_bad_queries", "deduplicate_blocks_in_dependent_materialized_views": 1}))
		if err := conn.Exec(ctx, `INSERT INTO presence_span (account, resource, binding, edge, begun, since, at, ended)
SELECT account, resource, binding, edge, n, online_from, if(ends, assumeNotNull(online_to), online_from), arrayJoin(if(isNull(online_to), [false], [false, true])) AS ends
FROM (SELECT *, row_number() OVER (ORDER BY account, online_from, binding) AS n FROM session_spans)`); err != nil {
			t.Fatal(err)
		}
	}
}

// days gives the days of the week.
func (v *verona) days() []string { return slices.Sorted(maps.Keys(v.sizes)) }
