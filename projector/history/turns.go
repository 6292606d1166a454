package history

import (
	"time"

	"github.com/google/uuid"
)

// turns are rows of presence_span as the driver sends them, see table.
type turns struct {
	account  []string
	resource []string
	binding  []uuid.UUID
	edge     []string
	begun    []uint64
	since    []time.Time
	at       []time.Time
	ended    []bool
}

// turnColumns are in the order of turns.all.
const turnColumns = `account, resource, binding, edge, begun, since, at, ended`

func (t *turns) add(one *turn) {
	t.account = append(t.account, one.account)
	t.resource = append(t.resource, one.resource)
	t.binding = append(t.binding, one.binding)
	t.edge = append(t.edge, one.edge)
	t.begun = append(t.begun, one.begun)
	t.since = append(t.since, one.since)
	t.at = append(t.at, one.at)
	t.ended = append(t.ended, one.ended)
}

func (t *turns) all() []any {
	return []any{t.account, t.resource, t.binding, t.edge, t.begun, t.since, t.at, t.ended}
}
