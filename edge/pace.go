package edge

import (
	"time"

	"github.com/rollcall/rollcall/edge/stanza"
)

// pace holds a client to its rates. One goroutine uses it.
type pace struct {
	stanzas, bytes bucket
	patience       time.Duration
	over           time.Time // since when it is over its rates without a break; zero: it is not
}

func newPace(l *Limits) *pace {
	return &pace{
		stanzas: bucket{rate: float64(l.StanzaRate), burst: float64(l.StanzaBurst)},
		bytes:   bucket{rate: float64(l.ByteRate), burst: float64(l.ByteBurst)}, patience: l.Patience,
	}
}

// take gives how long to wait before more is read from a client that sent so
// many stanzas and bytes. Its error ends who never waits long enough.
func (p *pace) take(now time.Time, stanzas, bytes int) (time.Duration, error) {
	wait := max(p.stanzas.take(now, stanzas), p.bytes.take(now, bytes))
	switch {
	case wait > 0 && p.over.IsZero():
		p.over = now
	case wait <= 0 && !p.stanzas.empty() && !p.bytes.empty():
		p.over = time.Time{}
	}
	if p.patience > 0 && !p.over.IsZero() && now.Sub(p.over) > p.patience {
		return 0, &stanza.StreamError{Condition: stanza.PolicyViolation, Text: "too much is sent for too long"}
	}
	return wait, nil
}

// bucket is a token bucket: what is spent beyond the burst must be waited for.
type bucket struct {
	rate  float64 // tokens that come a second; not above 0: without end
	burst float64 // tokens that it holds at most
	left  float64
	at    time.Time // when left was true; zero: never, it is full
}

// take spends n tokens and gives how long it takes until they are there.
func (b *bucket) take(now time.Time, n int) time.Duration {
	if b.rate <= 0 || n == 0 {
		return 0
	}
	if b.at.IsZero() {
		b.left = b.burst
	} else {
		b.left = min(b.burst, b.left+b.rate*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.left -= float64(n); b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / b.rate * float64(time.Second))
}

// empty tells whether less than a tenth of the burst is left: who empties it
// as fast as it fills is over the rate all the time.
func (b *bucket) empty() bool { return b.rate > 0 && !b.at.IsZero() && b.left < b.burst/10 }
