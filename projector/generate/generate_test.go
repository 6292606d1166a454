package generate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall/rollcall/projector/fold"
	"github.com/rollcall/rollcall/projector/history"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/subscription"
	"github.com/rollcall/rollcall/schema/topic"
)

// partitions of the topic in these tests.
const partitions = 3

func small() Options {
	return Options{Seed: 7, Accounts: 40, Friends: 6, Days: 2, Messages: 20, Domain: "verona.example", Edges: 2,
		Start: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}
}

// archived gives the records of o's history with its reactions, by partition.
func archived(t testing.TB, o Options) [][]history.Fetched {
	t.Helper()
	all := make([][]history.Fetched, partitions)
	s := newStory(&o, new(Progress))
	err := s.tell(t.Context(), newArchive(s, partitions, 500, func(_ context.Context, b cutBlock) error {
		for p := range b.records {
			all[p] = append(all[p], b.records[p]...)
			if n := len(all[p]); n > 0 && b.next[p] != all[p][n-1].Offset+1 {
				t.Errorf("block %s says that partition %d goes on at %d after %d", b.id, p, b.next[p], all[p][n-1].Offset)
			}
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func hashOf(records [][]history.Fetched) string {
	sum := sha256.New()
	for p := range records {
		for _, r := range records[p] {
			fmt.Fprintf(sum, "%d %d %d %q %q\n", p, r.Offset, r.Time.UnixMicro(), r.Key, r.Value)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// The bytes that the events of small had when they were first made. If they
// change, whoever has generated a history can no longer go on with it.
const smallHash = "95eaaf2e2407ea5fc35cb43a224fd01d8f322f43bf093141aa830b89404a7151"

func TestTheSameOptionsGiveTheSameBytes(t *testing.T) {
	o := small()
	first := newMemoryLog()
	if err := IntoLog(t.Context(), o, first, partitions, Fresh, new(Progress)); err != nil {
		t.Fatal(err)
	}
	if got := hashOf(first.records); got != smallHash {
		t.Errorf("the events have the hash %s, not %s", got, smallHash)
	}
	whole := hashOf(archived(t, o))
	if again := hashOf(archived(t, o)); again != whole {
		t.Errorf("the history has the hash %s, and then %s", whole, again)
	}
	o.Seed++
	if other := hashOf(archived(t, o)); other == whole {
		t.Error("another seed gives the same history")
	}
}

// Whoever folds the history meets each reaction of the fold in it once, and
// none besides.
func TestReactionsAreThoseOfTheFold(t *testing.T) {
	records := archived(t, small())
	states := make(map[string]*account.State)
	type lane struct{ from, to int32 }
	made, met := make(map[lane][]string), make(map[lane][]string)
	kinds := make(map[string]int)
	for p := range int32(partitions) {
		part := fold.Partition{Number: p, Of: partitions}
		for i, f := range records[p] {
			r, err := fold.Decode(p, f.Offset, f.Key, f.Value)
			if err != nil || r.Garbage != nil || f.Offset != int64(i) {
				t.Fatalf("record %d of partition %d, offset %d: %v, %v", i, p, f.Offset, err, r.Garbage)
			}
			name, err := fold.Account(r.Key, p, partitions)
			if err != nil {
				t.Fatal(err)
			}
			if !part.Admit(&r) {
				t.Fatalf("%s of %s at %d is taken for a copy", event.KindOf(r.Event), name, f.Offset)
			}
			kinds[event.KindOf(r.Event).String()]++
			if states[r.Key] == nil {
				states[r.Key] = account.New(name)
			}
			if origin := r.Event.GetOrigin(); strings.HasPrefix(origin, "p/") {
				var from int32
				fmt.Sscanf(origin, "p/%d", &from)
				met[lane{from, p}] = append(met[lane{from, p}], string(f.Value))
			}
			reactions, err := part.Apply(&r, states[r.Key])
			if err != nil {
				t.Fatal(err)
			}
			for _, reaction := range reactions {
				if reaction.Topic == topic.Account {
					to := topic.Partition(jid.MustBare(string(reaction.Key)), partitions)
					made[lane{p, to}] = append(made[lane{p, to}], string(reaction.Record))
				}
			}
		}
	}
	for l := range made {
		if !slices.Equal(made[l], met[l]) {
			t.Errorf("from partition %d to %d: %d reactions made, %d met, or others", l.from, l.to, len(made[l]), len(met[l]))
		}
	}
	if len(met) != len(made) {
		t.Errorf("reactions between %d pairs of partitions, made between %d", len(met), len(made))
	}
	for _, kind := range []string{"account_created", "roster_item_set", "subscription_sent", "subscription_received", "resource_bound",
		"presence_available", "presence_unavailable", "resource_closed", "message_accepted", "message_sent", "delivered"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s", kind)
		}
	}
	for name, s := range states {
		if !s.Exists || len(s.Resources) > 0 {
			t.Errorf("%s exists: %v, and is online on %d resources at the end", name, s.Exists, len(s.Resources))
		}
		for contact, item := range s.Roster {
			if item.State != subscription.To|subscription.From {
				t.Errorf("%s has %s with subscription %s", name, contact, item.State)
			}
		}
	}
}

// What a history holds is about what was asked for.
func TestAmounts(t *testing.T) {
	o := small()
	o.Accounts, o.Friends, o.Days = 400, 12, 4
	bodies, languages, owners, contacts := 0, make(map[string]int), make(map[string]bool), 0
	hours := make(map[int]int)
	for _, part := range archived(t, o) {
		for _, f := range part {
			e, err := event.Decode(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			switch k := e.GetKind().(type) {
			case *event.Event_AccountCreated:
				owners[string(f.Key)] = true
			case *event.Event_RosterItemSet:
				contacts++
			case *event.Event_MessageAccepted:
				if body := k.MessageAccepted.GetMessage().GetBody(); body != "" {
					bodies++
					switch {
					case strings.ContainsAny(body, "的了我你"):
						languages["zh"]++
					case strings.ContainsAny(body, "ыяю"):
						languages["ru"]++
					case strings.Contains(body, "the "):
						languages["en"]++
					}
				}
			case *event.Event_ResourceBound:
				hours[event.Time(e).Hour()]++
			}
		}
	}
	if len(owners) != o.Accounts {
		t.Errorf("%d accounts of %d", len(owners), o.Accounts)
	}
	between := func(what string, got, want int) {
		if got < want/2 || got > want*2 {
			t.Errorf("%s: %d, asked for about %d", what, got, want)
		}
	}
	between("contacts", contacts, o.Accounts*o.Friends)
	between("messages", bodies, o.Accounts*o.Days*o.Messages)
	for _, l := range []string{"zh", "ru", "en"} {
		if languages[l] == 0 {
			t.Errorf("no message in %s", l)
		}
	}
	least, most := slices.Min(values(hours)), slices.Max(values(hours))
	if len(hours) < 24 || most < 2*least {
		t.Errorf("logins by hour are %v", hours)
	}
}

func values(m map[int]int) (v []int) {
	for _, n := range m {
		v = append(v, n)
	}
	return v
}

func TestRecordsEndsAHistory(t *testing.T) {
	o := small()
	whole, cut := 0, 0
	for _, part := range archived(t, o) {
		whole += len(part)
	}
	o.Records = int64(whole / 2)
	for _, part := range archived(t, o) {
		cut += len(part)
	}
	// Those who are online leave, with two events each.
	if cut < whole/2 || cut > whole/2+6*o.Accounts+10 {
		t.Errorf("%d records of %d, with a bound of %d", cut, whole, o.Records)
	}
}

func TestIntoALogThatIsNotEmpty(t *testing.T) {
	log := newMemoryLog()
	if err := IntoLog(t.Context(), small(), log, partitions, Fresh, new(Progress)); err != nil {
		t.Fatal(err)
	}
	before := hashOf(log.records)
	if err := IntoLog(t.Context(), small(), log, partitions, Fresh, new(Progress)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("fresh into a log with records: %v", err)
	}
	other := small()
	other.Seed++
	if err := IntoLog(t.Context(), other, log, partitions, Resume, new(Progress)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("going on with a history that is not there: %v", err)
	}
	var progress Progress
	if err := IntoLog(t.Context(), small(), log, partitions, Resume, &progress); err != nil {
		t.Error(err)
	}
	if written, skipped := progress.Records(); written != skipped || written == 0 {
		t.Errorf("going on with a whole history wrote %d, of which %d were there", written, skipped)
	}
	if hashOf(log.records) != before {
		t.Error("the log has changed")
	}
	if err := IntoLog(t.Context(), other, log, partitions, Add, new(Progress)); err != nil || hashOf(log.records) == before {
		t.Errorf("added: %v", err)
	}
}

// A history that was cut short anywhere and goes on is what it would have been.
func TestAResumedLogIsTheWhole(t *testing.T) {
	const steps = 300
	whole := newMemoryLog()
	if err := intoLog(t.Context(), small(), whole, partitions, Fresh, new(Progress), steps); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{2, steps, 3_000, 3_001, whole.count} {
		log := newMemoryLog()
		log.failsAt = at
		if err := intoLog(t.Context(), small(), log, partitions, Fresh, new(Progress), steps); !errors.Is(err, errGone) {
			t.Fatalf("append %d: %v", at, err)
		}
		log.failsAt = 0
		if err := intoLog(t.Context(), small(), log, partitions, Resume, new(Progress), steps); err != nil {
			t.Fatal(err)
		}
		if hashOf(log.records) != hashOf(whole.records) {
			t.Errorf("cut at record %d, the log has %d records, not %d, or others", at, log.count, whole.count)
		}
	}
}

// Each Delivered names the offset of a message that waits.
func TestDeliveredNamesAMessage(t *testing.T) {
	log := newMemoryLog()
	if err := intoLog(t.Context(), small(), log, partitions, Fresh, new(Progress), 300); err != nil {
		t.Fatal(err)
	}
	settled := 0
	for p, records := range log.records {
		waits := make(map[int64]string)
		for _, r := range records {
			e, err := event.Decode(r.Value)
			if err != nil {
				t.Fatal(err)
			}
			if e.GetMessageAccepted().GetMessage().GetStorable() {
				waits[r.Offset] = string(r.Key)
			}
			if d := e.GetDelivered(); d != nil {
				if settled++; waits[d.GetOffset()] != string(r.Key) {
					t.Errorf("%d/%d settles %d of %s, where %q waits", p, r.Offset, d.GetOffset(), r.Key, waits[d.GetOffset()])
				}
				delete(waits, d.GetOffset())
			}
		}
	}
	if settled < 100 {
		t.Errorf("%d messages were settled", settled)
	}
}

func TestBadOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"domain":    func(o *Options) { o.Domain = "a@b" },
		"accounts":  func(o *Options) { o.Accounts = 1 },
		"friends":   func(o *Options) { o.Friends = o.Accounts },
		"days":      func(o *Options) { o.Days = -1 },
		"messages":  func(o *Options) { o.Messages = -1 },
		"edges":     func(o *Options) { o.Edges = 0 },
		"records":   func(o *Options) { o.Records = -1 },
		"start":     func(o *Options) { o.Start = o.Start.Add(time.Hour) },
		"friendshi": func(o *Options) { o.Accounts, o.Friends = mostAccounts, 100 },
	} {
		o := small()
		change(&o)
		if err := IntoLog(t.Context(), o, newMemoryLog(), partitions, Fresh, new(Progress)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProgress(t *testing.T) {
	var p Progress
	if got := p.String(); got != "0 records" {
		t.Errorf("at first %q", got)
	}
	p.begin()
	p.begun.Store(time.Now().Add(-10 * time.Second).UnixNano())
	p.records.Store(2000)
	p.at(0.25)
	p.at(0.1)
	if got := p.String(); got != "2000 records, 200/s, 25.0 %, 30s left" {
		t.Errorf("after a quarter %q", got)
	}
}
