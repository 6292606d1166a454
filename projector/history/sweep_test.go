package history

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/schema/event"
)

// What was said in a withheld message is gone from every table for good, by
// more than one mutation if there is much, and so is nothing else; the record
// still says who wrote to whom. A second writer finds nothing to do.
func TestWithheldContentsAreTakenOut(t *testing.T) {
	b := newBench(t)
	romeo, juliet := accountIn(0, 0), accountIn(1, 0)
	say := func(body string) int64 {
		m := chat(body)
		m.OriginId = "o1"
		return b.log.event(t, romeo, noon, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
			From: "x@rollcall.example/y", Message: m}}})
	}
	withhold := func(account string, offset int64, reason event.MessageWithheld_Reason) {
		b.log.event(t, account, noon, &event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{
			Offset: offset, Reason: reason, MessageAt: noon.UnixMicro(), Peer: "x@rollcall.example/y"}}})
	}
	const many = 520 // more than one mutation takes here
	say("stays")
	for range many {
		withhold(romeo, say("secret"), event.MessageWithheld_REASON_REFUSED)
	}
	say("stays too")
	sent := b.log.event(t, juliet, noon, &event.Event{Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{To: romeo, Message: chat("secret")}}})
	withhold(juliet, sent, event.MessageWithheld_REASON_PREFERENCES)
	withhold(juliet, sent+1, event.MessageWithheld_REASON_PREFERENCES) // names no message

	sweeping := func(o *Options) { o.SweepEvery, o.MaxRows = 5*time.Millisecond, 0 }
	h := b.writer(sweeping)
	h.sweepAtOnce = 500
	stop := b.running(h)
	b.archived(b.log.ends())
	b.until("SELECT toString(arraySort(groupUniqArray(body))) FROM archive", "['stays','stays too']")
	b.until("SELECT toString(countIf(position(raw, 'secret') > 0)) FROM events", "0")
	b.until("SELECT toString(arraySort(groupArray(body))) FROM chat_log", "['stays','stays too']")
	for p := range int32(2) {
		for {
			var done bool
			if err := b.pool.QueryRow(t.Context(), "SELECT swept_offset = next_offset FROM run.history WHERE partition = $1", p).Scan(&done); err != nil {
				t.Fatal(err)
			}
			if done {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	mutations := b.one("SELECT toString(count()) FROM system.mutations WHERE database = currentDatabase() AND table = 'events'")
	if mutations != "3" {
		t.Errorf("%s mutations", mutations)
	}
	again := b.running(b.writer(sweeping))
	say("last")
	b.archived(b.log.ends())
	b.until("SELECT toString(arraySort(groupArray(body))) FROM chat_log", "['last','stays','stays too']")
	if err := again(); err != nil {
		t.Error(err)
	}
	if got := b.one("SELECT toString(count()) FROM system.mutations WHERE database = currentDatabase() AND table = 'events'"); got != mutations {
		t.Errorf("%s mutations after %s", got, mutations)
	}
	if got, want := b.one(`SELECT toString((countIf(body = '' AND NOT archived AND origin_id = 'o1' AND peer = 'x@rollcall.example/y'), countIf(body != '' AND archived)))
FROM events WHERE kind = 'message_accepted'`), fmt.Sprintf("(%d,3)", many); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
	n := 0
	err := NewArchive(b.conn).Read(t.Context(), 0, 0, 1<<40, func(offset int64, _ string, value []byte) error {
		e, err := event.Decode(value)
		if err != nil || strings.Contains(string(value), "secret") {
			t.Errorf("offset %d: %v, %v", offset, e, err)
		}
		if m := e.GetMessageAccepted(); m != nil && m.GetFrom() == "x@rollcall.example/y" && m.GetMessage().GetOriginId() == "o1" {
			n++
		}
		return nil
	})
	if err != nil || n != many+3 {
		t.Errorf("%d messages read back, %v", n, err)
	}
}
