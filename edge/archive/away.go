package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/rollcall/rollcall/edge"
)

const (
	// pingTime is how long a ClickHouse that is slow may take for a sign of life.
	pingTime = time.Second
	// awayTime is how long nobody asks a ClickHouse that did not answer.
	awayTime = time.Second
)

// away spares who asks the wait for a ClickHouse that has just not answered:
// one at a time tries whether it is back, the others are told at once.
type away struct {
	mu     sync.Mutex
	until  time.Time // zero: it answers
	trying bool
}

// guard calls do unless ClickHouse is away, and learns from its error.
func (a *away) guard(do func() error) error {
	a.mu.Lock()
	tries := !a.until.IsZero()
	if tries && (a.trying || time.Now().Before(a.until)) {
		a.mu.Unlock()
		return errAway
	}
	a.trying = tries
	a.mu.Unlock()
	err := do()
	a.mu.Lock()
	defer a.mu.Unlock()
	if tries {
		a.trying = false
	}
	switch {
	case errors.Is(err, errAway):
		a.until = time.Now().Add(awayTime)
	case err == nil || tries:
		a.until = time.Time{}
	}
	return err
}

var errAway = errors.New("clickhouse does not answer")

// unanswered marks the error of a query as one of a ClickHouse that does not
// answer, unless it is an answer.
func unanswered(err error) error {
	var said *clickhouse.Exception
	if err == nil || errors.As(err, &said) || errors.Is(err, edge.ErrNotArchived) || errors.Is(err, errRecord) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", errAway, err)
}
