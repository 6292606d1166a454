package projector

import "time"

// WithFault has f asked before each step; an error ends Run.
func (o Options) WithFault(f func(step string) error) Options { o.fault = f; return o }

// ExpiringEvery has inboxes searched so often for messages to expire.
func (o Options) ExpiringEvery(d time.Duration) Options { o.expireEvery = d; return o }
