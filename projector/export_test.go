package projector

// WithFault has f asked before each step; an error ends Run.
func (o Options) WithFault(f func(step string) error) Options { o.fault = f; return o }
