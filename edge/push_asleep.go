package edge

import (
	"context"
	"time"
)

// Asleep is a message that went to a session whose connection is broken, and
// waits there for its client to come back (XEP-0198): to the fold a resource
// has it, but nobody reads it.
type Asleep struct {
	Account   string // bare JID
	Partition int32
	Offset    int64

	until time.Time // when it is given up to wait for the projection
}

const (
	// maxAsleep bounds what waits to be noted; more of it is not told early.
	maxAsleep = 10_000
	// asleepIn is how long the projection is waited for.
	asleepIn = 30 * time.Second
)

// asleep has push services told of a message that a session was given while its
// client is away, or had before and did not acknowledge.
func (p *pusher) asleep(l *local, offset int64) {
	if !p.server.pushes() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sleeping) < maxAsleep {
		p.sleeping = append(p.sleeping, Asleep{l.bare, l.partition, offset, time.Now().Add(asleepIn)})
	}
}

// note has what is asleep written to what push services are to be told.
func (p *pusher) note(ctx context.Context, now time.Time) {
	p.mu.Lock()
	sleeping := p.sleeping
	p.sleeping = nil
	p.mu.Unlock()
	if len(sleeping) == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, pushTime)
	defer cancel()
	early, err := p.opts.Jobs.Add(bounded, sleeping, p.opts.Doubt)
	if err != nil {
		p.server.log.Warn("pushes not noted, will be tried again", "err", err)
		early = sleeping
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range early {
		if now.Before(a.until) {
			p.sleeping = append(p.sleeping, a)
		}
	}
}

// sleeps is called when the session's connection broke and its client may
// resume it: the newest of what it did not acknowledge is told.
func (s *session) sleeps() {
	newest := int64(-1)
	s.local.directedMu.Lock()
	for _, t := range s.local.taken {
		if t.binding == s.binding && !t.settled {
			newest = max(newest, t.offset)
		}
	}
	s.local.directedMu.Unlock()
	if newest >= 0 && !s.local.listens() {
		s.server.pusher.asleep(s.local, newest)
	}
}

// listens tells whether a session of the account is here whose client is there,
// and takes messages.
func (l *local) listens() bool {
	for _, s := range l.sessions() {
		if s.available.Load() && !s.out.apart() {
			return true
		}
	}
	return false
}

// apart tells whether there is no connection, and stanzas are kept for another.
func (o *outbound) apart() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.away
}
