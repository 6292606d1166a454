package accounts

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/jid"
)

var _ stream.Tokens = (*Store)(nil)

func TestMarksOfClients(t *testing.T) {
	s, _ := open(t)
	ctx := t.Context()
	juliet, romeo := jid.MustBare("juliet@localhost"), jid.MustBare("romeo@localhost")
	phone, laptop := uuid.New(), uuid.New()
	if _, _, err := s.LookupClient(ctx, juliet, phone); !errors.Is(err, stream.ErrNoAccount) {
		t.Fatalf("before: %v", err)
	}
	for _, account := range []jid.Bare{juliet, romeo} {
		if err := s.Create(ctx, account, "wherefore"); err != nil {
			t.Fatal(err)
		}
	}
	check := func(account jid.Bare, client uuid.UUID, want stream.Mark) {
		t.Helper()
		keys, mark, err := s.LookupClient(ctx, account, client)
		if err != nil || mark != want {
			t.Errorf("%s: %+v, %v; want %+v", account, mark, err, want)
		}
		if ok, err := keys.Verify("wherefore"); !ok || err != nil {
			t.Error("other keys", err)
		}
	}
	set := func(account jid.Bare, client uuid.UUID, m stream.Mark) {
		t.Helper()
		if err := s.SetMark(ctx, account, client, m); err != nil {
			t.Fatal(err)
		}
	}
	check(juliet, phone, stream.Mark{})
	set(juliet, phone, stream.Mark{Generation: 1, Period: 100})
	set(romeo, phone, stream.Mark{Period: 90})
	check(juliet, phone, stream.Mark{Generation: 1, Period: 100})
	check(juliet, laptop, stream.Mark{})
	check(romeo, phone, stream.Mark{Period: 90})
	// Neither field falls, whoever is late.
	set(juliet, phone, stream.Mark{Generation: 2, Period: 99})
	set(juliet, phone, stream.Mark{Period: 101})
	check(juliet, phone, stream.Mark{Generation: 2, Period: 101})
	// What means nothing any more goes, of this account alone.
	set(juliet, laptop, stream.Mark{Period: 104})
	check(juliet, phone, stream.Mark{Generation: 2, Period: 101})
	set(juliet, laptop, stream.Mark{Period: 105})
	check(juliet, phone, stream.Mark{})
	check(juliet, laptop, stream.Mark{Period: 105})
	check(romeo, phone, stream.Mark{Period: 90})
	// An account's marks go with it.
	if err := s.Delete(ctx, juliet); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, juliet, "wherefore"); err != nil {
		t.Fatal(err)
	}
	check(juliet, laptop, stream.Mark{})
	if err := s.SetMark(ctx, jid.MustBare("nurse@localhost"), phone, stream.Mark{}); err == nil {
		t.Error("a client of no account was marked")
	}
}
