package fanout_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall/rollcall/schema/event"
)

// An edge may think somebody admitted whose subscription ended while nobody
// served the partition: it hears nothing of the account before the answer that
// corrects it, but for revocations.
func TestNothingIsHeardBeforeTheAnswer(t *testing.T) {
	w := newWorld(t)
	w.create(romeo, juliet)
	w.befriend(juliet, romeo)
	w.projectAll()
	w.work("w", nil, all...)
	e := w.attach("e", 1)
	eventually(t, "every partition has a worker", e.link.Ready)

	balcony := e.bind(juliet, "balcony")
	w.projectAll() // so that messages need not wait

	// Nobody can be asked who may see whom.
	ctx := context.Background()
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "LOCK TABLE views.roster_item IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.follows[juliet] = []string{romeo}
	e.mu.Unlock()
	e.link.Follow(partitionOf(juliet), juliet, romeo)
	eventually(t, "the worker knows who follows", func() bool {
		balcony.subscription(event.Verb_VERB_UNSUBSCRIBED, romeo)
		return e.look(func() bool { return slices.Contains(e.heard, "admission juliet@x romeo@x false") })()
	})
	balcony.available(0, "not for romeo")
	w.message(juliet, "balcony", "after it")
	e.hears("message after it")
	e.look(func() bool {
		for _, said := range e.heard {
			if strings.HasPrefix(said, "presence ") {
				t.Errorf("heard %q before the answer", said)
			}
		}
		return true
	})()

	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	e.hears("answer [juliet@x] 1 present")
	balcony.available(0, "from now on")
	e.hears("presence juliet@x/balcony true from now on")
}
