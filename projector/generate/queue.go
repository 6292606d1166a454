package generate

// A queue holds what is to happen, by its time; of one time, what was put in
// first comes first.
type queue struct {
	items []item
	n     uint64 // items that were ever put in
}

type item struct {
	at int64 // µs since 1970
	n  uint64
	do func(at int64)
}

func (a *item) before(b *item) bool { return a.at < b.at || a.at == b.at && a.n < b.n }

func (q *queue) put(at int64, do func(int64)) {
	q.n++
	q.items = append(q.items, item{at, q.n, do})
	for i := len(q.items) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.items[i].before(&q.items[up]) {
			return
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

// take gives the first item that is before the given time.
func (q *queue) take(until int64) (item, bool) {
	if len(q.items) == 0 || q.items[0].at >= until {
		return item{}, false
	}
	first, last := q.items[0], len(q.items)-1
	q.items[0], q.items[last] = q.items[last], item{}
	q.items = q.items[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.items[child].before(&q.items[least]) {
				least = child
			}
		}
		if least == i {
			return first, true
		}
		q.items[i], q.items[least] = q.items[least], q.items[i]
		i = least
	}
}
