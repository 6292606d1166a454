//go:build linux

package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxChanges bounds how many changes one run can make.
const maxChanges = 1 << 20

// changes measures status changes, or messages, on their way: change n has
// the stanza id s<n>. It counts what is heard between start and stop.
type changes struct {
	began   time.Time
	expect  int32          // contacts that hear of each change
	at      []atomic.Int64 // by change: when it was, or should have been, made; ns after began
	left    []int32        // by change: contacts that have not heard; the reactor's
	settled func(n int)    // every contact has heard; on the reactor's goroutine

	counting  atomic.Bool
	delivered atomic.Int64 // while counting
	unsettled atomic.Int64
	latencies *hdrhistogram.Histogram // µs; the reactor's while it runs
	late      *hdrhistogram.Histogram // µs by which changes were made too late; the maker's
}

// longest is the highest latency that is told apart, in µs.
const longest = int64(time.Minute / time.Microsecond)

func newChanges(expect int, settled func(int)) *changes {
	c := &changes{
		began: time.Now(), expect: int32(expect), at: make([]atomic.Int64, maxChanges), left: make([]int32, maxChanges),
		settled: settled, latencies: hdrhistogram.New(1, longest, 3), late: hdrhistogram.New(1, longest, 3),
	}
	for i := range c.left {
		c.left[i] = c.expect
	}
	return c
}

// made notes when change n was to be made.
func (c *changes) made(n int, at time.Time) {
	c.unsettled.Add(1)
	c.at[n].Store(int64(at.Sub(c.began)))
	if c.counting.Load() {
		_ = c.late.RecordValue(max(1, int64(time.Since(at)/time.Microsecond)))
	}
}

// heard is called by the reactor for each contact that hears of change n.
func (c *changes) heard(n int, now time.Time) {
	if n >= len(c.at) {
		return
	}
	if c.counting.Load() {
		c.delivered.Add(1)
		// A latency over the histogram's range would be a minute.
		_ = c.latencies.RecordValue(max(1, (int64(now.Sub(c.began))-c.at[n].Load())/int64(time.Microsecond)))
	}
	if c.left[n]--; c.left[n] == 0 {
		c.unsettled.Add(-1)
		if c.settled != nil {
			c.settled(n)
		}
	}
}

var shows = [...]string{"away", "chat", "dnd", "xa"}

// change gives the presence that is change n.
func change(n int) []byte {
	text := strconv.Itoa(n)
	return []byte("<presence id='s" + text + "'><show>" + shows[n%len(shows)] + "</show><status>change " + text + "</status></presence>")
}

// report gives the latencies, in milliseconds.
func (c *changes) report(r *report) {
	for _, q := range []float64{50, 90, 99, 99.9} {
		r.add(fmt.Sprintf("latency p%g", q), float64(c.latencies.ValueAtQuantile(q))/1000, "ms")
	}
	r.add("latency max", float64(c.latencies.Max())/1000, "ms")
	r.add("of it the load's own lateness p99", float64(c.late.ValueAtQuantile(99))/1000, "ms")
}
