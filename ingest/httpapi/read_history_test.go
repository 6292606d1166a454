package httpapi

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall/rollcall/deploy/local/localtest"
)

func TestCountersAndHistory(t *testing.T) {
	l := newLibrary(t, localtest.Kafka(t), true)
	l.account(100, "juliet@localhost", "quiet@localhost")
	ctx := t.Context()
	for i := range 25 {
		kind, peer := "message_accepted", "romeo@localhost/orchard"
		if i%5 == 0 {
			kind, peer = "message_sent", "nurse@localhost"
		}
		if err := l.history.Exec(ctx, `INSERT INTO events (account, partition, offset, kind, at, origin, sequence, id, accepted, archived, resource, peer, message_type, stanza_id, body)
VALUES ('juliet@localhost', 2, ?, ?, fromUnixTimestamp64Micro(?), 'edge/e/1', ?, generateUUIDv4(), generateUUIDv4(), true, 'balcony', ?, 'chat', ?, ?)`,
			10+i, kind, time.Date(2026, 11, 20+i/10, 12, i, 0, 0, time.UTC).UnixMicro(), i, peer, fmt.Sprint("m", i), fmt.Sprint("line ", i, " ' \\ ♥")); err != nil {
			t.Fatal(err)
		}
	}
	// What juliet refused is in nobody's archive and not counted.
	if err := l.history.Exec(ctx, `INSERT INTO events (account, partition, offset, kind, at, origin, sequence, archived, peer, reference, reason)
VALUES ('juliet@localhost', 2, 60, 'message_withheld', fromUnixTimestamp64Micro(?), 'p/2', 11, true, 'romeo@localhost', 11, 'refused')`,
		time.Date(2026, 11, 20, 12, 1, 0, 0, time.UTC).UnixMicro()); err != nil {
		t.Fatal(err)
	}

	page := func(query string) (ids []string, next string) {
		t.Helper()
		var h historyView
		l.get("/v1/accounts/juliet@localhost/history"+query, 200, &h)
		for _, m := range h.Messages {
			ids = append(ids, m.ID)
		}
		return ids, h.Next
	}
	for order, want := range map[string]string{"newest": "[34 33 32 31 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16 15 14 13 12 10]", "oldest": "[10 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34]"} {
		var all []string
		pages := 0
		for next := ""; pages == 0 || next != ""; pages++ {
			ids, cursor := page("?limit=10&order=" + order + next)
			all = append(all, ids...)
			if next = cursor; next != "" {
				next = "&cursor=" + next
			}
		}
		if fmt.Sprint(all) != want || pages != 3 {
			t.Errorf("%s first, on %d pages: %v, want %s", order, pages, all, want)
		}
	}
	for query, want := range map[string]string{
		"?with=nurse@localhost":                                     "[30 25 20 15 10]",
		"?with=romeo@localhost/orchard&limit=2":                     "[34 33]",
		"?with=romeo@localhost/elsewhere":                           "[]",
		"?with=%C3%B6d%C3%B6n@localhost":                            "[]",
		"?from=2026-11-22T12:22:00Z":                                "[34 33 32]",
		"?to=2026-11-20T12:03:00Z":                                  "[12 10]",
		"?from=2026-11-22T13:22:00%2B01:00&to=2026-11-22T12:23:00Z": "[32]",
	} {
		if ids, _ := page(query); fmt.Sprint(ids) != want {
			t.Errorf("history%s: %v, want %s", query, ids, want)
		}
	}
	var h historyView
	l.get("/v1/accounts/juliet@localhost/history?limit=1", 200, &h)
	if m := h.Messages[0]; m.Body != "line 24 ' \\ ♥" || m.Direction != "received" || m.PeerResource != "orchard" || m.MessageID != "m24" || m.Type != "chat" {
		t.Errorf("%+v", m)
	}

	var c countersView
	l.get("/v1/accounts/juliet@localhost/counters?from=2026-11-01&to=2026-11-30", 200, &c)
	if c.Totals.Sent != 5 || c.Totals.Received != 19 || len(c.Days) != 3 || c.Days[0].Received != 7 || c.Days[2].Day != "2026-11-22" || c.Unread != 19 {
		t.Errorf("%+v", c)
	}
	var days []string
	for next := "&limit=2"; next != ""; {
		var c countersView
		l.get("/v1/accounts/juliet@localhost/counters?from=2026-11-20&to=2026-11-22"+next, 200, &c)
		for _, d := range c.Days {
			days = append(days, d.Day)
		}
		if c.Totals.Sent != 5 {
			t.Errorf("totals of a page: %+v", c.Totals)
		}
		if next = c.Next; next != "" {
			next = "&limit=2&cursor=" + next
		}
	}
	if fmt.Sprint(days) != "[2026-11-20 2026-11-21 2026-11-22]" {
		t.Errorf("days %v", days)
	}
	var peers []countersOf
	for next := "&limit=1"; next != ""; {
		var c countersView
		l.get("/v1/accounts/juliet@localhost/counters?by=peer&from=2026-11-01&to=2026-11-30"+next, 200, &c)
		peers = append(peers, c.Peers...)
		if next = c.Next; next != "" {
			next = "&limit=1&cursor=" + next
		}
	}
	if fmt.Sprint(peers) != "[{nurse@localhost 5 0} {romeo@localhost 0 19}]" {
		t.Errorf("peers %v", peers)
	}
	l.get("/v1/accounts/quiet@localhost/counters", 200, &c)
	l.get("/v1/accounts/quiet@localhost/history", 200, &h)
}
