package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/google/uuid"
)

// A turn is a row of presence_span: a resource became available, or ended to be so.
type turn struct {
	account  string
	resource string
	binding  uuid.UUID
	edge     string
	begun    uint64    // offset of the presence with which the span begins
	since    time.Time // its time
	at       time.Time // since, or of the end, which is not before it
	ended    bool
}

// compare puts turns in the order of presence_span.
func (t turn) compare(o turn) int {
	return cmp.Or(cmp.Compare(t.account, o.account), cmp.Compare(t.begun, o.begun), cmp.Compare(t.at.UnixMicro(), o.at.UnixMicro()))
}

// turnColumns are in the order of turnRows.
const turnColumns = `account, resource, binding, edge, begun, since, at, ended`

// turnRows gives what gives those from one to another as the driver sends them,
// one column after the other.
func turnRows(all []turn) func(from, to int) []any {
	return func(from, to int) []any {
		some := all[from:to]
		return []any{
			column(some, func(t turn) string { return t.account }),
			column(some, func(t turn) string { return t.resource }),
			column(some, func(t turn) uuid.UUID { return t.binding }),
			column(some, func(t turn) string { return t.edge }),
			column(some, func(t turn) uint64 { return t.begun }),
			column(some, func(t turn) time.Time { return t.since }),
			column(some, func(t turn) time.Time { return t.at }),
			column(some, func(t turn) bool { return t.ended }),
		}
	}
}

func column[T any](some []turn, of func(turn) T) []T {
	all := make([]T, len(some))
	for i := range some {
		all[i] = of(some[i])
	}
	return all
}

// byMonth puts some where they belong.
func byMonth(in map[int][]turn, some []turn) {
	for _, t := range some {
		in[month(t.at)] = append(in[month(t.at)], t)
	}
}

// inserts splits the turns of a month for INSERTs that are one part each. Which
// are in one depends on nothing but what they say.
func inserts(some []turn) [][]turn {
	slices.SortFunc(some, turn.compare)
	return slices.Collect(slices.Chunk(some, turnsAtOnce))
}

// turnsAtOnce bounds them: the loss of an edge ends many at once.
const turnsAtOnce = 50_000
