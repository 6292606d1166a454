package history

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rollcall/rollcall/schema/event"
)

// copyOf stores the last record of the account's partition once more.
func (b *bench) copyOf(account string, offset int64) {
	p := home(account)
	r := b.log.parts[p][offset]
	b.log.put(p, r.Time, string(r.Key), r.Value)
}

// archive lets one writer copy all that is in the log.
func (b *bench) archive() {
	b.t.Helper()
	stop := b.running(b.writer(nil))
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		b.t.Error(err)
	}
}

// TestCopies: a record that is stored twice is archived twice and counted once,
// also when another writer goes on between the two.
func TestCopies(t *testing.T) {
	b := newBench(t)
	romeo := accountIn(0, 0)
	hello := &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: "juliet@rollcall.example/balcony", Message: chat("hello")}}}
	offset := b.log.event(t, romeo, noon, hello)
	b.copyOf(romeo, offset)
	b.archive()
	b.copyOf(romeo, offset)
	b.log.lost(t, noon, "e1", 4)
	late := &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r", Edge: "e1", Epoch: 4}}}
	b.log.event(t, romeo, noon, late) // its edge is lost
	b.archive()
	for query, want := range map[string]string{
		"SELECT toString(groupArray((offset, kind, ignored))) FROM (SELECT * FROM events WHERE partition = 0 ORDER BY offset)": "[(0,'message_accepted',false),(1,'message_accepted',true)," +
			"(2,'message_accepted',true),(3,'edge_lost',false),(4,'resource_bound',true)]",
		"SELECT toString(count()) FROM chat_log":                                       "1",
		"SELECT toString((sum(messages_received), sum(logins))) FROM account_counters": "(1,0)",
		"SELECT toString(count()) FROM presence_change":                                "0",
		"SELECT toString(count()) FROM edge_lost":                                      fmt.Sprint(partitions),
	} {
		if got := b.one(query); got != want {
			t.Errorf("%s\ngives %s, want %s", query, got, want)
		}
	}
}

// TestMonths: a block over a change of month, and over times that no calendar
// knows, is one part a month.
func TestMonths(t *testing.T) {
	b := newBench(t)
	romeo := accountIn(0, 0)
	for _, at := range []time.Time{
		time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC), time.UnixMicro(-1 << 60), time.UnixMicro(1 << 62),
	} {
		b.log.event(t, romeo, at, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
	b.archive()
	got := b.one("SELECT toString(arraySort(groupArray((month, n)))) FROM (SELECT toYYYYMM(at) AS month, count() AS n FROM events GROUP BY month)")
	if want := "[(197001,1),(202611,2),(202612,1),(219912,1)]"; got != want {
		t.Errorf("months %s, want %s", got, want)
	}
}

// TestGarbage: what the projector sets aside is archived, ignored, with its bytes.
func TestGarbage(t *testing.T) {
	b := newBench(t)
	romeo, other := accountIn(0, 0), accountIn(1, 0)
	b.log.put(0, noon, romeo, []byte("\xff\xfe no record"))
	b.log.put(0, noon, "", nil)
	misplaced := &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}, Origin: "edge/e1/4", Sequence: 9}
	id := uuid.New()
	misplaced.Id, misplaced.At = id[:], noon.UnixMicro()
	b.log.put(0, noon, other, encoded(t, misplaced))
	b.log.event(t, romeo, noon, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	b.archive()
	got := b.one("SELECT toString(groupArray((offset, kind, ignored, reason != ''))) FROM (SELECT * FROM events ORDER BY offset)")
	want := "[(0,'garbage',true,1),(1,'garbage',true,1),(2,'garbage',true,1),(3,'account_created',false,0)]"
	if got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	var first []byte
	err := NewArchive(b.conn).Read(t.Context(), 0, 0, 1, func(_ int64, _ string, value []byte) error { first = value; return nil })
	if err != nil || string(first) != "\xff\xfe no record" {
		t.Errorf("first record %q, %v", first, err)
	}
}

// TestNewer: a record of a kind that this version does not know stops its
// partition before it, and no other.
func TestNewer(t *testing.T) {
	b := newBench(t)
	romeo, juliet := accountIn(0, 0), accountIn(1, 0)
	created := func(account string) {
		b.log.event(t, account, noon, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	}
	created(romeo)
	id := uuid.New()
	newer := protowire.AppendTag(nil, 1, protowire.BytesType)
	newer = protowire.AppendBytes(newer, id[:])
	newer = protowire.AppendTag(newer, 3, protowire.BytesType)
	newer = protowire.AppendString(newer, "edge/e1/4")
	newer = protowire.AppendTag(newer, 900, protowire.BytesType)
	newer = protowire.AppendString(newer, "news")
	b.log.put(0, noon, romeo, newer)
	created(romeo)
	created(juliet)
	h := b.writer(nil)
	stop := b.running(h)
	b.archived(map[int32]int64{0: 1, 1: 1})
	created(juliet)
	b.archived(map[int32]int64{1: 2})
	for !errors.Is(h.Health(), event.ErrNewer) {
		time.Sleep(time.Millisecond)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := b.one("SELECT toString((count(), max(offset))) FROM events WHERE partition = 0"); got != "(1,0)" {
		t.Errorf("partition 0 has %s", got)
	}
}

// TestAccountDeleted: the rows of a deleted account go, those of the account
// that is created again under its name stay, though all came at once.
func TestAccountDeleted(t *testing.T) {
	b := newBench(t)
	romeo, juliet := accountIn(0, 0), accountIn(0, 1)
	life := func(account, said string) {
		b.log.event(t, account, noon, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
		b.log.event(t, account, noon, &event.Event{Kind: &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: "r"}}})
		b.log.event(t, account, noon, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: "x@rollcall.example/y", Message: chat(said)}}})
	}
	deleted := &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}}
	life(romeo, "old")
	life(juliet, "stays")
	b.log.event(t, romeo, noon, deleted)
	late := &event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: 2}}}
	b.log.event(t, romeo, noon, late)
	life(romeo, "new")
	b.archive()
	b.until("SELECT toString(groupArray(offset)) FROM (SELECT offset FROM events ORDER BY offset)", "[3,4,5,8,9,10]")
	b.until("SELECT toString(arraySort(groupArray(body))) FROM chat_log", "['new','stays']")
	b.until("SELECT toString(count()) FROM presence_change", "2")
	b.until("SELECT toString(sum(messages_received)) FROM account_counters", "2")
	var offsets []int64
	err := NewArchive(b.conn).Read(t.Context(), 0, 4, 10, func(offset int64, _ string, _ []byte) error {
		offsets = append(offsets, offset)
		return nil
	})
	if fmt.Sprint(offsets) != "[4 5 8 9]" || err != nil {
		t.Errorf("archive has %v, %v", offsets, err)
	}
}

// TestManyDeleted: more accounts than one statement takes.
func TestManyDeleted(t *testing.T) {
	b := newBench(t)
	const n = deletionsAtOnce + 200
	name := func(i int) string { return fmt.Sprintf("%s%d@rollcall.example", strings.Repeat(`its\20long.`, 30), i) }
	for i := range n {
		b.log.event(t, name(i), noon, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	}
	b.log.event(t, accountIn(0, 0), noon, &event.Event{Kind: &event.Event_AccountCreated{AccountCreated: &event.AccountCreated{}}})
	stop := b.running(b.writer(func(o *Options) { o.MaxRows, o.Linger = 0, 0 }))
	b.archived(b.log.ends())
	if err := stop(); err != nil {
		t.Error(err)
	}
	b.until("SELECT toString(groupArray(account)) FROM events", fmt.Sprintf("['%s']", accountIn(0, 0)))
}

// TestNotArchived: of a message that must not be kept neither body nor payload
// is anywhere.
func TestNotArchived(t *testing.T) {
	const hint = "<%s xmlns='urn:xmpp:hints'/>"
	b := newBench(t)
	romeo := accountIn(0, 0)
	message := func(body, hint string, storable bool) {
		m := chat(body)
		m.Payload, m.Storable = append(m.Payload, hint...), storable
		b.log.event(t, romeo, noon, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: "x@rollcall.example/y", Message: m}}})
	}
	message("open", "", true)
	message("open <no-store", "", true)
	message("secret1", "", false)
	message("secret2", fmt.Sprintf(hint, "no-permanent-store"), true)
	message("secret3", fmt.Sprintf(hint, "no-store"), true)
	b.archive()
	if got := b.one("SELECT toString(groupArray((archived, body))) FROM (SELECT * FROM events ORDER BY offset)"); got !=
		"[(true,'open'),(true,'open <no-store'),(false,''),(false,''),(false,'')]" {
		t.Error(got)
	}
	if got := b.one("SELECT toString((count(), (SELECT sum(messages_received) FROM account_counters))) FROM chat_log"); got != "(2,2)" {
		t.Error(got)
	}
	err := NewArchive(b.conn).Read(t.Context(), 0, 0, 9, func(offset int64, _ string, value []byte) error {
		e, err := event.Decode(value)
		if err != nil || strings.Contains(string(value), "secret") || e.GetMessageAccepted().GetFrom() == "" {
			t.Errorf("offset %d: %v, %v", offset, e, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPresence: a session of each end, from events to spans.
func TestPresence(t *testing.T) {
	b := newBench(t)
	romeo := accountIn(0, 0)
	at := noon
	session := func(edge string, epoch uint64, resource string) func(kinds ...string) {
		binding := uuid.New()
		return func(kinds ...string) {
			for _, kind := range kinds {
				at = at.Add(time.Minute)
				e := &event.Event{Origin: fmt.Sprintf("edge/%s/%d", edge, epoch), Binding: binding[:]}
				switch kind {
				case "bound":
					e.Id, e.Binding = binding[:], nil
					e.Kind = &event.Event_ResourceBound{ResourceBound: &event.ResourceBound{Resource: resource, Edge: edge, Epoch: epoch}}
				case "closed":
					e.Kind = &event.Event_ResourceClosed{ResourceClosed: &event.ResourceClosed{Resource: resource, Reason: "closed"}}
				case "unavailable":
					e.Kind = &event.Event_PresenceUnavailable{PresenceUnavailable: &event.PresenceUnavailable{Resource: resource}}
				default:
					e.Kind = &event.Event_PresenceAvailable{PresenceAvailable: &event.PresenceAvailable{Resource: resource,
						Presence: &event.Presence{Show: kind, Status: "here", Priority: 5}}}
				}
				b.log.event(t, romeo, at, e)
			}
		}
	}
	desk, phone := session("e1", 1, "desk"), session("e2", 7, "phone")
	again, last := session("e1", 2, "desk"), session("e1", 2, "desk")
	desk("bound", "chat", "away")     // 12:01 to 12:03
	phone("bound", "chat")            // 12:04, 12:05
	again("bound", "chat")            // 12:06, 12:07: ends desk
	desk("unavailable", "closed")     // 12:08, 12:09: late
	again("unavailable", "dnd")       // 12:10, 12:11
	again("closed", "chat")           // 12:12, 12:13: too late
	at = at.Add(time.Minute)          // 12:14
	b.log.lost(t, at, "e2", 7)        // ends phone
	last("bound", "chat")             // 12:15, 12:16: online
	b.log.lost(t, at, "elsewhere", 9) // nothing
	b.archive()
	got := b.one(`SELECT toString(groupArray(concat(resource, ' ', formatDateTime(online_from, '%i'), '-', ifNull(formatDateTime(online_to, '%i'), ''))))
FROM (SELECT * FROM presence_spans ORDER BY online_from)`)
	if want := "['desk 02-06','phone 05-14','desk 07-10','desk 11-12','desk 16-']"; got != want {
		t.Errorf("spans %s\nwant  %s", got, want)
	}
	// online_seconds says the same of whole days, in a way of its own.
	got = b.one(`SELECT toString((count() > 0, countIf(abs(a.seconds - b.seconds) > 1))) FROM online_seconds AS a FULL JOIN (
	SELECT account, day, intervalLengthSum(toUnixTimestamp64Micro(greatest(online_from, toDateTime64(day, 6, 'UTC'))),
		toUnixTimestamp64Micro(least(until, toDateTime64(day + 1, 6, 'UTC')))) / 1000000 AS seconds
	FROM (
		SELECT account, online_from, until, arrayJoin(arrayMap(n -> toDate(online_from, 'UTC') + n, range(toUInt32(toDate(until, 'UTC') - toDate(online_from, 'UTC') + 1)))) AS day
		FROM (SELECT account, online_from, greatest(online_from, ifNull(online_to, now64(6, 'UTC'))) AS until FROM presence_spans)
	) GROUP BY account, day
) AS b ON a.account = b.account AND a.day = b.day`)
	if want := "(1,0)"; got != want {
		t.Errorf("online_seconds differs from spans: %s, want %s", got, want)
	}
	got = b.one("SELECT toString((show, status, priority, toString(change))) FROM presence_change WHERE offset = 1")
	if want := "('chat','here',5,'available')"; got != want {
		t.Errorf("change %s, want %s", got, want)
	}
}
