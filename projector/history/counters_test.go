package history

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/schema/event"
)

// A courtship is the log of the counters' tests: what comes to romeo, in one
// partition, and to juliet, in another.
type courtship struct {
	*bench
	romeo, juliet string
	at            time.Time
}

func newCourtship(t *testing.T) *courtship {
	return &courtship{bench: newBench(t), romeo: accountIn(0, 0), juliet: accountIn(1, 0), at: noon}
}

// accepts writes a message from juliet into romeo's history.
func (c *courtship) accepts(m *event.Message) int64 {
	c.at = c.at.Add(time.Second)
	return c.log.event(c.t, c.romeo, c.at, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: c.juliet + "/balcony", Message: m}}})
}

// reacts writes what the fold of another account's or the same history adds to
// account's, because of the event at offset.
func (c *courtship) reacts(account, from string, offset int64, e *event.Event) int64 {
	id := uuid.New()
	e.Id, e.At, e.Origin, e.Sequence = id[:], c.at.UnixMicro(), fmt.Sprintf("p/%d", home(from)), uint64(offset)
	return c.log.put(home(account), c.at, account, encoded(c.t, e))
}

func (c *courtship) withholds(offset int64, why event.MessageWithheld_Reason) {
	at := c.reacts(c.romeo, c.romeo, offset, &event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{
		Offset: offset, Reason: why, MessageAt: c.at.UnixMicro(), Peer: c.juliet + "/balcony"}}})
	c.copyOf(c.romeo, at)
}

func (c *courtship) counts(query, want string) {
	c.t.Helper()
	if got := c.one(query); got != want {
		c.t.Errorf("%s\ngives %s, want %s", query, got, want)
	}
}

// TestCounters: what was refused, what is a copy and what must not be archived
// does not count; what a preference withholds does. What was delivered, expired
// or does not count is not unread.
func TestCounters(t *testing.T) {
	c := newCourtship(t)
	delivered := func(offset int64, resource string) {
		c.log.event(t, c.romeo, c.at, &event.Event{Kind: &event.Event_Delivered{Delivered: &event.Delivered{Offset: offset, Resource: resource}}})
	}
	read := c.accepts(chat("read"))
	delivered(read, "phone")
	delivered(read, "desk")
	c.copyOf(c.romeo, read)
	first := c.at.Add(time.Second)
	c.accepts(chat("waits"))
	c.withholds(c.accepts(chat("refused")), event.MessageWithheld_REASON_REFUSED)
	c.withholds(c.accepts(chat("again")), event.MessageWithheld_REASON_COPY)
	c.withholds(c.accepts(chat("off the record")), event.MessageWithheld_REASON_PREFERENCES)
	old := c.accepts(chat("too old"))
	c.log.event(t, c.romeo, c.at, &event.Event{Kind: &event.Event_MessageExpired{MessageExpired: &event.MessageExpired{Offset: old}}})
	typing := chat("")
	typing.Storable = false
	c.accepts(typing)
	c.reacts(c.juliet, c.romeo, read, &event.Event{Kind: &event.Event_MessageSent{MessageSent: &event.MessageSent{
		Resource: "balcony", To: c.romeo + "/phone", Message: chat("read")}}})
	nobody := accountIn(2, 0) // no such account: only what it refused is there
	lost := c.log.event(t, nobody, c.at, &event.Event{Kind: &event.Event_MessageAccepted{MessageAccepted: &event.MessageAccepted{
		From: c.juliet + "/balcony", Message: chat("anybody there?")}}})
	c.reacts(nobody, nobody, lost, &event.Event{Kind: &event.Event_MessageWithheld{MessageWithheld: &event.MessageWithheld{
		Offset: lost, Reason: event.MessageWithheld_REASON_REFUSED, Peer: c.juliet + "/balcony"}}})
	c.archive()
	for range 2 {
		c.counts("SELECT toString(((SELECT count() FROM account_counters WHERE account = '"+nobody+"'), (SELECT count() FROM pair_counters WHERE account = '"+nobody+"')))", "(0,0)")
		c.counts(fmt.Sprintf("SELECT toString(groupArray((peer, messages_sent, messages_received))) FROM pair_counters WHERE account = '%s'", c.romeo),
			fmt.Sprintf("[('%s',0,4)]", c.juliet))
		c.counts(fmt.Sprintf("SELECT toString(groupArray((peer, messages_sent, messages_received))) FROM pair_counters WHERE account = '%s'", c.juliet),
			fmt.Sprintf("[('%s',1,0)]", c.romeo))
		c.counts("SELECT toString(groupArray((account, messages_sent, messages_received))) FROM (SELECT * FROM account_counters ORDER BY account = '"+c.juliet+"')",
			fmt.Sprintf("[('%s',0,4),('%s',1,0)]", c.romeo, c.juliet))
		c.counts("SELECT toString(groupArray((account, peer, messages, first_at))) FROM unread",
			fmt.Sprintf("[('%s','%s',2,'%s')]", c.romeo, c.juliet, first.Format("2006-01-02 15:04:05.000000")))
		c.counts("SELECT toString(sum(messages)) FROM activity", "4")
		// Merges must change nothing.
		for _, table := range []string{"pair_day", "account_day", "inbox_change", "minute_activity"} {
			if err := c.conn.Exec(t.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The two that are unread, and the second Delivered of the first.
	c.counts("SELECT toString((countIf(sign = 1), countIf(sign = -1))) FROM inbox_change", "(2,1)")
	delivered(read+4, "phone")
	c.archive()
	c.counts("SELECT toString(sum(messages)) FROM unread", "1")
}

// TestAudience: who sees romeo's presence, by what the fold writes into his
// history and into that of those who hear of it.
func TestAudience(t *testing.T) {
	c := newCourtship(t)
	says := func(account, from string, because int64, verb event.Verb) int64 {
		return c.reacts(account, from, because, &event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{
			Contact: from, Verb: verb}}})
	}
	// approves is romeo's event and what comes of it in the contact's history.
	tells := func(contact string, verb event.Verb) {
		offset := c.log.event(t, c.romeo, c.at, &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{Contact: contact, Verb: verb}}})
		says(contact, c.romeo, offset, verb)
	}
	nurse, friar := accountIn(2, 0), accountIn(3, 0)
	day := 24 * time.Hour
	says(c.romeo, c.juliet, 0, event.Verb_VERB_SUBSCRIBE)
	tells(c.juliet, event.Verb_VERB_SUBSCRIBED)
	tells(c.juliet, event.Verb_VERB_SUBSCRIBED) // said again: still one
	tells(nurse, event.Verb_VERB_SUBSCRIBED)
	tells(friar, event.Verb_VERB_UNSUBSCRIBED) // who saw nothing
	c.at = c.at.Add(day)
	tells(friar, event.Verb_VERB_SUBSCRIBED)
	says(c.romeo, nurse, 9, event.Verb_VERB_UNSUBSCRIBE) // one comes, one goes: no row
	c.at = c.at.Add(day)
	tells(c.juliet, event.Verb_VERB_UNSUBSCRIBED)
	c.at = c.at.Add(-2 * day) // by another clock
	tells(friar, event.Verb_VERB_UNSUBSCRIBED)
	c.archive()
	const sizes = "SELECT toString(groupArray((toString(day), subscribers))) FROM (SELECT * FROM audience WHERE account = '%s' ORDER BY day)"
	c.counts(fmt.Sprintf(sizes, c.romeo), "[('2026-11-24',2),('2026-11-25',1),('2026-11-26',0)]")
	c.counts("SELECT toString(groupUniqArray(account)) FROM audience", fmt.Sprintf("['%s']", c.romeo))
}

// TestCountersOfDeleted: what an account was counted goes with it.
func TestCountersOfDeleted(t *testing.T) {
	c := newCourtship(t)
	c.accepts(chat("waits"))
	offset := c.log.event(t, c.romeo, c.at, &event.Event{Kind: &event.Event_SubscriptionSent{SubscriptionSent: &event.SubscriptionSent{
		Contact: c.juliet, Verb: event.Verb_VERB_SUBSCRIBED}}})
	c.reacts(c.juliet, c.romeo, offset, &event.Event{Kind: &event.Event_SubscriptionReceived{SubscriptionReceived: &event.SubscriptionReceived{
		Contact: c.romeo, Verb: event.Verb_VERB_SUBSCRIBED}}})
	c.archive()
	const left = "SELECT toString(((SELECT count() FROM pair_counters), (SELECT count() FROM unread), (SELECT count() FROM audience), (SELECT count() FROM account_counters WHERE account = '%s')))"
	c.counts(fmt.Sprintf(left, c.romeo), "(1,1,1,1)")
	c.log.event(t, c.romeo, c.at, &event.Event{Kind: &event.Event_AccountDeleted{AccountDeleted: &event.AccountDeleted{}}})
	c.archive()
	c.until(fmt.Sprintf(left, c.romeo), "(0,0,0,0)")
}
