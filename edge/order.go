package edge

// maxBacklog is how many appends of one session may be unanswered, or answers
// wait for them, before its client's stanzas wait outside.
const maxBacklog = 256

// order holds answers back until every append before them is settled, so that
// an answer acknowledges all that the client sent before it.
type order struct {
	issued  uint64 // appends given to the log
	base    uint64 // all below are settled
	settled []bool // of base, base+1, ...
	waiting []waiting
}

type waiting struct {
	after uint64 // number of appends that must be settled
	do    func()
}

// issue gives the number of one more append.
func (o *order) issue() uint64 {
	o.issued++
	o.settled = append(o.settled, false)
	return o.issued - 1
}

// backlog gives the number of appends from the oldest unsettled one on, or of
// what waits for them, whichever is more.
func (o *order) backlog() int { return max(int(o.issued-o.base), len(o.waiting)) }

// settle notes that append n is acknowledged or has failed, and does what
// waited for it alone.
func (o *order) settle(n uint64) {
	o.settled[n-o.base] = true
	i := 0
	for i < len(o.settled) && o.settled[i] {
		i++
	}
	if o.settled = o.settled[i:]; len(o.settled) == 0 {
		o.settled = nil
	}
	o.base += uint64(i)
	for len(o.waiting) > 0 && o.waiting[0].after <= o.base {
		w := o.waiting[0]
		o.waiting[0] = waiting{}
		if o.waiting = o.waiting[1:]; len(o.waiting) == 0 {
			o.waiting = nil
		}
		w.do()
	}
}

// then does f once every append issued so far is settled.
func (o *order) then(f func()) {
	if o.base == o.issued && len(o.waiting) == 0 {
		f()
		return
	}
	o.waiting = append(o.waiting, waiting{after: o.issued, do: f})
}
