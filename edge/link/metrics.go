package link

import "github.com/prometheus/client_golang/prometheus"

// metrics answer: has the edge a worker for everything, and is it told?
type metrics struct {
	streams   prometheus.Gauge
	broken    prometheus.Counter
	interests prometheus.Counter
	frames    prometheus.Counter
	stale     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "rollcall_link_streams", Help: "Streams to fan-out workers."}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_link_broken_total", Help: "Streams to fan-out workers that ended."}),
		interests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_link_interests_total", Help: "Interest messages sent."}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_link_frames_total", Help: "Frames received."}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_link_stale_total", Help: "Messages dropped because a newer claim on their partition was seen."}),
	}
	if r != nil {
		r.MustRegister(m.streams, m.broken, m.interests, m.frames, m.stale)
	}
	return m
}
