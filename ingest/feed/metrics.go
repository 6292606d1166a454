package feed

import (
	"github.com/prometheus/client_golang/prometheus"
)

// maxCatchingUp is how many streams of a process fold the log anew at once;
// others wait for their turn.
const maxCatchingUp = 4

type metrics struct {
	catchingUp chan struct{} // a place for each that does
	cut        prometheus.Counter
	registerer prometheus.Registerer
	all        []prometheus.Collector
}

func newMetrics(r prometheus.Registerer, h *Hub) *metrics {
	m := &metrics{catchingUp: make(chan struct{}, maxCatchingUp), registerer: r,
		cut: prometheus.NewCounter(prometheus.CounterOpts{Name: "rollcall_feed_slow_total", Help: "Streams that ended because they were read too slowly."})}
	m.all = []prometheus.Collector{m.cut,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_feed_streams", Help: "Streams of changes that are open."}, func() float64 { return float64(h.streams()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "rollcall_feed_catching_up", Help: "Streams that fold the log anew from a checkpoint."}, func() float64 { return float64(len(m.catchingUp)) })}
	if r != nil {
		r.MustRegister(m.all...)
	}
	return m
}

func (m *metrics) slow() { m.cut.Inc() }

func (m *metrics) close() {
	if m.registerer != nil {
		for _, c := range m.all {
			m.registerer.Unregister(c)
		}
	}
}

// streams counts those that are open.
func (h *Hub) streams() int {
	all := make(map[*Stream]struct{})
	for _, p := range h.partitions {
		p.mu.Lock()
		for _, streams := range []map[string]map[*Stream]struct{}{p.account, p.domain} {
			for _, of := range streams {
				for s := range of {
					all[s] = struct{}{}
				}
			}
		}
		p.mu.Unlock()
	}
	return len(all)
}
