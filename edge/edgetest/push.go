package edgetest

import (
	"context"
	"slices"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/account"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/push"
)

// told is what a push service is to be told of a message.
type told struct {
	account jid.Bare
	push.Key
	offset   int64
	since    time.Time
	due      time.Time
	attempts int
}

// pushed notes what folding an event has push services told. stateMu is held.
func (h *House) pushed(s *account.State) {
	now := time.Now()
	for _, p := range s.Changes.Pushes {
		h.pushes = append(h.pushes, told{account: s.Account, Key: p.Key, offset: p.Offset, since: now, due: now})
	}
}

// jobs implements edge.Pushes.
type jobs struct{ *House }

// Take implements edge.Pushes.
func (j jobs) Take(_ context.Context, domains []string, most int, claim time.Duration) ([]edge.Push, error) {
	h := j.House
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	now := time.Now()
	var taken []edge.Push
	for _, one := range h.pushes {
		same := func(t told) bool { return t.account == one.account && t.Key == one.Key }
		later := func(t told) bool { return same(t) && t.due.After(now) }
		if len(taken) == most || !slices.Contains(domains, jid.FromCanonical(one.Service).Domain()) || slices.ContainsFunc(h.pushes, later) {
			continue
		}
		s := h.state(one.account)
		registered, there := s.Push[one.Key]
		p := edge.Push{Account: one.account.String(), Key: one.Key, Options: registered.Options, Waiting: len(s.Inbox), Moot: true}
		for i := range h.pushes {
			t := &h.pushes[i]
			if !same(*t) {
				continue
			}
			t.due, t.attempts = now.Add(claim), t.attempts+1
			p.Newest, p.Attempt = max(p.Newest, t.offset), max(p.Attempt, t.attempts)
			if m, waits := s.Inbox[t.offset]; waits && there {
				p.Moot, p.Sender, p.Body = false, m.Accepted.GetFrom(), m.Accepted.GetMessage().GetBody()
			}
		}
		taken = append(taken, p)
	}
	return taken, nil
}

// Add implements edge.Pushes.
func (j jobs) Add(_ context.Context, asleep []edge.Asleep, after time.Duration) ([]edge.Asleep, error) {
	h := j.House
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	for _, a := range asleep {
		s := h.state(jid.BareFromCanonical(a.Account))
		for key := range s.Push {
			one := told{account: s.Account, Key: key, offset: a.Offset, since: time.Now(), due: time.Now().Add(after)}
			_, waits := s.Inbox[a.Offset]
			if waits && !slices.ContainsFunc(h.pushes, func(t told) bool { return t.account == one.account && t.Key == key && t.offset == a.Offset }) {
				h.pushes = append(h.pushes, one)
			}
		}
	}
	return nil, nil
}

// Settle implements edge.Pushes.
func (j jobs) Settle(_ context.Context, settled []edge.SettledPush) error {
	h := j.House
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	for _, s := range settled {
		meant := func(t told) bool {
			return t.account.String() == s.Account && t.Key == s.Key && t.offset <= s.Newest && t.attempts > 0 && t.attempts <= s.Attempt
		}
		if !s.Again {
			h.pushes = slices.DeleteFunc(h.pushes, meant)
			continue
		}
		for i := range h.pushes {
			if meant(h.pushes[i]) {
				h.pushes[i].due = time.Now().Add(s.After)
			}
		}
	}
	return nil
}

// Expire implements edge.Pushes.
func (j jobs) Expire(_ context.Context, older time.Duration) (int, error) {
	h := j.House
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	n := len(h.pushes)
	h.pushes = slices.DeleteFunc(h.pushes, func(t told) bool { return time.Since(t.since) > older })
	return n - len(h.pushes), nil
}

// Waiting implements edge.Pushes.
func (j jobs) Waiting(context.Context) (int, error) {
	h := j.House
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	return len(h.pushes), nil
}

// Unclaim ends all claims, as time does.
func (h *House) Unclaim() {
	h.stateMu.Lock()
	defer h.stateMu.Unlock()
	for i := range h.pushes {
		h.pushes[i].due = time.Now()
	}
}

// Pushes is how much push services are to be told.
func (h *House) Pushes() int {
	n, _ := jobs{h}.Waiting(context.Background())
	return n
}
