package account

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall/rollcall/schema/event"
)

// Marks tells the events of one partition that are new from copies and
// latecomers. For every origin it keeps the newest (sequence, index) that was
// admitted; as the log keeps the order of an origin within a partition, what is
// not newer was there before. Marks belong to an offset: whoever keeps a
// snapshot keeps them with it. The zero Marks has seen nothing. It is not safe
// for concurrent use.
type Marks struct {
	origins map[string]*mark
	lost    map[string]mark // by edge: sequence is the highest epoch lost
	newest  int64           // highest Event.at of all, µs
}

type mark struct {
	sequence uint64
	index    uint32
	at       int64 // highest Event.at, µs
}

// How much older than the newest event of the partition the newest of an
// origin may be before the origin is forgotten: by then no copy is on its way.
// A lost edge is remembered longer: its process may have been stopped for days.
const (
	forgetOrigin = time.Hour
	forgetLost   = 30 * 24 * time.Hour
)

// sweepAt is the number of origins at which, and at its doubles, old ones are
// forgotten. When that happens depends on the marks alone, so that every
// reader of the same events has the same.
const sweepAt = 64

// Admit tells whether e is to be applied, and notes it if so. An EdgeLost is
// always admitted, and from then on nothing more of that edge in that epoch or
// an earlier one. Call it once for each record of the partition, in order.
func (m *Marks) Admit(e *event.Event) bool {
	m.newest = max(m.newest, e.GetAt())
	origin := e.GetOrigin()
	if origin == "" {
		if l := e.GetEdgeLost(); l != nil {
			m.lose(l.GetEdge(), l.GetEpoch(), e.GetAt())
		}
		return true
	}
	if known := m.origins[origin]; known != nil {
		if e.GetSequence() < known.sequence || e.GetSequence() == known.sequence && e.GetIndex() <= known.index {
			return false
		}
		known.sequence, known.index, known.at = e.GetSequence(), e.GetIndex(), max(known.at, e.GetAt())
		return true
	}
	if len(m.lost) > 0 {
		if edge, epoch, ok := edgeOf(origin); ok {
			if l, lost := m.lost[edge]; lost && epoch <= l.sequence {
				return false
			}
		}
	}
	put(&m.origins, origin, &mark{e.GetSequence(), e.GetIndex(), e.GetAt()})
	if n := len(m.origins); n >= sweepAt && n&(n-1) == 0 {
		m.sweep()
	}
	return true
}

// lose closes the origins of an edge up to epoch.
func (m *Marks) lose(edge string, epoch uint64, at int64) {
	l := m.lost[edge]
	put(&m.lost, edge, mark{sequence: max(l.sequence, epoch), at: max(l.at, at)})
	for origin := range m.origins {
		if of, e, ok := edgeOf(origin); ok && of == edge && e <= epoch {
			delete(m.origins, origin)
		}
	}
}

func (m *Marks) sweep() {
	maps.DeleteFunc(m.origins, func(_ string, o *mark) bool { return o.at < m.newest-forgetOrigin.Microseconds() })
	maps.DeleteFunc(m.lost, func(_ string, l mark) bool { return l.at < m.newest-forgetLost.Microseconds() })
}

// edgeOf reads an origin "edge/<id>/<epoch>".
func edgeOf(origin string) (id string, epoch uint64, ok bool) {
	rest, ok := strings.CutPrefix(origin, "edge/")
	slash := strings.LastIndexByte(rest, '/')
	if !ok || slash < 0 {
		return "", 0, false
	}
	epoch, err := strconv.ParseUint(rest[slash+1:], 10, 64)
	return rest[:slash], epoch, err == nil
}

// Len is the number of origins.
func (m *Marks) Len() int { return len(m.origins) }

// Clone gives a copy that shares nothing with m.
func (m *Marks) Clone() Marks {
	c := Marks{lost: maps.Clone(m.lost), newest: m.newest}
	for origin, o := range m.origins {
		copied := *o
		put(&c.origins, origin, &copied)
	}
	return c
}

// marksFormat is the first byte of encoded marks.
const marksFormat = 1

// AppendBinary appends an encoding that is the same for equal marks. The error
// is always nil.
func (m *Marks) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, marksFormat)
	b = binary.AppendVarint(b, m.newest)
	b = binary.AppendUvarint(b, uint64(len(m.origins)))
	for _, origin := range slices.Sorted(maps.Keys(m.origins)) {
		b = appendMark(b, origin, *m.origins[origin])
	}
	b = binary.AppendUvarint(b, uint64(len(m.lost)))
	for _, edge := range slices.Sorted(maps.Keys(m.lost)) {
		b = appendMark(b, edge, m.lost[edge])
	}
	return b, nil
}

func appendMark(b []byte, name string, o mark) []byte {
	b = binary.AppendUvarint(b, uint64(len(name)))
	b = append(b, name...)
	b = binary.AppendUvarint(b, o.sequence)
	b = binary.AppendUvarint(b, uint64(o.index))
	return binary.AppendVarint(b, o.at)
}

// MarshalBinary gives the encoding of AppendBinary.
func (m *Marks) MarshalBinary() ([]byte, error) { return m.AppendBinary(nil) }

// UnmarshalBinary reads what AppendBinary wrote; nothing at all is the zero
// Marks.
func (m *Marks) UnmarshalBinary(b []byte) error {
	*m = Marks{}
	if len(b) == 0 {
		return nil
	}
	if b[0] != marksFormat {
		return errors.New("account: marks in an unknown format")
	}
	r := reader{b: b[1:]}
	read := Marks{newest: r.varint()}
	for range r.uvarint() {
		if name, o := r.mark(); !r.bad {
			put(&read.origins, name, &o)
		} else {
			break
		}
	}
	for range r.uvarint() {
		if name, o := r.mark(); !r.bad {
			put(&read.lost, name, o)
		} else {
			break
		}
	}
	if r.bad || len(r.b) > 0 {
		return errors.New("account: marks cannot be read")
	}
	*m = read
	return nil
}

// A reader reads the pieces of encoded marks; bad once they are not there.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

func (r *reader) skip(n int) {
	if n <= 0 || r.bad {
		r.bad, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

func (r *reader) mark() (string, mark) {
	size := r.uvarint()
	if r.bad || size > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return "", mark{}
	}
	name := string(r.b[:size])
	r.b = r.b[size:]
	return name, mark{sequence: r.uvarint(), index: uint32(r.uvarint()), at: r.varint()}
}
