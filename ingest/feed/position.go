package feed

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/rollcall/rollcall/schema/watch"
)

// A Mark tells up to where a partition is told: every change of the records up
// to Offset, or, if Part is not 0, of Offset itself only the first Part ones.
// The Offset is -1 before any.
type Mark struct {
	Offset int64
	Part   int
}

// covers tells that the change at a place is told.
func (m Mark) covers(at watch.Place) bool {
	switch {
	case at.Offset != m.Offset:
		return at.Offset < m.Offset
	case m.Part == 0:
		return true
	}
	return at.Index < m.Part
}

// next gives the first offset of which not every change is told.
func (m Mark) next() int64 {
	if m.Part > 0 {
		return m.Offset
	}
	return m.Offset + 1
}

// after gives the mark that stands after a change.
func after(at watch.Place) Mark {
	if at.Index == at.Of-1 {
		return Mark{Offset: at.Offset}
	}
	return Mark{Offset: at.Offset, Part: at.Index + 1}
}

// A Vector is a position of a stream: a mark for each partition that it reads.
type Vector map[int32]Mark

// String gives "partition:offset" for each partition, with ".n" after it if
// only n changes of that record are told, in the order of the partitions,
// with commas.
func (v Vector) String() string {
	var b strings.Builder
	for i, n := range slices.Sorted(maps.Keys(v)) {
		if i > 0 {
			b.WriteByte(',')
		}
		m := v[n]
		fmt.Fprintf(&b, "%d:%d", n, m.Offset)
		if m.Part > 0 {
			fmt.Fprintf(&b, ".%d", m.Part)
		}
	}
	return b.String()
}

// maxVector bounds the text of a Vector: 1,024 partitions of the longest marks.
const maxVector = 1024 * 42

// ParseVector reads what String gives. Partitions are below the given number,
// each there at most once.
func ParseVector(text string, partitions int) (Vector, error) {
	if text == "" {
		return nil, errors.New("feed: position is empty")
	}
	if len(text) > maxVector {
		return nil, errors.New("feed: position is too long")
	}
	v := make(Vector)
	for one := range strings.SplitSeq(text, ",") {
		number, place, ok := strings.Cut(one, ":")
		n, err := digits(number, int64(partitions)-1)
		if !ok || err != nil {
			return nil, fmt.Errorf("feed: position %.40q is not partition:offset with a partition below %d", one, partitions)
		}
		offset, part, parted := strings.Cut(place, ".")
		var m Mark
		if offset == "-1" && !parted {
			m.Offset = -1
		} else if m.Offset, err = digits(offset, math.MaxInt64-1); err != nil {
			return nil, fmt.Errorf("feed: position %.40q has no offset", one)
		}
		if parted {
			p, err := digits(part, math.MaxInt32)
			if err != nil || p == 0 {
				return nil, fmt.Errorf("feed: position %.40q has no number of changes after its dot", one)
			}
			m.Part = int(p)
		}
		if _, twice := v[int32(n)]; twice {
			return nil, fmt.Errorf("feed: position has partition %d twice", n)
		}
		v[int32(n)] = m
	}
	return v, nil
}

// digits reads a number that is written as strconv.Itoa writes it.
func digits(text string, most int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most || strconv.FormatInt(n, 10) != text {
		return 0, errors.New("not a number in range")
	}
	return n, nil
}
