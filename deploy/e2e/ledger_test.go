package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall/rollcall/ingest/eventlog"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/privacy"
	"github.com/rollcall/rollcall/schema/subscription"
	"github.com/rollcall/rollcall/schema/topic"
)

// A ledger reads the log from its first record on, and knows at each moment
// what it amounts to.
type ledger struct {
	admin *eventlog.Admin

	mu       sync.Mutex
	next     map[int32]int64
	records  map[int32]int // read, garbage too
	marks    map[int32]*account.Marks
	states   map[int32]map[jid.Bare]*account.State
	trails   map[string][]string // full JID -> all that it showed, in the log's order; gone when unavailable
	versions map[string]int64    // full JID -> of its last presence that is in its trail
	statuses map[string]bool     // every status that was said by an event that counts
	talks    map[string][]string // bare JID -> bodies of what it was sent and has sent, in the log's order
}

// openLedger reads until the test ends.
func openLedger(t *testing.T, brokers []string) *ledger {
	t.Helper()
	admin, err := eventlog.NewAdmin(brokers)
	if err != nil {
		t.Fatal(err)
	}
	tail, err := eventlog.NewTail(eventlog.TailOptions{Brokers: brokers, Topic: topic.Account})
	if err != nil {
		t.Fatal(err)
	}
	n, err := tail.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{
		admin: admin, next: make(map[int32]int64), records: make(map[int32]int), marks: make(map[int32]*account.Marks),
		states: make(map[int32]map[jid.Bare]*account.State), trails: make(map[string][]string), versions: make(map[string]int64), statuses: make(map[string]bool),
		talks: make(map[string][]string),
	}
	for p := range int32(n) {
		l.next[p], l.marks[p], l.states[p] = 0, new(account.Marks), make(map[jid.Bare]*account.State)
		tail.Assign(p, 0)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- tail.Run(ctx, l.take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		admin.Close()
	})
	return l
}

func (l *ledger) take(_ context.Context, b eventlog.Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range b.Records {
		if r.Offset != l.next[b.Partition] {
			return fmt.Errorf("account/%d: offset %d comes after %d", b.Partition, r.Offset, l.next[b.Partition]-1)
		}
		l.next[b.Partition]++
		l.records[b.Partition]++
		e, err := event.Decode(r.Value)
		var garbage *event.GarbageError
		if errors.As(err, &garbage) {
			continue
		}
		if err != nil {
			return err
		}
		if !l.marks[b.Partition].Admit(e) {
			continue
		}
		states := l.states[b.Partition]
		if e.GetEdgeLost() != nil {
			for _, s := range states {
				l.apply(s, r.Offset, e)
			}
			continue
		}
		a, err := jid.ParseBare(string(r.Key))
		if err != nil {
			return err
		}
		if states[a] == nil {
			states[a] = account.New(a)
		}
		l.apply(states[a], r.Offset, e)
	}
	return nil
}

// apply folds one event and notes what became visible.
func (l *ledger) apply(s *account.State, offset int64, e *event.Event) {
	s.Apply(offset, e)
	if m := e.GetMessageAccepted().GetMessage(); m != nil {
		l.talks[s.Account.String()] = append(l.talks[s.Account.String()], "received "+m.GetBody())
	} else if m := e.GetMessageSent().GetMessage(); m != nil {
		l.talks[s.Account.String()] = append(l.talks[s.Account.String()], "sent "+m.GetBody())
	}
	for name := range s.Changes.Resources {
		full := s.Account.String() + "/" + name
		trail := l.trails[full]
		if r, ok := s.Resources[name]; ok && r.Available {
			if r.Version != l.versions[full] {
				l.versions[full] = r.Version
				l.trails[full] = append(trail, shows(r.Show, r.Status, r.Priority))
				l.statuses[r.Status] = true
			}
		} else if len(trail) > 0 && trail[len(trail)-1] != gone {
			l.trails[full] = append(trail, gone)
		}
	}
	s.Changes.Reset()
}

// reached tells whether the ledger has read all that the log has now.
func (l *ledger) reached(ctx context.Context) error {
	ends, err := l.admin.Ends(ctx, topic.Account)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, end := range ends {
		if l.next[p] < end {
			return fmt.Errorf("the log of partition %d was read to %d of %d", p, l.next[p], end)
		}
	}
	return nil
}

// state gives an account's state; mu is held.
func (l *ledger) state(bare string) *account.State {
	a := jid.MustBare(bare)
	if s := l.states[topic.Partition(a, len(l.states))][a]; s != nil {
		return s
	}
	return account.New(a)
}

// total is the number of records read.
func (l *ledger) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.records {
		n += k
	}
	return n
}

// view gives what a client of the account must see: full JID -> what it shows.
func (l *ledger) view(bare string) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	view, own := make(map[string]string), l.state(bare)
	add := func(s *account.State) {
		for name, r := range s.Resources {
			full := s.Account.WithCanonical(name).JID()
			if r.Available && !s.Policy().Hides(name, own.Account.JID()) && own.Policy().Allows(privacy.PresenceIn, "", full) {
				view[s.Account.String()+"/"+name] = shows(r.Show, r.Status, r.Priority)
			}
		}
	}
	add(own)
	for contact, item := range own.Roster {
		if item.Removed || item.State&subscription.To == 0 {
			continue
		}
		s := l.state(contact.String())
		if back := s.Roster[own.Account]; !back.Removed && back.State&subscription.From != 0 {
			add(s)
		}
	}
	return view
}

// waiting gives the number of messages that wait for the account.
func (l *ledger) waiting(bare string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.state(bare).Inbox)
}

// follows checks that what a session saw is what the log says, in its order:
// each full JID's sightings are a subsequence of what it showed. A session that
// has just become available may get the same presence twice: as what is, and as
// what has just come. That somebody is gone comes once. It gives the number of
// such repeats.
func (l *ledger) follows(seen []sighting) (repeats int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := make(map[string]int)
	for i, s := range seen {
		trail := l.trails[s.from]
		n := at[s.from]
		if n > 0 && s.shows != gone && s.shows == trail[n-1] {
			repeats++
			continue
		}
		for n < len(trail) && trail[n] != s.shows {
			n++
		}
		if n == len(trail) {
			return repeats, fmt.Errorf("sighting %d of %s: %q is not what the log says after %q", i, s.from, s.shows, before(trail, at[s.from]))
		}
		at[s.from] = n + 1
	}
	return repeats, nil
}

// before gives the entries before n that tell what went on.
func before(trail []string, n int) []string { return trail[max(0, n-3):min(n, len(trail))] }

// said tells whether an event that counts said the status.
func (l *ledger) said(status string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.statuses[status]
}

// talk gives what the account was sent and has sent, in the log's order, of
// the messages whose bodies begin so.
func (l *ledger) talk(bare, prefix string) (talk []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, said := range l.talks[bare] {
		if _, body, _ := strings.Cut(said, " "); strings.HasPrefix(body, prefix) {
			talk = append(talk, said)
		}
	}
	return talk
}
