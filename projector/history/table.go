package history

import (
	"time"

	"github.com/google/uuid"
)

// A table holds rows as the driver sends them: one column after the other, which
// spares it to look at each value's type. It is filled again and again.
type table struct {
	rows int

	account     []string
	partition   []int32
	offset      []uint64
	kind        []any // strings that repeat, see again
	at          []time.Time
	origin      []any // strings that repeat, see again
	sequence    []uint64
	index       []uint32
	id          []uuid.UUID
	binding     []uuid.UUID
	ignored     []bool
	archived    []bool
	resource    []string
	peer        []string
	show        []any // strings that repeat, see again
	status      []string
	priority    []int8
	available   []bool
	verb        []any // strings that repeat, see again
	messageType []any // strings that repeat, see again
	stanzaID    []string
	originID    []string
	body        []string
	name        []string
	groups      [][]string
	edge        []any // strings that repeat, see again
	epoch       []uint64
	accepted    []uuid.UUID
	reference   []uint64
	reason      []string
	raw         []string

	repeated map[string]any
}

// add appends r.
func (t *table) add(r *row) {
	t.rows++
	t.account = append(t.account, r.account)
	t.partition = append(t.partition, r.partition)
	t.offset = append(t.offset, r.offset)
	t.kind = append(t.kind, t.again(r.kind))
	t.at = append(t.at, r.at)
	t.origin = append(t.origin, t.again(r.origin))
	t.sequence = append(t.sequence, r.sequence)
	t.index = append(t.index, r.index)
	t.id = append(t.id, r.id)
	t.binding = append(t.binding, r.binding)
	t.ignored = append(t.ignored, r.ignored)
	t.archived = append(t.archived, r.archived)
	t.resource = append(t.resource, r.resource)
	t.peer = append(t.peer, r.peer)
	t.show = append(t.show, t.again(r.show))
	t.status = append(t.status, r.status)
	t.priority = append(t.priority, r.priority)
	t.available = append(t.available, r.available)
	t.verb = append(t.verb, t.again(r.verb))
	t.messageType = append(t.messageType, t.again(r.messageType))
	t.stanzaID = append(t.stanzaID, r.stanzaID)
	t.originID = append(t.originID, r.originID)
	t.body = append(t.body, r.body)
	t.name = append(t.name, r.name)
	t.groups = append(t.groups, r.groups)
	t.edge = append(t.edge, t.again(r.edge))
	t.epoch = append(t.epoch, r.epoch)
	t.accepted = append(t.accepted, r.accepted)
	t.reference = append(t.reference, r.reference)
	t.reason = append(t.reason, r.reason)
	t.raw = append(t.raw, r.raw)
}

// again gives s as the driver wants it, without an allocation for each row that
// has it.
func (t *table) again(s string) any {
	if known, ok := t.repeated[s]; ok {
		return known
	}
	if t.repeated == nil {
		t.repeated = make(map[string]any)
	}
	boxed := any(s)
	t.repeated[s] = boxed
	return boxed
}

// columns gives the columns from one row to another in the order of rowColumns.
func (t *table) columns(from, to int) []any {
	return []any{
		t.account[from:to],
		t.partition[from:to],
		t.offset[from:to],
		t.kind[from:to],
		t.at[from:to],
		t.origin[from:to],
		t.sequence[from:to],
		t.index[from:to],
		t.id[from:to],
		t.binding[from:to],
		t.ignored[from:to],
		t.archived[from:to],
		t.resource[from:to],
		t.peer[from:to],
		t.show[from:to],
		t.status[from:to],
		t.priority[from:to],
		t.available[from:to],
		t.verb[from:to],
		t.messageType[from:to],
		t.stanzaID[from:to],
		t.originID[from:to],
		t.body[from:to],
		t.name[from:to],
		t.groups[from:to],
		t.edge[from:to],
		t.epoch[from:to],
		t.accepted[from:to],
		t.reference[from:to],
		t.reason[from:to],
		t.raw[from:to],
	}
}

// reset makes room for other rows. The strings of these are let go.
func (t *table) reset() {
	*t = table{
		account:     emptied(t.account),
		partition:   emptied(t.partition),
		offset:      emptied(t.offset),
		kind:        emptied(t.kind),
		at:          emptied(t.at),
		origin:      emptied(t.origin),
		sequence:    emptied(t.sequence),
		index:       emptied(t.index),
		id:          emptied(t.id),
		binding:     emptied(t.binding),
		ignored:     emptied(t.ignored),
		archived:    emptied(t.archived),
		resource:    emptied(t.resource),
		peer:        emptied(t.peer),
		show:        emptied(t.show),
		status:      emptied(t.status),
		priority:    emptied(t.priority),
		available:   emptied(t.available),
		verb:        emptied(t.verb),
		messageType: emptied(t.messageType),
		stanzaID:    emptied(t.stanzaID),
		originID:    emptied(t.originID),
		body:        emptied(t.body),
		name:        emptied(t.name),
		groups:      emptied(t.groups),
		edge:        emptied(t.edge),
		epoch:       emptied(t.epoch),
		accepted:    emptied(t.accepted),
		reference:   emptied(t.reference),
		reason:      emptied(t.reason),
		raw:         emptied(t.raw),
	}
}

func emptied[T any](column []T) []T {
	clear(column)
	return column[:0]
}
