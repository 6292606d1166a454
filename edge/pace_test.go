package edge

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	l := Limits{StanzaRate: 10, StanzaBurst: 20, ByteRate: 1000, ByteBurst: 4000, Patience: 10 * time.Second}
	take := func(p *pace, seconds float64, stanzas, bytes int, want time.Duration) {
		t.Helper()
		got, err := p.take(at(seconds), stanzas, bytes)
		if err != nil || (got-want).Abs() > time.Microsecond {
			t.Errorf("at %v: wait %v, want %v; %v", seconds, got, want, err)
		}
	}
	t.Run("the burst is free, then the rate counts", func(t *testing.T) {
		p := newPace(&l)
		for range 20 {
			take(p, 0, 1, 0, 0)
		}
		take(p, 0, 1, 0, 100*time.Millisecond)
		take(p, 0.1, 1, 0, 100*time.Millisecond)
		take(p, 3, 1, 0, 0)    // it has waited
		take(p, 100, 20, 0, 0) // and the bucket is full, not more
		take(p, 100, 1, 0, 100*time.Millisecond)
	})
	t.Run("bytes count on their own", func(t *testing.T) {
		p := newPace(&l)
		take(p, 0, 0, 4000, 0)
		take(p, 0, 0, 500, 500*time.Millisecond)
		take(p, 0, 1, 0, 0)
	})
	t.Run("who is over its rate all the time is ended", func(t *testing.T) {
		p := newPace(&l)
		var err error
		n := 0
		for now := 0.0; err == nil && n < 1000; n++ {
			var wait time.Duration
			wait, err = p.take(at(now), 1, 0)
			now += wait.Seconds()
		}
		// The burst, and ten seconds at the rate.
		if err == nil || n < 115 || n > 130 {
			t.Errorf("%v after %d", err, n)
		}
	})
	t.Run("who pauses is not", func(t *testing.T) {
		p := newPace(&l)
		now := 0.0
		for range 100 {
			for range 25 {
				wait, err := p.take(at(now), 1, 0)
				if err != nil {
					t.Fatal(now, err)
				}
				now += wait.Seconds()
			}
			now += 2.5
		}
	})
	t.Run("no limit", func(t *testing.T) {
		p := newPace(&Limits{StanzaRate: -1, StanzaBurst: -1, ByteRate: -1, ByteBurst: -1, Patience: time.Second})
		for i := range 100 {
			take(p, float64(i), 1000, 1<<20, 0)
		}
	})
}
