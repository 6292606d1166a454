package accounts

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall/rollcall/deploy/local/localtest"
	"github.com/rollcall/rollcall/edge/stanza"
	"github.com/rollcall/rollcall/edge/stream"
	"github.com/rollcall/rollcall/schema/event"
	"github.com/rollcall/rollcall/schema/jid"
	"github.com/rollcall/rollcall/schema/postgres"
	"github.com/rollcall/rollcall/schema/topic"
)

// fakeLog stores nothing; err is what the log cannot be made to say at will.
type fakeLog struct {
	mu    sync.Mutex
	kinds []string
	err   error
}

func (l *fakeLog) AppendWait(_ context.Context, _ jid.Bare, e *event.Event) (topic.Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kinds = append(l.kinds, event.KindOf(e).String())
	return topic.Position{}, l.err
}

func open(t *testing.T) (*Store, *fakeLog) {
	t.Helper()
	url := localtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	log := &fakeLog{}
	return New(pool, "localhost", log), log
}

func TestAnAccountsLife(t *testing.T) {
	s, log := open(t)
	ctx := t.Context()
	juliet := jid.MustBare("juliet@localhost")
	if _, err := s.Lookup(ctx, juliet); !errors.Is(err, stream.ErrNoAccount) {
		t.Fatalf("before: %v", err)
	}
	if err := s.Register(ctx, "Juliet", "wherefore"); err != nil {
		t.Fatal(err)
	}
	if err := s.Register(ctx, "juliet", "art thou"); !errors.Is(err, stream.ErrConflict) {
		t.Errorf("again: %v", err)
	}
	checkPassword(t, s, juliet, "wherefore", true)
	checkPassword(t, s, juliet, "art thou", false)
	if err := s.SetPassword(ctx, juliet, "romeo"); err != nil {
		t.Fatal(err)
	}
	checkPassword(t, s, juliet, "romeo", true)
	list, err := s.List(ctx)
	if err != nil || len(list) != 1 || list[0].JID != "juliet@localhost" || !list[0].Live {
		t.Errorf("list: %v, %v", list, err)
	}
	if err := s.Delete(ctx, juliet); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(ctx, juliet); !errors.Is(err, stream.ErrNoAccount) {
		t.Errorf("after: %v", err)
	}
	if err := s.Delete(ctx, juliet); !errors.Is(err, stream.ErrNoAccount) {
		t.Errorf("delete again: %v", err)
	}
	if got := log.kinds; len(got) != 2 || got[0] != "account_created" || got[1] != "account_deleted" {
		t.Errorf("log has %v", got)
	}
}

func checkPassword(t *testing.T, s *Store, account jid.Bare, password string, want bool) {
	t.Helper()
	keys, err := s.Lookup(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := keys.Verify(password); err != nil || got != want {
		t.Errorf("password %q: %t, %v; want %t", password, got, err, want)
	}
}

// An account can log in once its AccountCreated is answered, not before; and a
// registration that was interrupted can be done again.
func TestAnInterruptedRegistration(t *testing.T) {
	s, log := open(t)
	ctx := t.Context()
	romeo := jid.MustBare("romeo@localhost")
	log.err = errors.New("away")
	if err := s.Create(ctx, romeo, "first"); !errors.Is(err, log.err) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.Lookup(ctx, romeo); !errors.Is(err, stream.ErrNoAccount) {
		t.Errorf("it can log in: %v", err)
	}
	log.err = nil
	if err := s.Create(ctx, romeo, "second"); err != nil {
		t.Fatal(err)
	}
	checkPassword(t, s, romeo, "second", true)
}

func TestBadNamesAndPasswords(t *testing.T) {
	s, log := open(t)
	for _, name := range []string{"", "a b", "a@b", "\u0000"} {
		if err := s.Register(t.Context(), name, "x"); !errors.Is(err, stream.ErrNotAcceptable) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	if err := s.Register(t.Context(), "a", "\u0007"); !errors.Is(err, stream.ErrNotAcceptable) {
		t.Errorf("password of control characters: %v", err)
	}
	var refusal *stanza.Error
	if err := s.SetPassword(t.Context(), jid.MustBare("a@localhost"), ""); !errors.As(err, &refusal) || refusal.Condition != stanza.NotAcceptable {
		t.Errorf("empty password: %v", err)
	}
	if len(log.kinds) != 0 {
		t.Errorf("log has %v", log.kinds)
	}
}
